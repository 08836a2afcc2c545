"""Predictions for many rows at once, in a worker: files in, part files out. See docs/how-to/batch.md."""
