"""The review queue for one person at a time: who is asked what, and how answers are kept."""
