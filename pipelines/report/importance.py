"""What the candidate looks at: one row per input, how much it matters and how sure that is."""

from __future__ import annotations

from pipelines.report.svg import BLUE, GRID, INK, LINE, SOFT, Drawing, Scale, drawable, fit, ticks
from pipelines.text.importance import LOST
from pipelines.text.metrics import number
from registry.records import Importance, InputImportance

WIDTH, HEAD, ROW, FOOT = 560, 34, 26, 30
NAMES, EDGE = 190, 20
"""Pixels: of the names at the left, and of the margins."""
MOST = 15


def draw_importance(found: Importance) -> bytes:
    """The SVG file; empty when nothing can be drawn."""
    shown = [each for each in found.inputs if len(drawable([each.loss, each.low, each.high])) == 3][:MOST]
    if not shown:
        return b""
    height = HEAD + ROW * len(shown) + FOOT
    drawing = Drawing(WIDTH, height, "What the candidate looks at")
    ends = [0.0, *(end for each in shown for end in (each.low, each.loss, each.high))]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.06 or 0.5
    scale = Scale(low - (room if low < 0 else 0), high + room, NAMES + EDGE, WIDTH - 2 * EDGE)
    drawing.text((EDGE, 20), f"{LOST[found.metric]} when shuffled, with 95 % interval", INK, 13, weight="bold")
    bottom = HEAD + ROW * len(shown)
    for tick in ticks(scale.low, scale.high, 6):
        drawing.line((scale(tick), HEAD), (scale(tick), bottom), GRID)
        drawing.text((scale(tick), bottom + 17), number(tick), size=11, anchor="middle")
    drawing.line((scale(0), HEAD), (scale(0), bottom), LINE)
    for place, each in enumerate(shown):
        _row(drawing, scale, HEAD + ROW * place + ROW / 2, each)
    return drawing.to_bytes()


def _row(drawing: Drawing, scale: Scale, y: float, each: InputImportance) -> None:
    sure = each.low > 0
    drawing.text((NAMES + 8, y + 4), fit(each.name, NAMES - EDGE, 12), INK if sure else SOFT, 12, anchor="end")
    drawing.line((scale(0), y), (scale(each.loss), y), BLUE if sure else LINE, 10)
    drawing.line((scale(each.low), y), (scale(each.high), y), INK, 1.5)
    for x in (scale(each.low), scale(each.high)):
        drawing.line((x, y - 4), (x, y + 4), INK, 1.5)
