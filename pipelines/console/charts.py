"""Charts as SVG inside of a page: colours by classes of console.css, so that they follow light and dark; no style, no script.

Each has a title and a description, and a page puts a table beside it. `line_chart`, `bar_chart` and `sparkline` know nothing of
models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count

from markupsafe import Markup, escape

from pipelines.monitor.timeline import round_times
from pipelines.report.svg import Scale, drawable, fit, ticks, width_of
from registry.dataclass import dataclass

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 210, 50, 12, 26, 30
FONT = 12
MOST_MARKS = 12
"""Of releases, and of alarms; with more, the newest have one."""
LAST_IN_DAY = timedelta(days=2)
_ids = count(1)
"""Each chart of a page has another id."""


@dataclass(frozen=True, slots=True)
class Value:
    """One point; NaN is a gap. `group`: a line joins only what has the same one."""

    at: str
    value: float
    low: float = math.nan
    high: float = math.nan
    group: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """One line with the band of its interval. `tone` is `a` or `b`: another colour and another dash."""

    name: str
    values: Sequence[Value]
    tone: str = "a"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a release (a line with its name), or an alarm (a triangle below)."""

    at: str
    name: str
    kind: str = "release"


@dataclass(frozen=True, slots=True)
class Level:
    """A line across, to compare with."""

    name: str
    value: float
    kind: str = "then"
    """`then` or `limit`."""


@dataclass(frozen=True, slots=True)
class About:
    """What a chart says in words."""

    title: str
    text: str


def line_chart(
    about: About, series: Sequence[Series], marks: Sequence[Mark] = (), levels: Sequence[Level] = ()
) -> Markup:
    """Empty when there is nothing to draw."""
    shown = [each for each in series if any(drawable([value.value]) for value in each.values)]
    if not shown:
        return Markup()
    levels = [each for each in levels if drawable([each.value])]
    values = [number for each in shown for value in each.values for number in (value.value, value.low, value.high)]
    y = _scale(drawable([*values, *(each.value for each in levels)]))
    x = _Time([value.at for each in shown for value in each.values])
    parts = [*_grid(y), *x.axis(), *_marks(marks, x)]
    parts += [
        f'<line class="{each.kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_n(y(each.value))}" y2="{_n(y(each.value))}"/>'
        for each in levels
    ]
    for each in shown:
        parts += _line(each, x, y)
    parts += _legend([(each.name, f"line {each.tone}") for each in shown] + [(each.name, each.kind) for each in levels])
    return _svg(about, parts)


def bar_chart(about: About, values: Sequence[Value], marks: Sequence[Mark] = ()) -> Markup:
    """Bars from 0 on; those whose `group` is not 0 are marked as bad. Empty when there is nothing to draw."""
    shown = [each for each in values if drawable([each.value])]
    if not shown:
        return Markup()
    y = Scale(0.0, max(*(each.value for each in shown), 1e-9) * 1.08, HEIGHT - BOTTOM, TOP)
    x = _Time([each.at for each in values])
    width = max(1.5, min(16.0, (WIDTH - LEFT - RIGHT) / len(values) * 0.72))
    parts = [*_grid(y), *x.axis(), *_marks(marks, x)]
    for each in shown:
        height = max(HEIGHT - BOTTOM - y(each.value), 1.0 if each.value else 0.0)
        tone = "bar bad" if each.group else "bar"
        parts.append(
            f'<rect class="{tone}" x="{_n(x(each.at) - width / 2)}" y="{_n(HEIGHT - BOTTOM - height)}" width="{_n(width)}" height="{_n(height)}"/>'
        )
    return _svg(about, parts)


def sparkline(title: str, values: Sequence[float], tone: str = "a") -> Markup:
    """A line of the size of a word, for a table; empty with less than two values."""
    known = [(place, value) for place, value in enumerate(values) if drawable([value])]
    if len(known) < 2:
        return Markup()
    numbers = [value for _, value in known]
    low, high = min(numbers), max(numbers)
    room = (high - low) or abs(high) * 0.1 or 1.0
    x, y = Scale(0, len(values) - 1, 2, 88), Scale(low - room * 0.1, high + room * 0.1, 22, 2)
    points = " ".join(f"{_n(x(place))},{_n(y(value))}" for place, value in known)
    return Markup(
        '<svg class="spark" viewBox="0 0 90 24" width="90" height="24" role="img" aria-label="{}">'
        '<polyline class="line {}" points="{}"/></svg>'
    ).format(title, tone, points)


