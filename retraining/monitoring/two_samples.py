"""Whether two samples come from one distribution: statistics, p-values and their correction.

The formulas: Kolmogorov-Smirnov with Stephens' correction for finite samples (Stephens 1970); Pearson's chi-squared of a table of
two rows; a score test of two shares; Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from retraining.monitoring.sketches import Categories, Floats, Numbers

EXPECTED = 5.0
"""Categories that are expected less often in the smaller sample are counted together (Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two samples are apart, and how likely chance alone brings them so far apart."""

    effect: float
    """From 0 to 1, whatever the sizes: the largest difference between the shares of the samples that are below any one value;
    of categories, the share of the samples that would have to change theirs."""
    statistic: float
    p: float


def kolmogorov_smirnov(then: Numbers, now: ArrayLike) -> Difference:
    """The two-sample test of a sketch against the finite ones of the values `now`, shape (samples,). Where one of the two is
    empty, nothing is known: p is 1."""
    array = np.asarray(now, dtype=np.float64)
    values = np.sort(array[np.isfinite(array)])
    if not then.count or not len(values):
        return Difference(0.0, 0.0, 1.0)
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))  # of each distinct value
    ends = np.append(starts[1:], len(values))
    first, last = np.searchsorted(values, then.knots, side="left"), np.searchsorted(values, then.knots, side="right")
    compared: tuple[tuple[Floats, Any, Any], ...] = ((values[starts], starts, ends), (then.knots, first, last))
    largest = 0.0
    for points, before, upto in compared:
        then_below, then_upto = then.shares(points)
        differences = then_below - before / len(values), then_upto - upto / len(values)
        largest = max(largest, *(float(np.abs(each).max()) for each in differences))
    root = math.sqrt(then.count * len(values) / (then.count + len(values)))
    return Difference(largest, largest, kolmogorov((root + 0.12 + 0.11 / root) * largest))


def kolmogorov(x: float) -> float:
    """The probability that Kolmogorov's distribution exceeds `x`."""
    if x < 0.2:  # the series needs many terms there, and the answer is 1 to twelve digits
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 40))
    return min(1.0, max(0.0, math.fsum(terms)))


def chi_squared(then: Categories, now: Categories) -> Difference:
    """The test of two rows of counts. Rare categories, and those that `then` has not kept by name, count as one."""
    old, new = then.count, now.count
    if not old or not new:
        return Difference(0.0, 0.0, 1.0)
    names = sorted(then.counts.keys() | now.counts.keys())
    table = np.array([[then.counts.get(name, 0), now.counts.get(name, 0)] for name in names], dtype=np.float64)
    table = table.reshape(-1, 2)
    named = np.array([name in then.counts or not then.rest for name in names], dtype=bool)
    common = named & (table.sum(axis=1) * min(old, new) / (old + new) >= EXPECTED)
    rest = table[~common].sum(axis=0) + np.array([then.rest, now.rest])
    table = np.vstack([table[common], rest]) if rest.any() else table[common]
    effect = float(np.abs(table[:, 0] / old - table[:, 1] / new).sum() / 2)
    if len(table) < 2:
        return Difference(effect, 0.0, 1.0)
    expected = table.sum(axis=1, keepdims=True) * np.array([old, new]) / (old + new)
    statistic = float(((table - expected) ** 2 / expected).sum())
    return Difference(effect, statistic, chi_squared_tail(statistic, len(table) - 1))


def chi_squared_tail(x: float, freedom: int) -> float:
    """The probability that the chi-squared distribution with `freedom` degrees exceeds `x`: the upper regularised incomplete
    gamma function, by its series or its continued fraction (Numerical Recipes, 6.2, says which converges where)."""
    a, x = freedom / 2, x / 2
    if x <= 0:
        return 1.0
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > abs(total) * 1e-15:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1 - total * scale)
    return scale * _fraction(a, x)


def _fraction(a: float, x: float) -> float:
    """Lentz' evaluation of the continued fraction."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    found = d
    for i in range(1, 10_000):
        step = -i * (i - a)
        b += 2
        d = 1 / (step * d + b or tiny)
        c = b + step / c or tiny
        found *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return found


def rise(then: int, of_then: int, now: int, of_now: int) -> Difference:
    """Whether a share has risen from `then` of `of_then` to `now` of `of_now`: a one-sided score test with Yates' correction.
    A share that has fallen has effect 0 and p 1."""
    if not of_then or not of_now:
        return Difference(0.0, 0.0, 1.0)
    effect = now / of_now - then / of_then
    pooled = (then + now) / (of_then + of_now)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / of_then + 1 / of_now))
    corrected = effect - (1 / of_then + 1 / of_now) / 2
    if corrected <= 0 or not spread:
        return Difference(max(0.0, effect), 0.0, 1.0)
    z = corrected / spread
    return Difference(effect, z, math.erfc(z / math.sqrt(2)) / 2)


def holm(p_values: Sequence[float]) -> Floats:
    """The p-values, corrected for how many there are: at most 5 % of all families in which nothing differs have one below 0.05."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = stepped.clip(max=1.0)
    return corrected
