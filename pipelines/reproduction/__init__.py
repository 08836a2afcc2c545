"""A version trained once more from its manifest, and compared with what is registered; nothing is registered."""
