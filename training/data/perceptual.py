"""A perceptual hash (pHash) of images: 64 bits, of which near images differ in few. Pure NumPy.

With L the luminance 0.299 R + 0.587 G + 0.114 B of a pixel, between 0 and 1: L is averaged to 32 × 32, of its cosine transform the
8 × 8 lowest frequencies are taken, and each bit says whether one is above their median.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
COARSE = 64
"""Of an image with twice as many rows and columns or more, every k-th is looked at, so that about as many are left."""
SMALL = 32
LOW = 8
GRAY = tuple(np.float32(each) for each in (0.299, 0.587, 0.114))
ONE_THREAD = 1 << 18
"""Multiplications up to which OpenBLAS uses the thread that calls it alone."""


def of_images(batch: Array) -> list[str]:
    """The hash of each image, as 16 hexadecimal digits. `batch` has shape (images, height, width, channels), with values from 0
    to 255; of channels there are one, or three or more, red, green and blue first."""
    _, height, width, channels = batch.shape
    step = coarse_step(height, width)
    coarse = batch[:, ::step, ::step]
    return hashes(light_of(scaled(coarse[..., :3])) if channels >= 3 else scaled(coarse[..., 0]))


def coarse_step(height: int, width: int) -> int:
    """Every how-manyth row and column of an image is looked at."""
    return max(1, min(height, width) // COARSE)


def scaled(pixels: Array) -> Array:
    """From 0 to 1; what is not a number becomes 0."""
    light = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32, casting="same_kind")
    if pixels.dtype == np.uint8:
        return light
    if not np.isfinite(light.sum()):
        np.nan_to_num(light, copy=False)
    return light.clip(0, 1, out=light)


def light_of(colours: Array) -> Array:
    """The luminance of each pixel."""
    light = colours[..., 0] * GRAY[0]
    light += colours[..., 1] * GRAY[1]
    light += colours[..., 2] * GRAY[2]
    return np.asarray(light)


def hashes(light: Array) -> list[str]:
    """The hash of each image, of which `light` has the luminance, with shape (images, height, width)."""
    rows, height, width = light.shape
    across = _times(light.reshape(-1, width), _lowest(width).T)
    low = _times(across.reshape(rows, height, LOW).swapaxes(1, 2).reshape(-1, height), _lowest(height).T)
    flat = low.reshape(rows, LOW, LOW).swapaxes(1, 2).reshape(rows, -1)
    others = np.sort(flat[:, 1:], axis=1)  # the first one is the brightness
    bits = flat > others[:, others.shape[1] // 2, None]  # their median
    packed = np.packbits(bits, axis=1).tobytes().hex()
    return [packed[16 * i : 16 * (i + 1)] for i in range(rows)]


def _times(left: Array, right: Array) -> Array:
    """Their product, in parts for which OpenBLAS starts no threads: those would take the cores from the answers."""
    step = max(1, ONE_THREAD // right.size)
    if len(left) <= step:
        return np.asarray(left @ right)
    product = np.empty((len(left), right.shape[1]), left.dtype)
    for at in range(0, len(left), step):
        np.matmul(left[at : at + step], right, out=product[at : at + step])
    return product


@functools.lru_cache(maxsize=64)
def _lowest(size: int) -> Array:
    """The 8 lowest frequencies of the cosine transform of `size` values averaged to 32, as a matrix (8, size)."""
    edges = np.arange(SMALL + 1) * (size / SMALL)
    places = np.arange(size)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    average = np.clip(overlap, 0, None) * (SMALL / size)
    cosine = np.cos(np.pi / SMALL * (np.arange(SMALL) + 0.5) * np.arange(LOW)[:, None])
    return np.asarray(cosine @ average, np.float32)
