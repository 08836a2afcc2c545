"""Trains a model from nothing: the job's contract, the data, and the worker that runs in a child process or a container."""
