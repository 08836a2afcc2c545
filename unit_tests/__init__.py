"""The acceptance test of one candidate, on a staging instance: the real API, Trainyard's checks, and the tests repository's pytest files."""
