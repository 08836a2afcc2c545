"""The training itself: attempts, fitting, checkpoints, the goal."""
