"""What is kept of an image or an array in place of its numbers, for many instances at once. Pure NumPy.

Formulas, with L the luminance 0.299 R + 0.587 G + 0.114 B of a pixel, between 0 and 1:

* brightness: the mean of L; contrast: the standard deviation of L
* sharpness: the standard deviation of the Laplacian 4 L(x, y) − L(x±1, y) − L(x, y±1), of inner pixels, with their direct
  neighbours also where not every pixel is looked at
* hues: the share of the image's colour (chroma) in each of eight sectors of the hue circle, from red on; sums up to 1, or
  to 0 for an image without colour
* hash: see `training.data.perceptual`
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.engines.base import Array
from training.data.perceptual import coarse_step, hashes, light_of, scaled

HUES = 8
IMAGE_FEATURES = ("width", "height", "brightness", "contrast", "sharpness", "hash")
ARRAY_FEATURES = ("mean", "deviation", "low", "high", "missing")


def of_images(batch: Array) -> dict[str, list[Any]]:
    """Feature → a value for each image. `batch` has shape (images, height, width, channels), with values from 0 to 255;
    of channels there are one, or three or more, red, green and blue first."""
    rows, height, width, channels = batch.shape
    if not batch.size:
        return {}
    step = coarse_step(height, width)
    coarse = batch[:, ::step, ::step]
    colours = scaled(coarse[..., :3]) if channels >= 3 else None
    light = scaled(coarse[..., 0]) if colours is None else light_of(colours)
    brightness, contrast = _moments(light)
    found = {
        "width": [width] * rows,
        "height": [height] * rows,
        "brightness": rounded(brightness),
        "contrast": rounded(contrast),
        "sharpness": rounded(_sharpness(batch, light, step)),
        "hash": hashes(light),
    }
    return found if colours is None else found | {"hues": rounded(_hues(colours))}


def of_arrays(batch: Array) -> dict[str, list[Any]]:
    """Feature → a value for each instance: mean, standard deviation, smallest and largest number, and the share that is
    missing (NaN or infinite); None where all are missing. `batch` has shape (instances, …)."""
    numbers = batch.reshape(len(batch), -1).astype(np.float64)
    valid = np.isfinite(numbers)
    count = valid.sum(axis=1)
    safe = np.where(valid, numbers, 0.0)
    least = np.maximum(count, 1)
    mean = safe.sum(axis=1) / least
    deviation = np.sqrt((np.where(valid, numbers - mean[:, None], 0.0) ** 2).sum(axis=1) / least)
    low = np.where(valid, numbers, np.inf).min(axis=1, initial=np.inf)
    high = np.where(valid, numbers, -np.inf).max(axis=1, initial=-np.inf)
    columns = (np.where(count > 0, mean, np.nan), np.where(count > 0, deviation, np.nan), low, high)
    found = {name: _finite(shortened(each)) for name, each in zip(ARRAY_FEATURES, columns, strict=False)}
    size = max(numbers.shape[1], 1)
    return found | {"missing": rounded(1 - count / size)}


def rounded(array: Array, digits: int = 5) -> list[Any]:
    """The numbers, or rows of numbers, with so many digits behind the point."""
    return np.round(array.astype(np.float64), digits).tolist()  # type: ignore[no-any-return]


def shortened(array: Array, digits: int = 7) -> Array:
    """The numbers as float64 with so many significant digits, as many as float32 carries: written short, they say the same."""
    wide = array.astype(np.float64)
    with np.errstate(all="ignore"):
        sizes = np.floor(np.log10(np.abs(wide)))
        usable = np.isfinite(sizes) & (np.abs(sizes) < 200)
        scale = 10.0 ** (digits - 1 - np.where(usable, sizes, 0.0))
        short = np.round(wide * scale) / scale
    return np.asarray(np.where(usable, short, wide))


def _finite(array: Array) -> list[Any]:
    return [each if np.isfinite(each) else None for each in array.tolist()]


def _moments(light: Array, pixels: int = 0) -> tuple[Array, Array]:
    """Mean and standard deviation of each image, which has so many `pixels` (0: all), the other ones being 0; by sums of
    squares, which is fast, and exact enough between 0 and 1."""
    flat = light.reshape(len(light), -1)
    count = np.float32(pixels or flat.shape[1])
    mean = flat.sum(axis=1) / count
    squares = np.einsum("ij,ij->i", flat, flat) / count
    return mean, np.sqrt(np.maximum(squares - mean * mean, 0))


def _sharpness(batch: Array, light: Array, step: int) -> Array:
    """`light` is that of every `step`-th pixel of `batch`."""
    _, height, width, channels = batch.shape
    if min(height, width) < 3:
        return np.zeros(len(batch), np.float32)

    if step == 1:
        return _sharpness_of_all(light)

    def at(down: int, right: int) -> Array:
        rows, columns = slice(1 + down, height - 1 + down, step), slice(1 + right, width - 1 + right, step)
        part = batch[:, rows, columns]
        return light_of(scaled(part[..., :3])) if channels >= 3 else scaled(part[..., 0])

    edges = at(0, 0) * np.float32(4)
    for place in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        edges -= at(*place)
    return _moments(edges)[1]


def _sharpness_of_all(light: Array) -> Array:
    """Where every pixel is looked at: over all images in one piece, which is twice as fast as by rows; what that makes of the
    borders does not count."""
    rows, height, width = light.shape
    flat = light.reshape(-1)
    size, edges = len(flat), np.empty_like(flat)
    inner = edges[width : size - width]
    np.multiply(flat[width : size - width], np.float32(4), out=inner)
    for place in (0, 2 * width, width - 1, width + 1):
        inner -= flat[place : size - 2 * width + place]
    images = edges.reshape(rows, height, width)
    images[:, 0] = images[:, -1] = images[:, :, 0] = images[:, :, -1] = 0
    return _moments(images, (height - 2) * (width - 2))[1]


def _hues(colours: Array) -> Array:
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    high, low = colours.max(axis=-1), colours.min(axis=-1)
    chroma = high - low
    safe = np.where(chroma > 0, chroma, 1)
    hue = np.where(
        high == red,
        ((green - blue) / safe) % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sector = np.minimum((hue * (HUES / 6)).astype(np.int64), HUES - 1)
    rows = len(colours)
    cells = (sector + HUES * np.arange(rows).reshape(rows, 1, 1)).reshape(-1)
    sums = np.bincount(cells, weights=chroma.reshape(-1), minlength=rows * HUES).reshape(rows, HUES)
    total = sums.sum(axis=1, keepdims=True)
    return np.asarray(sums / np.where(total > 0, total, 1))
