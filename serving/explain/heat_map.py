"""A heat map as a PNG file: the image in grey, what speaks for the answer in red, what speaks against it in blue."""

from __future__ import annotations

from io import BytesIO

import numpy as np

from serving.engines.base import Array

FOR, AGAINST = (214.0, 39.0, 40.0), (31.0, 100.0, 200.0)
SMALLEST = 256
"""Pixels of the longer side; larger images keep their size."""
STRONGEST = 0.75
"""How far the strongest patch covers the image."""


def heat_map(image: Array, heat: Array) -> bytes:
    """PNG of `image`, (height, width, channels) with 0 to 255, under `heat`, (rows, columns) of any numbers.

    The colours are as strong as the largest of the numbers allows, so that two maps do not compare.
    """
    from PIL import Image

    height, width = image.shape[:2]
    scale = max(1, SMALLEST // max(height, width))
    size = (width * scale, height * scale)
    shades = np.nan_to_num(image.astype(np.float64)).clip(0, 255).mean(axis=2)
    grey = Image.fromarray(shades.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    most = float(np.abs(heat).max(initial=0.0))
    share = (heat / most if most > 0 else np.zeros_like(heat)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BICUBIC)).clip(-1, 1)
    strength = np.abs(smooth)[:, :, None] * STRONGEST
    colour = np.where(smooth[:, :, None] > 0, np.array(FOR), np.array(AGAINST))
    pixels = np.asarray(grey, np.float64)[:, :, None] * (1 - strength) + colour * strength
    file = BytesIO()
    Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()
