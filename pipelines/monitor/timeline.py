"""Quality from window to window, with its 95 % intervals, over how many predictions each window had."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from pipelines.monitor.state import moment
from pipelines.monitor.trend import Point
from pipelines.report.svg import (
    BLUE,
    GREEN,
    GRID,
    INK,
    LINE,
    ORANGE,
    RED,
    SOFT,
    Drawing,
    Scale,
    drawable,
    ticks,
    width_of,
)

WIDTH, LEFT, RIGHT = 1040, 62, 16
QUALITY, ROWS = 220, 90
"""Heights of the two panels."""
TOP, BETWEEN, BOTTOM = 58, 46, 34
TIMES = 8
STEPS = [
    timedelta(minutes=each) for each in (15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440, 14 * 1440, 28 * 1440)
]
Way = tuple[str, str, Callable[[Point], tuple[float, float, float]]]


def draw_timeline(points: Sequence[Point], limit: float = math.nan) -> bytes:
    """The SVG file; empty without a window. `limit`: below it (above it, of an error), quality has fallen too far."""
    if not points:
        return b""
    ways = [each for each in _ways(points) if any(drawable([each[2](point)[0]]) for point in points)]
    upper = QUALITY + BETWEEN if ways else 0
    drawing = Drawing(WIDTH, TOP + upper + ROWS + BOTTOM, "Quality and predictions, window by window")
    times = [moment(each.until) for each in points]
    first, last = times[0], times[-1]
    span = (last - first) / timedelta(seconds=1) or 1.0
    x = Scale(0.0, span, LEFT + 10, WIDTH - RIGHT - 10)

    def place(at: datetime) -> float:
        return x((at - first) / timedelta(seconds=1)) if last > first else (LEFT + WIDTH - RIGHT) / 2

    if ways:
        _quality(drawing, points, ways, [place(each) for each in times], limit)
    _rows(drawing, points, [place(each) for each in times], TOP + upper)
    bottom = TOP + upper + ROWS
    for at in round_times(first, last):
        drawing.line((place(at), bottom), (place(at), bottom + 4), LINE)
        words = f"{at.day} {at:%b %H:%M}"
        middle = min(place(at), WIDTH - width_of(words, 11) / 2 - 4)
        drawing.text((middle, bottom + 18), words, SOFT, 11, anchor="middle")
    return drawing.to_bytes()


def _ways(points: Sequence[Point]) -> Iterator[Way]:
    metric = next((each.metric for each in reversed(points) if each.metric), "")
    if metric:
        yield f"{metric}, with labels", BLUE, lambda each: (each.now, each.low, each.high)
    yield (
        "estimated accuracy, without labels",
        ORANGE,
        lambda each: (each.estimated, each.estimated_low, each.estimated_high),
    )


def _quality(drawing: Drawing, points: Sequence[Point], ways: Sequence[Way], places: list[float], limit: float) -> None:
    then = next(
        (
            each
            for each in reversed([value for p in points for value in (p.estimated_then, p.then)])
            if drawable([each])
        ),
        math.nan,
    )
    values = drawable([*(value for _, _, read in ways for each in points for value in read(each)), then, limit])
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.05 or 0.5
    y = Scale(low - room, high + room, TOP + QUALITY, TOP)
    for value in ticks(y.low, y.high, 6):
        drawing.line((LEFT, y(value)), (WIDTH - RIGHT, y(value)), GRID)
        drawing.text((LEFT - 8, y(value) + 4), f"{value:.4g}", SOFT, 11, anchor="end")
    entries = [(words, colour, "") for words, colour, _ in ways]
    for words, value, colour in (("on the holdout", then, GREEN), ("limit", limit, RED)):
        if drawable([value]):
            drawing.line((LEFT, y(value)), (WIDTH - RIGHT, y(value)), colour, 1.5, "5 4")
            entries.append((words, colour, "5 4"))
    for _, colour, read in ways:
        for stretch in _stretches(points, places, read):
            band = [(x, y(high)) for x, (_, _, high) in stretch] + [(x, y(low)) for x, (_, low, _) in reversed(stretch)]
            if len(drawable([value for _, each in stretch for value in each])) == 3 * len(stretch):
                if len(stretch) > 1:
                    drawing.area(band, colour, 0.15)
                else:
                    drawing.line(band[0], band[1], colour, 2)
            drawing.curve([(x, y(now)) for x, (now, _, _) in stretch], colour)
    _legend(drawing, entries)


def _stretches(
    points: Sequence[Point], places: list[float], read: Callable[[Point], tuple[float, float, float]]
) -> Iterator[list[tuple[float, tuple[float, float, float]]]]:
    """What is known without a gap, of one release each."""
    found: list[tuple[float, tuple[float, float, float]]] = []
    release = None
    for place, point in zip(places, points, strict=True):
        value = read(point)
        if found and (not drawable([value[0]]) or point.release != release):
            yield found
            found = []
        if drawable([value[0]]):
            found.append((place, value))
        release = point.release
    if found:
        yield found


def _rows(drawing: Drawing, points: Sequence[Point], places: list[float], top: float) -> None:
    bottom = top + ROWS
    y = Scale(0.0, max(*(each.rows for each in points), 1), bottom, top)
    width = max(1.0, min(14.0, (WIDTH - LEFT - RIGHT - 20) / len(points) * 0.7))
    drawing.text((LEFT, top - 10), "predictions per window; red: a check failed", INK, 12, weight="bold")
    for value in ticks(0.0, y.high, 3):
        drawing.line((LEFT, y(value)), (WIDTH - RIGHT, y(value)), GRID)
        drawing.text((LEFT - 8, y(value) + 4), f"{value:,.4g}", SOFT, 11, anchor="end")
    for place, point in zip(places, points, strict=True):
        height = max(bottom - y(point.rows), 1.5)
        drawing.bar((place - width / 2, bottom - height), (width, height), RED if point.failed else "#8fa3b5")
    drawing.line((LEFT, bottom), (WIDTH - RIGHT, bottom), LINE)


def _legend(drawing: Drawing, entries: Sequence[tuple[str, str, str]]) -> None:
    left = float(LEFT)
    for words, colour, dash in entries:
        drawing.line((left, 26), (left + 22, 26), colour, 2, dash)
        drawing.text((left + 28, 30), words)
        left += 28 + width_of(words, 12) + 18


def round_times(first: datetime, last: datetime) -> list[datetime]:
    """At most TIMES round ones; one alone when there is no other."""
    if last <= first:
        return [first]
    day = first.replace(hour=0, minute=0, second=0)
    for step in STEPS:
        marks = list[datetime]()
        at = day + step * math.ceil((first - day) / step)
        while at <= last and len(marks) <= TIMES:
            marks.append(at)
            at += step
        if len(marks) <= TIMES:
            return marks or [first]
    return [first, last]
