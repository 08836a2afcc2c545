"""The candidate against the live release on the same samples: the paired difference and its 95 % confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from registry.records import Comparison
from training.metric_table import better
from training.metrics import Answers, Estimates, Floats, Graded, Ints, ranked, take, value
from training.multi_label import LabelAnswers

Z = NormalDist().inv_cdf(0.975)
RESAMPLES = 2000
BUDGET = 40_000_000
"""Samples drawn by a bootstrap at most: a large holdout needs fewer resamples for the same width."""
LOST = 0.05
"""Of the resamples, so many may have no value, as they have no sample of a rare class; with more of them there is no interval."""


def compare(new: Graded, live: Graded, metric: str, live_version: int, seed: int) -> Comparison:
    """How much better `new` is in `metric`; the two are answers to the same samples in the same order.

    Positive is better, also where less of the metric is better. Accuracy and MAE have an interval of their own; any
    other metric gets a paired bootstrap, which `seed` makes repeatable. All numbers are NaN when one side is.
    """
    difference = better(metric) * (value(metric, new) - value(metric, live))
    if math.isnan(difference):
        low, high = math.nan, math.nan
    elif metric == "accuracy" and isinstance(new, Answers | LabelAnswers) and isinstance(live, Answers | LabelAnswers):
        low, high = _proportions(new.right, live.right)
    elif metric == "mae" and isinstance(new, Estimates) and isinstance(live, Estimates):
        low, high = _mean(live.losses - new.losses)
    else:
        low, high = _bootstrap(new, live, metric, seed)
    return Comparison(live_version, metric, difference, low, high, len(new.truth))


def _proportions(right: NDArray[np.bool_], was_right: NDArray[np.bool_]) -> tuple[float, float]:
    """Adjusted Wald interval for the difference of paired proportions: half a sample is added to each cell of the 2x2
    table. Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions"."""
    won, lost = int((right & ~was_right).sum()) + 0.5, int((~right & was_right).sum()) + 0.5
    n = len(right) + 2
    middle = (won - lost) / n
    width = Z * math.sqrt(won + lost - (won - lost) ** 2 / n) / n
    return max(-1.0, middle - width), min(1.0, middle + width)


def _mean(values: Floats) -> tuple[float, float]:
    """Student's interval for a mean; NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    middle, width = float(values.mean()), _student(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return middle - width, middle + width


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t. Exact for 1 and 2 degrees of freedom, else Cornish and Fisher's expansion
    (Abramowitz and Stegun 26.7.5), within 0.5 % from 3 on."""
    if freedom < 3:
        return (12.706204736, 4.302652730)[freedom - 1]
    z = Z
    terms: tuple[float, ...] = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**i for i, term in enumerate(terms))


def _bootstrap(new: Graded, live: Graded, metric: str, seed: int) -> tuple[float, float]:
    """Percentiles of the difference over resamples, the same ones for both sides (Efron 1979)."""
    n = len(new.truth)
    new, live, sign = ranked(new), ranked(live), better(metric)
    return resampled(
        n,
        max(200, min(RESAMPLES, BUDGET // (n * new.width))),
        seed,
        lambda index: sign * (value(metric, take(new, index)) - value(metric, take(live, index))),
    )


def resampled(n: int, resamples: int, seed: int, difference: Callable[[Ints], float]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % percentiles of a difference over resamples of `n` samples, which it takes by their positions."""
    random = np.random.default_rng(seed)
    found = np.array([difference(random.integers(n, size=n)) for _ in range(resamples)])
    found = found[~np.isnan(found)] if np.isnan(found).mean() <= LOST else found
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
