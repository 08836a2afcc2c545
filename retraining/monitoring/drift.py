"""Whether a window of predictions looks as the holdout did: per column its distribution, its gaps, its new values, its range.

A check fails when chance alone would hardly do it (corrected for all columns of the window) *and* it matters (an effect that does
not depend on the number of rows). The first alone fails on trifles in large windows, the second alone by chance in small ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from retraining.monitoring.sketches import Categories, Floats, Numbers
from retraining.monitoring.two_samples import Difference, chi_squared, holm, kolmogorov_smirnov, rise

What = Literal["distribution", "missing", "new values", "out of range"]
FAMILY = 20
"""A window's p-values are corrected as if there were at least so many: a model with one column is looked at as often, and must
not raise more false alarms in a month."""
OTHERS = 0.2
"""The part of `alpha` that is left to the checks of gaps, new values and ranges."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a check fails."""

    alpha: float = 0.05
    """Which share of windows without any drift may have a failed check."""
    effect: float = 0.08
    """Of distributions, 0 to 1; a shift by a fifth of a standard deviation has 0.08."""
    share: float = 0.02
    """By how much the share of missing, new or far values must have risen."""
    min_rows: int = 200
    """Of a column; smaller windows are not checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one column."""

    column: str
    what: What
    effect: float
    statistic: float
    p: float
    """Corrected: comparable with `alpha`."""
    failed: bool
    rows: int


class _Check(NamedTuple):
    column: str
    what: What
    found: Difference
    rows: int


Column = Floats | Categories
"""A column of a window: numbers, with NaN where they are missing, shape (rows,); or how often it had which value."""


def check_columns(
    then: Mapping[str, Numbers | Categories], now: Mapping[str, Column], limits: Limits
) -> tuple[Finding, ...]:
    """All checks of the columns that both have, and of which the window has rows enough; those that failed first."""
    checks = [check for name in then.keys() & now.keys() for check in _checks(name, then[name], now[name], limits)]
    checks.sort(key=lambda each: (each.column, each.what))
    of_distributions = [each for each in checks if each.what == "distribution"]
    others = [each for each in checks if each.what != "distribution"]
    found = [*_decided(of_distributions, limits.alpha * (1 - OTHERS), limits.effect, limits.alpha)]
    found += _decided(others, limits.alpha * OTHERS, limits.share, limits.alpha)
    return tuple(sorted(found, key=lambda each: (not each.failed, each.p, -each.effect, each.column)))


def _decided(checks: Sequence[_Check], part: float, effect: float, alpha: float) -> Iterator[Finding]:
    """`part` is the family's share of alpha; the p-values are scaled, so that all are compared with `alpha` itself."""
    corrected = holm([each.found.p for each in checks] + [1.0] * (FAMILY - len(checks)))
    for each, p in zip(checks, np.minimum(corrected * (alpha / part), 1.0), strict=False):
        failed = bool(p < alpha and each.found.effect >= effect)
        yield Finding(each.column, each.what, each.found.effect, each.found.statistic, float(p), failed, each.rows)


def _checks(name: str, then: Numbers | Categories, now: Column, limits: Limits) -> Iterator[_Check]:
    if isinstance(then, Numbers) and not isinstance(now, Categories):
        yield from _of_numbers(name, then, now, limits)
    elif isinstance(then, Categories) and isinstance(now, Categories):
        yield from _of_categories(name, then, now, limits)


def _of_numbers(name: str, then: Numbers, now: Floats, limits: Limits) -> Iterator[_Check]:
    finite = now[np.isfinite(now)]
    yield from _gaps(name, then, len(now) - len(finite), len(now), limits)
    if len(finite) < limits.min_rows or not then.count:
        return
    yield _Check(name, "distribution", kolmogorov_smirnov(then, finite), len(finite))
    outside = int(((finite < then.knots[0]) | (finite > then.knots[-1])).sum())
    # The next sample is below the least or above the largest of n with a probability of 2 / (n + 1).
    yield _Check(name, "out of range", rise(min(2, then.count), then.count, outside, len(finite)), len(finite))


def _of_categories(name: str, then: Categories, now: Categories, limits: Limits) -> Iterator[_Check]:
    yield from _gaps(name, then, now.missing, now.count + now.missing, limits)
    if now.count < limits.min_rows or not then.count:
        return
    yield _Check(name, "distribution", chi_squared(then, now), now.count)
    if not then.rest:
        new = now.rest + sum(count for value, count in now.counts.items() if value not in then.counts)
        once = sum(count == 1 for count in then.counts.values())  # Good 1953: the share of what was not seen yet
        yield _Check(name, "new values", rise(once, then.count, new, now.count), now.count)


def _gaps(name: str, then: Numbers | Categories, missing: int, rows: int, limits: Limits) -> Iterator[_Check]:
    if rows >= limits.min_rows:
        yield _Check(name, "missing", rise(then.missing, then.count + then.missing, missing, rows), rows)
