"""How a worker finds its job, reports progress and fails."""
