"""The acceptance test of one candidate, on a staging instance: the real API, our checks, and the tests repository's pytest files."""
