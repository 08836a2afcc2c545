"""What need not be done again: prepared data, runs that are up to date."""
