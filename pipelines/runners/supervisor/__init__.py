"""The process that limits a worker and ends it with all its children."""
