"""What all tests share."""

from hypothesis import settings

# No deadline: the machine may be busy. No memory between runs: what fails here fails everywhere.
settings.register_profile("trainyard", deadline=None, derandomize=True, database=None)
settings.load_profile("trainyard")
