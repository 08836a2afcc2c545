"""Beside a script of our own this file only registers what its model is made of."""

import contrast  # noqa: F401
