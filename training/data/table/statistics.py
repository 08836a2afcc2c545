"""What a model, and whoever explains its predictions, may know of a column: statistics of the train split, and of nobody's row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from training.data.checks import HANDFUL
from training.data.spec import Column
from training.data.table.columns import Feature

LEVELS = 20
"""At most so many groups of a numeric column's values."""


def column_of(feature: Feature, train: Any, others: Iterable[Any] = ()) -> Column:
    """The column as `spec.columns` has it, measured on the rows `train` (NumPy array of indices) alone; whether values are
    missing is asked of the rows of the `others` too, and not of rows that were dropped."""
    has_missing = any(feature.missing[rows].any() for rows in (train, *others))
    if feature.kind == "numeric":
        narrow = feature.values[train].astype(np.float32)  # what the model gets
        narrow = narrow[~np.isnan(narrow)]
        seen = narrow.astype(np.float64)
        mean, variance, middle = float(seen.mean()), float(seen.var()), median(seen) if has_missing else 0.0
        return Column(
            feature.name, "numeric", mean, variance, levels=levels(narrow), has_missing=has_missing, median=middle
        )
    counts = feature.counts(train)
    vocabulary = tuple(sorted(counts))
    common = tuple(each for each in vocabulary if counts[each] >= HANDFUL)
    shares = tuple(counts[each] / len(train) for each in common)
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
    """How the numbers (shape (rows,), float32) are distributed: sorted and cut into up to LEVELS groups of the same size (±1),
    each a handful or more, the mean of each group, ascending. The mean of all, weighted by size, is the column's.

    None of them is a value that only few rows have: a mean that happens to be one is moved by a thousandth of its group's width.
    """
    groups = min(LEVELS, len(values) // HANDFUL)
    if not groups:
        return ()
    ordered, means = np.sort(values).astype(np.float64), []
    for group in np.array_split(ordered, groups):
        mean, step = float(np.float32(group.mean())), float(np.ptp(group)) / 1000
        while step and 0 < _times(ordered, mean) < HANDFUL:
            mean, step = float(np.float32(mean + step)), step * 1.5
        means.append(mean)
    return tuple(means)


def _times(ordered: Any, value: float) -> int:
    """How often a value is among sorted numbers."""
    return int(np.searchsorted(ordered, value, "right") - np.searchsorted(ordered, value, "left"))
