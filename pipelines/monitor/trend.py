"""What the report draws: the newest window's columns, and quality from window to window."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pipelines.monitor.state import moment
from registry.dataclass import dataclass
from registry.records.monitoring import Check, Health, Histogram
from training.metric_table import row_of

MOST_POINTS = 672
"""Windows; a week of 15 minutes each."""
ESTIMATED = "estimated accuracy"


@dataclass(frozen=True, slots=True)
class Point:
    """One window of the curves. NaN: not known."""

    until: str
    release: int
    rows: int
    labelled: int
    failed: int
    """Checks."""
    metric: str = ""
    """What `now` is of: the gate's metric."""
    then: float = math.nan
    """On the holdout."""
    now: float = math.nan
    low: float = math.nan
    high: float = math.nan
    estimated: float = math.nan
    estimated_low: float = math.nan
    estimated_high: float = math.nan
    estimated_then: float = math.nan
    since: str = ""
    """The window's begin; empty in windows that an earlier version of Trainyard has looked at."""
    latency: float = math.nan
    """Milliseconds in which 95 % of the answers were given, where `[monitoring] max_latency_ms` has it measured."""


@dataclass(frozen=True, slots=True)
class Charts:
    """What is kept for the report, beside the newest health."""

    histograms: tuple[Histogram, ...] = ()
    points: tuple[Point, ...] = ()
    """The oldest first."""


def point(health: Health) -> Point:
    """What the curves show of a window."""
    measured = next((each for each in health.checks if each.kind == "decay" and row_of(each.what)), None)
    estimated = next((each for each in health.checks if each.kind == "decay" and each.what == ESTIMATED), None)
    latency = next((each for each in health.checks if (each.kind, each.what) == ("service", "latency")), None)
    window = health.window
    then, now, low, high = _numbers(measured, "then", "now", "low", "high")
    estimated_, its_low, its_high, its_then = _numbers(estimated, "now", "low", "high", "then")
    return Point(
        window.until,
        window.release,
        window.rows,
        window.labelled,
        len(health.failed),
        measured.what if measured else "",
        then,
        now,
        low,
        high,
        estimated_,
        its_low,
        its_high,
        its_then,
        window.since,
        _known(latency.now if latency else None),
    )


def _numbers(check: Check | None, *names: str) -> list[float]:
    return [_known(getattr(check, name, None)) for name in names]


def extended(points: Iterable[Point], found: Iterable[Health]) -> tuple[Point, ...]:
    """The points with those of more windows; a window that is there already is replaced."""
    by_window = {(moment(each.until), each.release): each for each in (*points, *map(point, found))}
    return tuple(by_window[key] for key in sorted(by_window))[-MOST_POINTS:]


def _known(value: float | None) -> float:
    return math.nan if value is None else value
