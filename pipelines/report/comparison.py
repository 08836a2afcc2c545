"""The candidate against the live release: one row per metric, each on a scale of its own."""

from __future__ import annotations

import math

from pipelines.report.svg import BLUE, GREEN, INK, LINE, ORANGE, RED, SOFT, Drawing, Scale, drawable, fit, width_of
from pipelines.text.metrics import number
from registry.records import Evaluation, Policy
from training.metric_table import row_of

WIDTH, HEAD, ROW = 560, 40, 66
EDGE = 20
"""Left and right of the scales."""
MOST = 12
"""Metrics; there are five or so."""


def draw_comparison(evaluation: Evaluation, policy: Policy | None, names: tuple[str, str]) -> bytes:
    """The SVG file; empty when nothing can be compared. `names` are those of the candidate and of the live release."""
    new, old = evaluation.candidate.values, evaluation.live.values if evaluation.live else {}
    first = policy.measure if policy else ""
    shown = [each for each in sorted(new, key=lambda each: (each != first, row_of(each) is None)) if each in old]
    shown = [each for each in shown if len(drawable([new[each], old[each]])) == 2][:MOST]
    if not shown:
        return b""
    drawing = Drawing(WIDTH, HEAD + ROW * len(shown) + 6, "The candidate against the live release")
    _legend(drawing, names, evaluation)
    for place, metric in enumerate(shown):
        limit = policy.threshold if policy and policy.measure == metric else None
        _row(drawing, HEAD + place * ROW, metric, evaluation, limit)
    return drawing.to_bytes()


def _legend(drawing: Drawing, names: tuple[str, str], evaluation: Evaluation) -> None:
    left, y = float(EDGE), 20
    for name, colour, hollow in ((names[0], BLUE, False), (f"live: {names[1]}", ORANGE, True)):
        drawing.dot((left, y - 4), colour, 5, hollow=hollow)
        words = fit(name, 130, 12)
        drawing.text((left + 12, y), words)
        left += 12 + width_of(words, 12) + 20
    if evaluation.comparison and all(map(math.isfinite, (evaluation.comparison.low, evaluation.comparison.high))):
        _whisker(drawing, left, left + 22, y - 4)
        drawing.text((left + 28, y), "95 % confidence")
        left += 28 + width_of("95 % confidence", 12) + 16
    drawing.line((left, y - 11), (left, y + 3), GREEN, 1.5, "4 3")
    drawing.text((left + 8, y), "threshold")


def _row(drawing: Drawing, top: int, metric: str, evaluation: Evaluation, limit: float | None) -> None:
    assert evaluation.live
    new, old = evaluation.candidate.values[metric], evaluation.live.values[metric]
    row = row_of(metric)
    gain = row.better * (new - old) if row else 0.0
    colour = GREEN if gain > 0 else RED if gain < 0 else SOFT
    values = f"{number(old)} → {number(new)}"
    words = f"{values} ({'better' if gain > 0 else 'worse'})" if gain else values
    drawing.line((EDGE, top), (WIDTH - EDGE, top), "#e4e9ee")
    room = WIDTH - 2 * EDGE - width_of(words, 12) - 16
    less = " (less is better)" if row and row.better < 0 else ""
    drawing.text((EDGE, top + 20), fit(metric.replace("_", " ") + less, room, 13), INK, 13, weight="bold")
    drawing.text((WIDTH - EDGE, top + 20), words, colour, 12, anchor="end")
    ends = _interval(metric, evaluation, old)
    scale = _scale([new, old, *ends, *drawable([] if limit is None else [limit])])
    y = top + 40
    drawing.line((EDGE, y), (WIDTH - EDGE, y), LINE)
    drawing.text((EDGE, y + 17), number(scale.low), size=11)
    drawing.text((WIDTH - EDGE, y + 17), number(scale.high), size=11, anchor="end")
    if limit is not None and drawable([limit]):
        drawing.line((scale(limit), y - 11), (scale(limit), y + 11), GREEN, 1.5, "4 3")
    drawing.line((scale(old), y), (scale(new), y), colour, 4)
    if ends:
        _whisker(drawing, scale(ends[0]), scale(ends[1]), y)
    drawing.dot((scale(old), y), ORANGE, 6.5, hollow=True)
    drawing.dot((scale(new), y), BLUE, 4.5)


def _interval(metric: str, evaluation: Evaluation, old: float) -> list[float]:
    """Where the candidate may really be, as seen from the live release."""
    known = (evaluation.comparison, *evaluation.comparisons)
    found, row = next((each for each in known if each and each.metric == metric), None), row_of(metric)
    if not found or not row:
        return []
    ends = drawable(sorted(old + row.better * each for each in (found.low, found.high)))
    return ends if len(ends) == 2 else []


def _whisker(drawing: Drawing, left: float, right: float, y: float) -> None:
    drawing.line((left, y), (right, y), INK, 1.5)
    for x in (left, right):
        drawing.line((x, y - 5), (x, y + 5), INK, 1.5)


def _scale(values: list[float]) -> Scale:
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 0.5
    return Scale(low - room, high + room, EDGE, WIDTH - EDGE)