class _Time:
    """Moments to pixels."""

    def __init__(self, times: Sequence[str]) -> None:
        moments = [datetime.fromisoformat(each) for each in times]
        self.first, self.last = min(moments), max(moments)
        seconds = (self.last - self.first) / timedelta(seconds=1)
        self._scale = Scale(0.0, seconds, LEFT + 10, WIDTH - RIGHT - 10) if seconds else None

    def __call__(self, at: str | datetime) -> float:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
        if self._scale is None:
            return (LEFT + WIDTH - RIGHT) / 2
        return self._scale((moment - self.first) / timedelta(seconds=1))

    def has(self, at: str) -> bool:
        """Whether this moment is on the axis."""
        return self.first <= datetime.fromisoformat(at) <= self.last

    def axis(self) -> Iterator[str]:
        yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
        end = 0.0
        for at in round_times(self.first, self.last):
            words = f"{at:%H:%M}" if self.last - self.first < LAST_IN_DAY else f"{at.day} {at:%b}"
            half = width_of(words, FONT) / 2
            middle = min(max(self(at), LEFT + half - 8), WIDTH - half - 2)
            if middle - half > end:
                yield f'<text x="{_n(middle)}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{escape(words)}</text>'
                end = middle + half + 10


def _scale(values: Sequence[float]) -> Scale:
    low, high = min(values), max(values)
    room = (high - low) * 0.1 or abs(high) * 0.05 or 0.5
    return Scale(low - room, high + room, HEIGHT - BOTTOM, TOP)


def _grid(y: Scale) -> Iterator[str]:
    for value in ticks(y.low, y.high, 5):
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_n(y(value))}" y2="{_n(y(value))}"/>'
        yield f'<text x="{LEFT - 7}" y="{_n(y(value) + 4)}" text-anchor="end">{_number(value)}</text>'


def _line(series: Series, x: _Time, y: Scale) -> Iterator[str]:
    for stretch in _stretches(series.values):
        middle = [(x(each.at), y(each.value)) for each in stretch]
        if len(drawable([end for each in stretch for end in (each.low, each.high)])) == 2 * len(stretch):
            band = [(x(each.at), y(each.high)) for each in stretch] + [
                (x(each.at), y(each.low)) for each in stretch[::-1]
            ]
            if len(stretch) == 1:
                (left, top), (_, low) = band
                band = [(left - 3, top), (left + 3, top), (left + 3, low), (left - 3, low)]
            yield f'<polygon class="band {series.tone}" points="{_points(band)}"/>'
        if len(middle) == 1:
            yield f'<circle class="dot {series.tone}" cx="{_n(middle[0][0])}" cy="{_n(middle[0][1])}" r="3"/>'
        else:
            yield f'<polyline class="line {series.tone}" points="{_points(middle)}"/>'


def _stretches(values: Sequence[Value]) -> Iterator[list[Value]]:
    found: list[Value] = []
    for each in values:
        if found and (not drawable([each.value]) or each.group != found[-1].group):
            yield found
            found = []
        if drawable([each.value]):
            found.append(each)
    if found:
        yield found


def _marks(marks: Sequence[Mark], x: _Time) -> Iterator[str]:
    there = [each for each in marks if x.has(each.at)]
    end = math.inf
    for each in [each for each in there if each.kind == "release"][-MOST_MARKS:][::-1]:
        at, words = x(each.at), fit(each.name, 60, FONT)
        yield f'<line class="release" x1="{_n(at)}" x2="{_n(at)}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}"/>'
        if at + width_of(words, FONT) < end:  # else it would lie over the next one's name
            anchor = ' text-anchor="end"' if at + width_of(words, FONT) > WIDTH else ""
            yield f'<text class="release" x="{_n(at + 3 if not anchor else at - 3)}" y="{TOP + 8}"{anchor}>{escape(words)}</text>'
            end = at
    low = HEIGHT - BOTTOM
    for each in [each for each in there if each.kind == "alarm"][-MOST_MARKS:]:
        at = x(each.at)
        shape = _points([(at, low - 11), (at + 6, low), (at - 6, low)])
        yield f'<polygon class="alarm" points="{shape}"><title>{escape(each.name)}</title></polygon>'


def _legend(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    left = float(LEFT)
    for words, tone in entries:
        yield f'<line class="{tone}" x1="{_n(left)}" x2="{_n(left + 18)}" y1="9" y2="9"/>'
        yield f'<text x="{_n(left + 23)}" y="13">{escape(words)}</text>'
        left += 23 + width_of(words, FONT) + 12


def _svg(about: About, parts: Sequence[str]) -> Markup:
    name = f"chart-{next(_ids)}"
    head = Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-t {n}-d">'
        '<title id="{n}-t">{title}</title><desc id="{n}-d">{text}</desc>'
    ).format(w=WIDTH, h=HEIGHT, n=name, title=about.title, text=about.text)
    return head + Markup("".join(parts)) + Markup("</svg>")  # noqa: S704  (numbers, our own words, and what was escaped)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _number(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{value:.4g}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
