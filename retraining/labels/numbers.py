"""Labels that are numbers: which of them agree, and which number is kept of those that do. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from registry.dataclass import dataclass

Kept = Literal["median", "mean", "first"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """How labels are compared where a model answers with a number."""

    tolerance: float = 0.0
    """Two that differ by no more agree."""
    relative_tolerance: float = 0.0
    """As `tolerance`, as a share of the one that is further from 0; either is enough."""
    kept: Kept = "median"
    """What is taken of those that agree; `first`: of whoever labelled first."""

    def agree(self, one: str, other: str) -> bool:
        """Whether two labels do; what is not a number agrees with itself only."""
        mine, yours = number(one), number(other)
        return one == other if mine is None or yours is None else self._fit(mine, yours)

    def largest(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The most people who all agree with each other; `labels`: person → what they say.

        Of several such groups the one whose numbers lie closest together, then the one with the lowest.
        """
        numbers = sorted((found, who) for who, text in labels.items() if (found := number(text)) is not None)
        groups = [tuple(who for who, said in labels.items() if said == text) for text in _others(labels)]
        ranked = [((-len(each), 0.0, -math.inf), each) for each in groups]
        for low, (least, _) in enumerate(numbers):
            group = [each for each in numbers[low:] if self._fit(least, each[0])]
            ranked.append(((-len(group), group[-1][0] - least, least), tuple(who for _, who in group)))
        return min(ranked)[1] if ranked else ()

    def of(self, labels: Sequence[str]) -> str:
        """The label that is kept of some that agree, whoever labelled first being the first."""
        numbers = [number(each) for each in labels]
        if self.kept == "first" or None in numbers:
            return labels[0]
        known = sorted(each for each in numbers if each is not None)
        middle = [known[(len(known) - 1) // 2], known[len(known) // 2]]
        found = _mean(middle if self.kept == "median" else known)
        return next((text for text, each in zip(labels, numbers, strict=True) if each == found), json.dumps(found))

    def _fit(self, low: float, high: float) -> bool:
        """If the least and the greatest of some numbers do, all of them agree."""
        return math.isclose(low, high, rel_tol=self.relative_tolerance, abs_tol=self.tolerance)


def number(label: str) -> float | None:
    """A label as a number; None: it has another form."""
    try:
        found = float(label)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _others(labels: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(each for each in labels.values() if number(each) is None))


def _mean(numbers: Sequence[float]) -> float:
    try:
        return math.fsum(numbers) / len(numbers)
    except OverflowError:  # as their sum is too large for a float
        return math.fsum(each / len(numbers) for each in numbers)
