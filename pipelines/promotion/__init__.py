"""From test to production and back. Every step can be repeated after a kill."""
