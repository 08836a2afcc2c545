"""Trains a model from scratch: the job's contract, the data, and the worker that runs in a child process or a container."""
