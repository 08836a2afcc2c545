"""The Jenkins that runs the pipelines, seen from outside: its jobs, their builds, and what it answers."""
