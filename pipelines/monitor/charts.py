"""One chart per column: bars of the holdout in grey, and of the window as a line over them, or as bars beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from pipelines.report.svg import BLUE, GRID, INK, LINE, RED, SOFT, Drawing, Scale, fit, ticks, width_of
from registry.files import sha256_bytes
from registry.records.monitoring import Check, Histogram

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 420, 16, 16, 58, 40
PLOT = 130
"""Height of the bars of numbers; other values have a row of ROW each."""
ROW = 26
NAMES = 130
"""Pixels for the names of values."""
THEN = "#c3ccd5"
MARKS = 5


def file_name(column: str) -> str:
    """Of its chart: another one for each column, whatever it is called."""
    return str(PurePath("columns") / f"{sha256_bytes(column.encode())[:12]}.svg")


def draw_column(found: Histogram, failed: Iterable[Check] = ()) -> bytes:
    """The SVG file."""
    checks = tuple(failed)
    colour = RED if checks else BLUE
    height = TOP + BOTTOM + (PLOT if found.edges else ROW * max(len(found.values), 1))
    drawing = Drawing(WIDTH, height, f"{found.column}, on the holdout and in the window")
    drawing.text((LEFT, 20), fit(found.column, WIDTH - LEFT - RIGHT, 14), INK, 14, weight="bold")
    _legend(drawing, colour, checks)
    if found.edges:
        _numbers(drawing, found, colour)
    elif found.values:
        _values(drawing, found, colour)
    else:
        drawing.text((LEFT, TOP + 18), "no value at all, then and now")
    _missing(drawing, found, height)
    return drawing.to_bytes()


def _legend(drawing: Drawing, colour: str, failed: tuple[Check, ...]) -> None:
    drawing.bar((LEFT, 31), (12, 10), THEN)
    drawing.text((LEFT + 17, 40), "holdout")
    left = LEFT + 17 + width_of("holdout", 12) + 12
    drawing.bar((left, 31), (12, 10), colour)
    drawing.text((left + 17, 40), "this window")
    said = ", ".join(dict.fromkeys(each.what for each in failed))
    if said:
        room = WIDTH - RIGHT - left - 17 - width_of("this window", 12) - 12
        drawing.text((WIDTH - RIGHT, 40), fit(said, room, 12), RED, 12, anchor="end", weight="bold")


def _numbers(drawing: Drawing, found: Histogram, colour: str) -> None:
    bottom = TOP + PLOT
    x = Scale(found.edges[0], found.edges[-1], LEFT, WIDTH - RIGHT)
    y = Scale(0.0, max(*found.then, *found.now, 1e-9) * 1.05, bottom, TOP)
    for low, high, share in zip(found.edges, found.edges[1:], found.then, strict=False):
        drawing.bar((x(low) + 0.5, y(share)), (max(x(high) - x(low) - 1, 1), bottom - y(share)), THEN)
    line = [(x(found.edges[0]), float(bottom))]
    for low, high, share in zip(found.edges, found.edges[1:], found.now, strict=False):
        line += [(x(low), y(share)), (x(high), y(share))]
    line.append((x(found.edges[-1]), float(bottom)))
    drawing.area(line, colour, 0.12)
    drawing.curve(line, colour)
    drawing.line((LEFT, bottom), (WIDTH - RIGHT, bottom), LINE)
    marks = ticks(found.edges[0], found.edges[-1], MARKS)
    for value in marks:
        drawing.line((x(value), bottom), (x(value), bottom + 4), LINE)
        words = f"{value:.4g}"
        half = width_of(words, 11) / 2
        drawing.text(
            (min(max(x(value), LEFT + half), WIDTH - RIGHT - half), bottom + 16), words, SOFT, 11, anchor="middle"
        )


def _values(drawing: Drawing, found: Histogram, colour: str) -> None:
    left, right = LEFT + NAMES, WIDTH - RIGHT - 44
    x = Scale(0.0, max(*found.then, *found.now, 1e-9), left, right)
    bottom = TOP + ROW * len(found.values)
    drawing.line((left, TOP), (left, bottom), GRID)
    for place, (name, then, now) in enumerate(zip(found.values, found.then, found.now, strict=True)):
        top = TOP + place * ROW + 3
        drawing.text((left - 8, top + 14), fit(name or "(empty)", NAMES - 12, 12), INK, 12, anchor="end")
        drawing.bar((left, top), (max(x(then) - left, 0.5), 9), THEN)
        drawing.bar((left, top + 10), (max(x(now) - left, 0.5), 9), colour)
        drawing.text((max(x(then), x(now)) + 6, top + 14), f"{now:.1%}", SOFT, 11)


def _missing(drawing: Drawing, found: Histogram, height: int) -> None:
    said = f"missing: {found.missing_then:.1%} then, {found.missing_now:.1%} now; {found.rows:,} rows"
    risen = found.missing_now > found.missing_then + 0.02
    drawing.text((LEFT, height - 8), said, RED if risen else SOFT, 11)
