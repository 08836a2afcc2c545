"""What is measured of a model over time, in so few points that a page holds them as a chart and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pipelines.console.facts.models import per_hour
from pipelines.monitor.trend import Point
from registry.dataclass import dataclass

MOST = 48
"""Points of a chart, and rows of the table beside it."""
PERIODS = {"day": timedelta(days=1), "week": timedelta(days=7), "all": timedelta(days=36_500)}
"""What can be asked for."""


@dataclass(frozen=True, slots=True)
class Kpi:
    """Some windows of one release, one after the other. NaN: not known."""

    until: str
    release: int
    rows: int
    per_hour: float
    latency: float
    failed: int
    """Checks, in all of its windows."""
    metric: str
    measured: tuple[float, float, float]
    """By labels, with its 95 % interval: the mean of the windows that have one."""
    estimated: tuple[float, float, float]
    windows: int


def kpis(points: Sequence[Point], period: str, most: int = MOST) -> tuple[Kpi, ...]:
    """The windows of the newest day, week or all, the oldest first; of many several become one."""
    if not points:
        return ()
    begin = _moment(points[-1].until) - PERIODS.get(period, PERIODS["all"])
    chosen = [each for each in points if _moment(each.until) > begin]
    size = math.ceil(len(chosen) / most)
    groups = list(_groups(chosen, size))
    while len(groups) > most:  # many releases, each of which has a rest
        size += 1
        groups = list(_groups(chosen, size))
        if size > len(chosen):
            groups = groups[-most:]
    return tuple(map(_kpi, groups))


def _groups(points: Sequence[Point], size: int) -> Iterator[list[Point]]:
    group: list[Point] = []
    for point in points:
        if group and (len(group) >= size or group[0].release != point.release):
            yield group
            group = []
        group.append(point)
    if group:
        yield group


def _kpi(points: Sequence[Point]) -> Kpi:
    newest = points[-1]
    return Kpi(
        newest.until,
        newest.release,
        sum(each.rows for each in points),
        _mean([per_hour(each) for each in points]),
        max((each.latency for each in points if math.isfinite(each.latency)), default=math.nan),
        sum(each.failed for each in points),
        next((each.metric for each in reversed(points) if each.metric), ""),
        _means([(each.now, each.low, each.high) for each in points]),
        _means([(each.estimated, each.estimated_low, each.estimated_high) for each in points]),
        len(points),
    )


def _means(values: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    known = [each for each in values if math.isfinite(each[0])]
    now, low, high = (_mean([each[place] for each in known]) for place in range(3))
    return now, low, high


def _mean(values: Sequence[float]) -> float:
    known = [each for each in values if math.isfinite(each)]
    return math.fsum(known) / len(known) if known else math.nan


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
