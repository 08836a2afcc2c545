"""How right a model probably is where nobody says what was right: confidence-based performance estimation (CBPE).

A calibrated confidence of 0.8 is right in eight of ten cases, so the mean of calibrated confidences estimates the accuracy. It
holds as long as only *which* cases come changes. Where the right answer to the same case changes (concept drift), the confidence
knows nothing of it, and neither does the estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from retraining.monitoring.sketches import Floats

Z95 = 1.96
STEPS = 100
"""Of the curve that is kept, at most."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often the answers of the holdout were right, by their confidence: a step function that never falls (isotonic regression).

    All arrays have shape (steps,).
    """

    confidence: Floats
    """The least of each step, ascending."""
    right: Floats
    """The share of right answers of each step."""
    samples: Floats
    """How many samples of the holdout each step has."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated accuracy, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    rows: int


def calibrate(confidence: ArrayLike, right: ArrayLike) -> Calibration:
    """The curve of answers with this confidence, shape (samples,), of which `right` (bool, the same shape) were right. It is the
    closest to them, in the sense of least squares, of all that never fall (pool adjacent violators)."""
    x, y = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    known = np.isfinite(x)
    order = np.argsort(x[known], kind="stable")
    starts, first, counts = np.unique(x[known][order], return_index=True, return_counts=True)
    sums = np.add.reduceat(y[known][order], first) if len(starts) else np.zeros(0)
    pools: list[tuple[float, float, float]] = []  # start, right ones, samples
    for start, total, count in zip(starts.tolist(), sums.tolist(), counts.tolist(), strict=True):
        pools.append((start, total, count))
        while len(pools) > 1 and pools[-2][1] * pools[-1][2] >= pools[-1][1] * pools[-2][2]:
            _, later, more = pools.pop()
            before, earlier, less = pools.pop()
            pools.append((before, earlier + later, less + more))
    found = np.array(_merged(pools), dtype=np.float64).reshape(-1, 3)
    return Calibration(found[:, 0], found[:, 1] / found[:, 2], found[:, 2])


def _merged(pools: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """At most STEPS of them: neighbours with few samples become one."""
    least = sum(each[2] for each in pools) / STEPS if len(pools) > STEPS else 0.0
    merged: list[tuple[float, float, float]] = []
    for start, total, count in pools:
        if merged and merged[-1][2] < least:
            before = merged.pop()
            merged.append((before[0], before[1] + total, before[2] + count))
        else:
            merged.append((start, total, count))
    return merged


def estimated_accuracy(curve: Calibration, confidence: ArrayLike) -> Estimate | None:
    """Of answers with this confidence, shape (rows,), NaN where there was none; None when nothing is known.

    The interval holds the chance in the window (each answer is right or wrong) and that of the holdout, on which each step of the
    curve was measured.
    """
    x = np.asarray(confidence, dtype=np.float64)
    x = x[np.isfinite(x)]
    if not len(x) or not len(curve.right):
        return None
    step = (np.searchsorted(curve.confidence, x, side="right") - 1).clip(0)
    p = curve.right[step]
    weight = np.bincount(step, minlength=len(curve.right)) / len(x)
    smoothed = (curve.right * curve.samples + 1) / (
        curve.samples + 2
    )  # Laplace: a step of right ones only is not certain
    of_holdout = float((weight**2 * smoothed * (1 - smoothed) / curve.samples).sum())
    of_window = float((smoothed * (1 - smoothed))[step].sum()) / len(x) ** 2
    value, half = float(p.mean()), Z95 * math.sqrt(of_holdout + of_window)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), len(x))
