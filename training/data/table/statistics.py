"""What a model, and whoever explains its predictions, may know of a column: statistics of the train split, and of nobody's row."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from training.data.checks import HANDFUL
from training.data.spec import Column
from training.data.table.columns import Feature

LEVELS = 20
"""At most so many groups of a numeric column's values."""


def column_of(feature: Feature, train: Any) -> Column:
    """The column as `spec.columns` has it, measured on the rows `train` (indices) alone."""
    values, has_missing = feature.values[train], bool(feature.missing.any())
    there = values[~feature.missing[train]]
    if feature.kind == "numeric":
        seen = there.astype(np.float32).astype(np.float64)  # what the model gets
        mean, variance, middle = float(seen.mean()), float(seen.var()), median(seen) if has_missing else 0.0
        return Column(
            feature.name, "numeric", mean, variance, levels=levels(seen), has_missing=has_missing, median=middle
        )
    counts = Counter(there.tolist())
    vocabulary = tuple(sorted(counts))
    common = tuple(each for each in vocabulary if counts[each] >= HANDFUL)
    shares = tuple(counts[each] / len(values) for each in common)
    mode = max(vocabulary, key=lambda each: counts[each]) if has_missing else ""
    return Column(
        feature.name,
        "categorical",
        vocabulary=vocabulary,
        common=common,
        shares=shares,
        has_missing=has_missing,
        mode=mode,
    )


def median(values: Any) -> float:
    """The median of numbers (shape (rows,), float64, one or more), as float32 has it. Where only few rows have it, it is the
    mean of the handful in the middle: nobody's own value."""
    found = float(np.float32(np.median(values)))
    if np.count_nonzero(values == found) >= HANDFUL:
        return found
    start = max(0, (len(values) - HANDFUL) // 2)
    return float(np.float32(np.sort(values)[start : start + HANDFUL + (len(values) - HANDFUL) % 2].mean()))


def levels(values: Any) -> tuple[float, ...]:
    """How the numbers (shape (rows,), float64) are distributed: sorted and cut into up to LEVELS groups of the same size (±1),
    each a handful or more, the mean of each group, ascending. The mean of all, weighted by size, is the column's.

    None of them is a value that only few rows have: a mean that happens to be one is moved by a thousandth of its group's width.
    """
    groups = min(LEVELS, len(values) // HANDFUL)
    if not groups:
        return ()
    found, counts = np.unique(values, return_counts=True)
    few = set(found[counts < HANDFUL].tolist())
    means = []
    for group in np.array_split(np.sort(values), groups):
        mean, step = float(np.float32(group.mean())), float(np.ptp(group)) / 1000
        while mean in few and step:
            mean, step = float(np.float32(mean + step)), step * 1.5
        means.append(mean)
    return tuple(means)
