"""The mail about a run: composed, kept in the outbox, sent over SMTP."""
