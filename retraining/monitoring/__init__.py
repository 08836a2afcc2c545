"""Rules for what production says: distributions then and now, decay with and without labels. Without I/O, in NumPy."""
