"""The monitor's drawings inside of a page: in the page's own colours, light or dark, and with a table of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pipelines.monitor.charts import THEN, draw_column
from pipelines.monitor.timeline import draw_timeline
from pipelines.monitor.trend import Point
from pipelines.report.svg import BLUE, GREEN, GRID, INK, LINE, ORANGE, RED, SOFT
from registry.dataclass import dataclass
from registry.records.monitoring import Check, Histogram

COLOURS = {
    INK: "--ink", SOFT: "--soft", LINE: "--line", GRID: "--line", BLUE: "--link", RED: "--bad", GREEN: "--good", ORANGE: "--warn",
    THEN: "--then", "#8fa3b5": "--then", "#ffffff": "--ground",
}  # fmt: skip
"""Of drawings that lie in a file of their own → the property of the page in their place."""
VALUES = 60
"""Characters of a value's name."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, then and now."""

    column: str
    failed: tuple[str, ...]
    """What of it failed, in words."""
    svg: Markup
    rows: tuple[tuple[str, str, str], ...]
    """Values, share then, share now."""


def inline(drawing: bytes) -> Markup:
    """A drawing as a part of a page. Foreign text in it is escaped, so that no quote of it ends an attribute."""
    text = drawing.decode()
    for colour, name in COLOURS.items():
        text = text.replace(f'="{colour}"', f'="var({name})"')
    return Markup(text.replace("<svg ", '<svg class="drawing" ', 1))  # noqa: S704  (made by `Drawing`, which escapes)


def drawn_column(found: Histogram, failed: Sequence[Check]) -> Column:
    """Of a column in bars."""
    rows = [
        (name, _percent(then), _percent(now))
        for name, then, now in zip(_names(found), found.then, found.now, strict=False)
    ]
    rows.append(("missing", _percent(found.missing_then), _percent(found.missing_now)))
    said = tuple(dict.fromkeys(each.what for each in failed))
    return Column(found.column, said, inline(draw_column(found, failed)), tuple(rows))


def drawn_timeline(points: Sequence[Point], limit: float) -> Markup:
    """Quality and predictions, window by window; empty without one."""
    return inline(draw_timeline(points, limit)) if points else Markup()


def _names(found: Histogram) -> list[str]:
    if found.edges:
        return [f"{low:.4g} to {high:.4g}" for low, high in zip(found.edges, found.edges[1:], strict=False)]
    return [each[:VALUES] or "(empty)" for each in found.values]


def _percent(share: float) -> str:
    return f"{share:.1%}"
