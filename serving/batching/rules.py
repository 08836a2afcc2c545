"""When requests are batched, which, and how long one waits for others: rules without clocks, threads and models.

A call of an engine takes a time that no row causes (most of it to read the weights), and a time for each row. Where the first
is large, calls for many rows at once answer more rows per second. What a model's calls take is measured when it is loaded
(serving.batching.measure).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

SIZES = (1, 2, 4, 8, 16, 32)
"""Rows of the calls that are measured, and the largest batch."""
SAVES = 0.00005
"""Seconds of the engine that a row must save: about what it costs to join a batch, and to be woken by it."""
GAIN = 1.5
"""How many times the rows per second batches must give."""
NEARLY = 1.1
"""A batch whose rows take at most so many times the least time is as good as the best one, and ends earlier."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What calls of a model's engine take: (rows, seconds), by rows; the first is of one row."""

    calls: tuple[tuple[int, float], ...]

    def seconds(self, rows: int) -> float:
        """Of a call with so many rows: a straight line between those that were measured, and beyond the last."""
        sizes = [each for each, _ in self.calls]
        at = min(max(bisect_left(sizes, rows), 1), len(sizes) - 1)
        if at < 1:
            return self.calls[0][1] * rows
        (low, less), (high, more) = self.calls[at - 1], self.calls[at]
        return less + (more - less) * (rows - low) / (high - low)

    def best(self, nearly: float = NEARLY) -> int:
        """The smallest batch whose rows take nearly the least time each."""
        least = min(seconds / rows for rows, seconds in self.calls)
        return next(rows for rows, seconds in self.calls if seconds / rows <= least * nearly)

    def gain(self) -> float:
        """How many times the rows per second the best batch gives."""
        rows = self.best()
        return self.calls[0][1] * rows / self.seconds(rows)

    def saved(self) -> float:
        """Seconds that one more row saves when it does not need a call of its own; 0: none."""
        rows = self.best()
        if rows == 1:
            return 0.0
        each = (self.seconds(rows) - self.calls[0][1]) / (rows - 1)
        return max(0.0, self.calls[0][1] - max(0.0, each))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a model's requests are batched."""

    rows: int
    """The most in a batch; 0: they are not."""
    why: str


def decide(costs: Costs, most: int) -> Decision:
    """By what was measured; `most`: rows that a batch may have at all."""
    one, rows = costs.calls[0][1], min(costs.best(), most)
    if one < SAVES:
        return Decision(0, f"one row takes {_ms(one)}: there is nothing to gain")
    batch = costs.seconds(rows)
    found = f"{rows} rows take {_ms(batch)}, one {_ms(one)}: {one * rows / batch:.1f} times the rows per second"
    if rows == 1 or one * rows < batch * GAIN or costs.saved() < SAVES:
        last, seconds = costs.calls[-1]
        return Decision(0, f"{last} rows take {_ms(seconds)}, one {_ms(one)}: too little to gain")
    return Decision(rows, found)


def patience(costs: Costs, most: float) -> float:
    """Seconds for which a batch waits for more rows while the engine is free; `most`: what is set.

    As long as one more row would save, and not longer: so a wait for rows that do not come costs at most what one that comes
    saves.
    """
    return min(most, costs.saved())


def enough(requests: int, rows: int, company: int, best: int) -> bool:
    """Whether to wait for no more: those that wait are as many requests as there were lately (`company`), or a good batch."""
    return requests >= company or rows >= best


def choose(waiting: Iterable[tuple[Hashable, int]], most: int) -> list[int]:
    """Which of those that wait, given as kind and rows in the order in which they came, make up the next batch.

    The first one in any case, and of those after it the ones of its kind that fit: `most` rows in all.
    """
    chosen: list[int] = []
    rows, first = 0, None
    for i, (kind, count) in enumerate(waiting):
        if not chosen:
            first = kind
        elif kind != first or rows + count > most:
            continue
        chosen.append(i)
        rows += count
    return chosen


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
