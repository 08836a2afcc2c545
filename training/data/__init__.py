"""Reads, checks and splits datasets: tables, images, arrays."""
