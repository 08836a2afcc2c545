"""What a column looked like, in a few kilobytes: exact enough to test another sample against it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

KNOTS = 300
"""At most so many distinct values of a column of numbers are kept: its distribution is known to 1 / 299 everywhere."""
CATEGORIES = 1000
"""Of more, the most frequent ones are kept; the others are counted together."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The distribution of a column of numbers.

    Arrays have shape (knots,). Between two knots the distribution is taken for a straight line, at a knot it is exact, however
    many samples have that very value: a spike at 0 stays a spike.
    """

    count: int
    """Finite values."""
    missing: int
    """NaN, infinity, null."""
    knots: Floats
    """Values, ascending and distinct; the first and the last are the range."""
    below: Floats
    """Which share of the finite values is less than the knot."""
    upto: Floats
    """Which share is not more."""

    def shares(self, x: Floats) -> tuple[Floats, Floats]:
        """Which share of the values is less than each of `x`, and which is not more; both of the shape of `x`."""
        after = np.searchsorted(self.knots, x, side="right")
        last = (after - 1).clip(0)
        halves = self.knots / 2  # a difference of floats may overflow
        widths, rises = np.append(np.diff(halves), 1.0), np.append(self.below[1:] - self.upto[:-1], 0.0)
        widths[widths == 0] = 1.0  # of knots next to each other among the smallest floats
        part = x.clip(self.knots[0], self.knots[-1]) / 2  # beyond them, a part of a tiny width would overflow
        part -= halves[last]
        part /= widths[last]
        upto = part * rises[last]
        upto += self.upto[last]
        upto[after == 0] = 0.0
        below = np.where(self.knots[last] == x, self.below[last], upto)
        return below, upto


@dataclass(frozen=True, slots=True)
class Categories:
    """How often a column has had which value."""

    missing: int
    counts: Mapping[str, int]
    rest: int = 0
    """How many samples had another value."""

    @property
    def count(self) -> int:
        """Samples that are not missing."""
        return sum(self.counts.values()) + self.rest


def numbers(values: ArrayLike, knots: int = KNOTS) -> Numbers:
    """The sketch of `values`, shape (samples,); at most `knots` values of it are kept."""
    array = np.asarray(values, dtype=np.float64)
    finite = np.sort(array[np.isfinite(array)])
    count = len(finite)
    places = np.unique(np.linspace(0, count - 1, min(knots, count)).round().astype(np.int64))
    kept = np.unique(finite[places])
    below = np.searchsorted(finite, kept, side="left") / max(count, 1)
    upto = np.searchsorted(finite, kept, side="right") / max(count, 1)
    return Numbers(count, len(array) - count, kept, below, upto)


def categories(values: Iterable[Any], most: int = CATEGORIES) -> Categories:
    """The sketch of `values`, of which None and NaN are missing; at most `most` of them are kept by name."""
    return counted(Counter(None if _is_missing(value) else str(value) for value in values), most)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def counted(counts: Mapping[str | None, int], most: int = CATEGORIES) -> Categories:
    """The sketch of a column that has had each value so often, None where it was missing."""
    named = [(name, count) for name, count in counts.items() if name is not None]
    named.sort(key=lambda each: (-each[1], each[0]))
    return Categories(counts.get(None, 0), dict(named[:most]), sum(count for _, count in named[most:]))


def only_shared(sketch: Categories, least: int, known: Collection[str] = ()) -> Categories:
    """Without the names of values that fewer than `least` samples share, unless they are `known`: they count as `rest`."""
    shown = {name: count for name, count in sketch.counts.items() if count >= least or name in known}
    return Categories(sketch.missing, shown, sketch.count - sum(shown.values()))
