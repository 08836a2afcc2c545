"""What the monitor has found, as a page shows it."""
