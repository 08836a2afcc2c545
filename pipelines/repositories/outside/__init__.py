"""The files of a dataset commit that do not lie in git: which they are, where their bytes are, and how they come into a run."""
