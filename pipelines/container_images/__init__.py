"""The container images that workers and the API run in: found, built, pruned."""

from typing import Literal

ImageKind = Literal["train", "serve"]
"""What is installed in an image: all that workers need, or what the API needs (no TensorFlow)."""
