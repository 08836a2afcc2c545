"""The config: its schema, and how it is loaded from file, flags and environment."""
