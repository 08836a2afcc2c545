"""Made-up rows to compare with: each column drawn on its own from the statistics of the train split.

No row is anybody's: columns are combined at random, numbers are means of groups of people, and texts are those that a
handful of samples share (`training.data.spec.Column`).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from registry.records import TensorSpec
from serving.engines.base import Array
from training.data.spec import Column

BLOCK = 20
"""Rows that together hold every part of each column's distribution equally often (a Latin hypercube)."""
BLOCKS = 5
ROWS = BLOCK * BLOCKS


def background(specs: tuple[TensorSpec, ...], columns: tuple[Column, ...], seed: int = 0) -> dict[str, Array]:
    """Input name → array of shape (ROWS,) and the input's dtype, strings as objects. The same for the same arguments.

    `columns` are those of the dataset, in any order; `specs` are table inputs of shape (any, 1), each with its column.
    """
    by_name, random = {each.name: each for each in columns}, np.random.default_rng(seed)
    found = {}
    for spec in specs:
        values = _quantiles(by_name[spec.name], spec)
        found[spec.name] = np.concatenate([random.permutation(values) for _ in range(BLOCKS)])
    return found


def _quantiles(column: Column, spec: TensorSpec) -> Array:
    """BLOCK values in the proportions of the column's distribution."""
    at = (np.arange(BLOCK) + 0.5) / BLOCK
    if column.kind == "categorical":
        shares = np.array(column.shares if len(column.shares) == len(column.common) else [1.0] * len(column.common))
        if not len(shares) or not shares.sum() > 0:
            return np.full(BLOCK, "", object)
        index = np.searchsorted(np.cumsum(shares) / shares.sum(), at)
        categories: Array = np.array(column.common, object)[index.clip(0, len(shares) - 1)]
        return categories
    if column.levels:
        numbers = np.array(column.levels)[(at * len(column.levels)).astype(int)]
    else:  # made by an earlier version of Trainyard, or of very few rows
        spread = math.sqrt(column.variance) if column.variance > 0 else 0.0
        numbers = column.mean + spread * np.array([NormalDist().inv_cdf(each) for each in at])
    low = -math.inf if spec.low is None else spec.low
    high = math.inf if spec.high is None else spec.high
    numbers = np.nan_to_num(numbers).clip(low, high)
    found: Array = (numbers.round() if np.dtype(spec.dtype).kind in "iu" else numbers).astype(spec.dtype)
    return found
