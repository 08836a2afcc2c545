"""A column in bars, then and now, for people: some numbers from which a chart is drawn."""

from __future__ import annotations

import numpy as np

from registry.records.monitoring import OTHERS, Histogram
from retraining.monitoring.drift import Column
from retraining.monitoring.sketches import Categories, Floats, Numbers

BARS = 24
"""Of numbers, at most."""
VALUES = 12
"""Of other values, at most, and one more bar for all others."""
WHOLE = 1e9
"""Beyond that, whole numbers are numbers as others are."""
HUGE = 1e300
TAIL = 0.005
"""So much of either end has no bars of its own, so that one value far away does not make all others one bar."""


def histogram(name: str, then: Numbers | Categories, now: Column) -> Histogram:
    """Both samples of a column in the same bars. Raises TypeError when one is numbers, and the other is not."""
    if isinstance(then, Numbers) and not isinstance(now, Categories):
        return _of_numbers(name, then, now)
    if isinstance(then, Categories) and isinstance(now, Categories):
        return _of_categories(name, then, now)
    raise TypeError(f"{name}: numbers cannot be drawn beside other values")


def _of_numbers(name: str, then: Numbers, now: Floats) -> Histogram:
    finite = np.sort(now[np.isfinite(now)])
    edges = _edges(then, finite)
    shares_then = _in_bars(then.shares(edges)[0]) if then.count else np.zeros(max(len(edges) - 1, 0))
    below = np.searchsorted(finite, edges, side="left") / max(len(finite), 1)
    shares_now = _in_bars(below) if len(finite) else np.zeros(max(len(edges) - 1, 0))
    return Histogram(
        name,
        edges=tuple(edges.tolist()),
        values=(),
        then=tuple(shares_then.tolist()),
        now=tuple(shares_now.tolist()),
        missing_then=_share(then.missing, then.count + then.missing),
        missing_now=_share(len(now) - len(finite), len(now)),
        rows=len(now),
    )


def _edges(then: Numbers, finite: Floats) -> Floats:
    """Of bars of one width; whole numbers have a bar each where there are few. Empty without any value."""
    ends: list[float] = []
    for tail in (TAIL, 1 - TAIL):
        if then.count:
            ends.append(float(then.knots[min(int(np.searchsorted(then.upto, tail)), len(then.knots) - 1)]))
        if len(finite):
            ends.append(float(finite[round((len(finite) - 1) * tail)]))
    if not ends:
        return np.empty(0)
    low, high = max(min(ends), -HUGE), min(max(ends), HUGE)
    if high - low < BARS and max(abs(low), abs(high)) < WHOLE and _all_whole(then.knots) and _all_whole(finite):
        return low - 0.5 + np.arange(round(high - low) + 2, dtype=np.float64)
    if not high > low:  # one value, or none that can be drawn
        low = high = min(max(low, -HUGE), HUGE)
        room = abs(low) * 0.01 or 0.5
        low, high = low - room, high + room
    width = high / BARS - low / BARS
    edges = low + width * np.arange(BARS + 1, dtype=np.float64)
    return edges if bool(np.all(np.diff(edges) > 0)) else np.array([low, high])


def _all_whole(values: Floats) -> bool:
    return bool(np.all(values == np.round(values)))


def _in_bars(below: Floats) -> Floats:
    """The share in each bar, from the shares below each edge; the outermost hold what lies beyond."""
    whole = below.copy()
    whole[0], whole[-1] = 0.0, 1.0
    return np.diff(whole)


def _of_categories(name: str, then: Categories, now: Categories) -> Histogram:
    def shares(sample: Categories) -> dict[str, float]:
        return {value: _share(count, sample.count) for value, count in sample.counts.items()}

    old, new = shares(then), shares(now)
    ranked = sorted({*old, *new}, key=lambda each: (-max(old.get(each, 0.0), new.get(each, 0.0)), each))
    shown = ranked[:VALUES]
    if all(each.isdecimal() for each in shown):  # tenths, years: their own order says more
        shown.sort(key=int)
    else:
        shown.sort(key=lambda each: (-old.get(each, 0.0), each))
    values, bars = shown, [[each.get(value, 0.0) for value in shown] for each in (old, new)]
    if len(ranked) > VALUES or then.rest or now.rest:
        values = [*shown, OTHERS]
        for sample, found in zip((then, now), bars, strict=True):
            found.append(max(0.0, 1.0 - sum(found)) if sample.count else 0.0)
    return Histogram(
        name,
        edges=(),
        values=tuple(values),
        then=tuple(bars[0]),
        now=tuple(bars[1]),
        missing_then=_share(then.missing, then.count + then.missing),
        missing_now=_share(now.missing, now.count + now.missing),
        rows=now.count + now.missing,
    )


def _share(part: int, of: int) -> float:
    return part / of if of else 0.0
