"""Labels and the world outside: the review queue over the prediction log, task files, and commits to the dataset repository."""
