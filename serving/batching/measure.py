"""What batches gain for a model, measured when it is loaded, with the rows that warm it up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.batching.rules import SAVES, SIZES, Costs, Decision, decide
from serving.engines.base import CHUNK, Arrays, Engine, EngineError
from serving.engines.parity import TOLERANCE, differs

RUNS = 5
"""Of each size, as long as they take no more than PART."""
PART = 0.05
SECONDS = 1.0
"""For all of it: what takes longer by one row than batches could ever save is not measured with 32."""
ENOUGH_CALLS, JUST_AS_GOOD = 3, 1.03
"""Sizes without which nothing is known of how many rows a call should have, and what counts as the same time per row."""
LONG = 0.0005
"""Seconds of a call for which a thread better waits for its turn: more of them at the same time than cores only take the caches
from each other, while waiting costs a tenth of that."""
ENOUGH, HOPELESS = 4, 1.1
"""A gain that is so small with that many rows does not become one by more."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How a process may run its model, and batch requests."""

    seconds: float
    """That a request waits for others while the engine is free; 0: none are batched."""
    rows: int
    """The most in a batch."""
    at_once: int = 1
    """Calls of the engine that run at the same time: cores that the process has for itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a model, and what follows from it."""

    bounds: Bounds
    decision: Decision
    costs: Costs | None = None
    """None: nothing was measured."""

    @property
    def rows_per_call(self) -> int:
        """The most rows of one request that go through the model together: no more than gain by it."""
        if self.decision.rows or self.costs is None or len(self.costs.calls) < ENOUGH_CALLS:
            return CHUNK
        return self.costs.best(JUST_AS_GOOD)

    @property
    def many(self) -> int:
        """Rows from which on a call takes LONG, or longer."""
        return max(1, math.ceil(LONG / max(self.costs.calls[0][1], 1e-9))) if self.costs else 1

    def facts(self) -> dict[str, Any]:
        """For people and programs: `GET /`."""
        facts: dict[str, Any] = {"on": bool(self.decision.rows), "why": self.decision.why}
        if self.decision.rows:
            facts |= {"rows": self.decision.rows, "wait_ms": round(self.bounds.seconds * 1000, 3)}
        if self.costs:
            facts["call_ms"] = {str(rows): round(seconds * 1000, 3) for rows, seconds in self.costs.calls}
        return facts

    def said(self) -> str:
        """One line for the log and the status."""
        rows, why = self.decision.rows, self.decision.why
        return f"requests are batched up to {rows} rows: {why}" if rows else f"requests are not batched: {why}"


def measure(
    engine: Engine, samples: Arrays, bounds: Bounds, clock: Callable[[], float] = time.perf_counter
) -> Measured:
    """Run the engine with batches of `samples`, as long as that can lead to a gain.

    A model whose answer to a row depends on the rows beside it is never batched: no client's answer may depend on who asks at
    the same time.
    """
    if not bounds.seconds:
        return Measured(bounds, Decision(0, "[serving] batch_ms is 0"))
    try:
        costs = _costs(engine, samples, bounds.rows, clock)
        decision = decide(costs, bounds.rows)
        if decision.rows and (reason := depends(engine, samples, decision.rows)):
            decision = Decision(0, reason)
    except (EngineError, MemoryError) as error:  # with one row it has run before
        return Measured(bounds, Decision(0, f"it does not run with many rows: {str(error)[:200]}"))
    return Measured(bounds, decision, costs)


def seconds_of_a_row(engine: Engine, samples: Arrays, clock: Callable[[], float] = time.thread_time) -> float:
    """Of the CPU that a call of the engine with one row of `samples` takes, in this thread."""
    return _least_seconds(engine, {name: array[:1] for name, array in samples.items()}, clock)


def _costs(engine: Engine, samples: Arrays, most: int, clock: Callable[[], float]) -> Costs:
    count = len(next(iter(samples.values())))
    calls: list[tuple[int, float]] = []
    began = clock()
    for rows in (each for each in SIZES if each <= most):
        given = {name: array[np.arange(rows) % count] for name, array in samples.items()}
        calls.append((rows, _least_seconds(engine, given, clock)))
        hopeless = rows >= ENOUGH and Costs(tuple(calls)).gain() < HOPELESS
        if calls[0][1] < SAVES or hopeless or clock() - began > SECONDS:
            break
    return Costs(tuple(calls))


def depends(engine: Engine, samples: Arrays, rows: int) -> str:
    """Why the answer to a row may depend on the rows beside it; empty: it was tried, and does not."""
    count = len(next(iter(samples.values())))
    if all((array == array[:1]).all() for array in samples.values()):
        return "the version has no two different samples with which to try whether batches change its answers"
    index = np.arange(rows) % count
    together = engine({name: array[index] for name, array in samples.items()})
    for row in _spread(min(rows, count)):
        alone = engine({name: array[row : row + 1] for name, array in samples.items()})
        for name, array in alone.items():
            if reason := differs(together[name][row : row + 1], array, TOLERANCE):
                return f"its answers depend on the rows beside them: output {name}: {reason}"
    return ""


def _spread(rows: int) -> Iterable[int]:
    """The first, the last, and two in between."""
    return sorted({0, rows // 3, 2 * rows // 3, rows - 1})


def _least_seconds(engine: Engine, given: Arrays, clock: Callable[[], float]) -> float:
    """Of a few calls: what else the machine does only makes them longer. The first one is for memory of this size."""
    engine(given)
    found: list[float] = []
    while not found or (len(found) < RUNS and sum(found) < PART):
        start = clock()
        engine(given)
        found.append(clock() - start)
    return min(found)
