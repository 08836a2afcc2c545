"""Tries one candidate in a clone of production: the real API, our checks, and the tests repository's pytest files."""
