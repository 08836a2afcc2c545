"""What runs a model: LiteRT, or a SavedModel in TensorFlow."""
