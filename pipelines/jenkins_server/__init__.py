"""A client of the Jenkins that runs the pipelines: its jobs, their builds, and its errors."""
