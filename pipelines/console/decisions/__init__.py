"""A candidate before a decision: what is known of it, in plain words; the decision; and what then becomes of it."""
