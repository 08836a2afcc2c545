"""What is counted in shared memory, and the page that shows it."""
