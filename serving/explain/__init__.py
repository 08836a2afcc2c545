"""Why the model said what it said: which columns, parts of an image or words an answer depends on.

Rules over NumPy arrays, given a callable that runs the model. They know neither the engine nor how a request came in.
"""
