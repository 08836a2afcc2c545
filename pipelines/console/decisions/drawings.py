"""The images of a decision, as `data:` addresses: candidate and live release per metric and per slice, and what matters to it."""

from __future__ import annotations

import base64

from pipelines.report.comparison import draw_comparison
from pipelines.report.importance import draw_importance
from pipelines.report.svg import (
    BLUE,
    GREEN,
    GRID,
    INK,
    ORANGE,
    RED,
    SOFT,
    Drawing,
    Scale,
    drawable,
    fit,
    ticks,
    width_of,
)
from pipelines.text.metrics import number
from registry.dataclass import dataclass
from registry.records import Evaluation, Policy, SliceMetrics
from training.metric_table import row_of

WIDTH, HEAD, ROW, FOOT, NAMES, EDGE = 560, 44, 28, 30, 190, 20
MOST = 15


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the page."""

    address: str
    alt: str
    caption: str
    width: int
    height: int


def of(found: Evaluation, policy: Policy, names: tuple[str, str]) -> dict[str, Image]:
    """Those that can be drawn: `metrics`, `slices`, `importance`."""
    drawn = {
        "metrics": (
            draw_comparison(found, policy, names) if found.live else b"",
            f"{names[0]} and {names[1]} as dots, one row per metric; the table beside it has the numbers",
            "Each row has a scale of its own. The thin line is where the new version may really be.",
        ),
        "slices": (
            draw_slices(found.slices, policy.measure, names),
            f"{names[0]} and {names[1]} as dots, one row per group; the table beside it has the numbers",
            "The same groups of samples, answered by both versions.",
        ),
        "importance": (
            draw_importance(found.importance) if found.importance else b"",
            "A bar per input: how much worse the answers get without it",
            "The longer the bar, the more the model relies on it.",
        ),
    }
    return {name: _image(*each) for name, each in drawn.items() if each[0]}


def draw_slices(slices: tuple[SliceMetrics, ...], measure: str, names: tuple[str, str]) -> bytes:
    """Both versions on each slice, with the 95 % interval of the difference; empty when nothing can be drawn."""
    shown = [each for each in slices if len(drawable([each.candidate])) == 1][:MOST]
    values = drawable([each for one in shown for each in (one.candidate, one.live) if each is not None])
    if not shown:
        return b""
    row = row_of(measure)
    better = row.better if row else 1
    room = (max(values) - min(values)) * 0.15 or abs(values[0]) * 0.1 or 0.5
    scale = Scale(min(values) - room, max(values) + room, NAMES + EDGE, WIDTH - 2 * EDGE)
    bottom = HEAD + ROW * len(shown)
    drawing = Drawing(WIDTH, bottom + FOOT, "Groups of samples, one by one")
    _legend(drawing, names)
    for tick in ticks(scale.low, scale.high, 5):
        drawing.line((scale(tick), HEAD - 6), (scale(tick), bottom), GRID)
        drawing.text((scale(tick), bottom + 18), number(tick), size=11, anchor="middle")
    for place, each in enumerate(shown):
        _slice(drawing, scale, HEAD + ROW * place + ROW / 2, each, better)
    return drawing.to_bytes()


def _legend(drawing: Drawing, names: tuple[str, str]) -> None:
    left = float(EDGE)
    for name, colour, hollow in ((names[0], BLUE, False), (names[1], ORANGE, True)):
        drawing.dot((left, 16), colour, 5, hollow=hollow)
        words = fit(name, 180, 12)
        drawing.text((left + 12, 20), words)
        left += 12 + width_of(words, 12) + 22


def _slice(drawing: Drawing, scale: Scale, y: float, each: SliceMetrics, better: float) -> None:
    drawing.text((NAMES + 6, y + 4), fit(each.name, NAMES - EDGE, 12), INK, 12, anchor="end")
    if each.live is not None and drawable([each.live]):
        gain = better * (each.candidate - each.live)
        colour = GREEN if gain > 0 else RED if gain < 0 else SOFT
        drawing.line((scale(each.live), y), (scale(each.candidate), y), colour, 4)
        if each.comparison and (
            ends := drawable([each.live + better * end for end in (each.comparison.low, each.comparison.high)])
        ):
            drawing.line((scale(min(ends)), y), (scale(max(ends)), y), INK, 1.5)
        drawing.dot((scale(each.live), y), ORANGE, 6, hollow=True)
    drawing.dot((scale(each.candidate), y), BLUE, 4.5)


def _image(drawing: bytes, alt: str, caption: str) -> Image:
    width, height = (int(drawing.split(mark, 1)[1].split(b'"', 1)[0]) for mark in (b' width="', b' height="'))
    return Image(f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}", alt, caption, width, height)
