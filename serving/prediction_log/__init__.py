"""What production has answered: one line per instance, kept apart from the request path, bounded, for monitoring and labels."""
