"""Asks the model about altered rows: in calls that fit into what is left of the time, and into a bounded memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np

from serving.engines.base import Array, Arrays
from serving.explain.target import CannotExplain, Target

Run = Callable[[Arrays, int], Mapping[str, Array]]
"""The model: outputs by name for so many rows of inputs, all numbers finite (`Model.run`)."""
Build = Callable[[int, int], Arrays]
"""Makes the altered rows from the first number to the second, of a list of them that is never there as a whole."""
MOST_ROWS = 1024
MOST_BYTES = 16 << 20
"""Of inputs in one call."""
PATIENCE = 4
"""How many times the budget the least that makes an explanation may take."""


class Asker:
    """One row's budget. `target` says which number of the answers counts, `row_bytes` how large one row of inputs is."""

    def __init__(
        self, run: Run, target: Target, seconds: float, row_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run, self._target, self._clock = run, target, clock
        self._began = clock()
        self.seconds = seconds
        """The budget; a part of an explanation may lower it for itself."""
        self.evaluations = 0
        """Rows that the model has answered."""
        self._most = max(1, min(MOST_ROWS, MOST_BYTES // max(row_bytes, 1)))
        self._last = 0.0
        """Seconds per row that the last call took; 0: there was none."""
        self._best = math.inf
        """The same of the fastest call: one is slow at times for other reasons than its rows."""

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    @property
    def left(self) -> float:
        """Seconds; not less than 0."""
        return max(0.0, self.seconds - self.spent)

    def affords(self, rows: int, share: float = 0.8) -> bool:
        """Whether so many rows fit into that share of the time that is left, as far as the calls before let expect."""
        return rows * self._best <= share * self.left

    def require(self, rows: int) -> None:
        """Raise CannotExplain when even so many rows, the least that makes an explanation, take far longer than the budget."""
        expected = self.spent + rows * self._best
        if expected > PATIENCE * self.seconds:
            message = f"this model needs about {expected * 1000:,.0f} ms for the roughest explanation"
            raise CannotExplain(
                f"{message}; the budget of one row is {self.seconds * 1000:,.0f} ms",
                hint="explain fewer rows at once, or raise budget_ms, or the operator [serving] explain_ms",
            )

    def ask(self, build: Build, rows: int, least: int = 0) -> Array:
        """The model's numbers, float64, for `rows` altered rows; for the first of them only, but at least `least`, when the time
        ends before."""
        parts, start = [np.empty(0)], 0
        while start < rows and (start < least or self.left > 0):
            stop = min(rows, start + self._fitting())
            before = self._clock()
            parts.append(self._target.of(self._run(build(start, stop), stop - start)))
            self._last = max((self._clock() - before) / (stop - start), 1e-9)
            self._best = min(self._best, self._last)
            start = stop
        self.evaluations += start
        return np.concatenate(parts)

    def _fitting(self) -> int:
        """How many rows the next call gets: a single one until it is known how long one takes."""
        return int(min(self._most, max(1.0, self.left / 4 / self._last))) if self._last else 1
