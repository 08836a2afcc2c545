"""The container images that workers and the API run in: found, built, pruned."""
