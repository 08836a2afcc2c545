"""The live release in windows of its predictions: what was found, what is remembered, and who is written to."""
