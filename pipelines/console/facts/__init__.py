"""What the pages show: read from registry, runs, monitor and labels, and kept as long as it is certain not to have changed."""
