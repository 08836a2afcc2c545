"""Keeps code that is not ours, with the kernel's help, from what it was not given: files, processes, networks."""
