"""`plot.py build/bench.json`: how far each promise is from being broken, as PNG and SVG beside the file.

One bar per promise: the measured number as a share of what was promised. The line is the promise; a bar that crosses it
is a promise that is missed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report import Report, figure, from_json
from rows import Row

INK, SOFT, LINE, KEPT, MISSED = "#1f2933", "#616e7c", "#d9e0e6", "#2f6fb0", "#c8553d"
MOST = 1.6
"""Bars end here, however far the promise is missed."""


def share(row: Row) -> float:
    """Which part of the promise is used up: 0 nothing, 1 all of it, more: missed."""
    assert row.limit is not None
    if not row.limit:  # nothing at all is promised
        return 0.0 if row.kept else float("inf")
    if row.better == "less":
        return max(0.0, row.promised_number / row.limit)
    return row.limit / row.promised_number if row.promised_number > 0 else float("inf")


def words(row: Row) -> str:
    """E.g. `1.46 × (≤ 1.6 ×)`."""
    number = f"{row.promised_number:.2f} ×" if row.rule == "ratio" else figure(row.promised_number, row.unit)
    return f"{number}  ({row.promise})"


def draw(report: Report) -> Figure:
    """All rows that promise something, in the order of the table."""
    rows = [row for _, row in report.rows if row.kept is not None]
    chart = Figure(figsize=(9.5, 1.3 + 0.34 * len(rows)), dpi=120, layout="constrained")
    FigureCanvasAgg(chart)
    axes = chart.subplots()
    for place, row in enumerate(rows):
        used = share(row)
        axes.barh(place, min(used, MOST), height=0.62, color=KEPT if row.kept else MISSED)
        inside = used > 1.0
        axes.text(
            min(used, MOST) + (-0.015 if inside else 0.015), place, words(row), va="center",
            ha="right" if inside else "left", fontsize=8, color="white" if inside else INK,
        )  # fmt: skip
    axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
    axes.set_yticks(range(len(rows)), [_short(row) for row in rows], fontsize=8.5, color=INK)
    axes.set(
        xlim=(0, MOST), ylim=(len(rows) - 0.4, -0.6), xticks=[0, 0.5, 1], xticklabels=["0", "half of it", "promise"]
    )
    axes.tick_params(length=0, labelcolor=SOFT, labelsize=8.5)
    for label in axes.get_yticklabels():
        label.set_color(INK)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_color(LINE)
        axes.spines[side].set_visible(side == "left")
    where = report.machine
    axes.set_title(
        f"What was measured, as a share of what is promised  ({where.get('cores')} cores, commit {where.get('commit')})",
        fontsize=10, color=INK, loc="left",
    )  # fmt: skip
    return chart


def _short(row: Row) -> str:
    return row.title if len(row.title) <= 58 else row.title[:57] + "…"


def main() -> None:
    """Draw one file."""
    source = Path(sys.argv[1])
    mpl.rcParams["svg.hashsalt"] = "trainyard"  # the same numbers, the same file
    chart = draw(from_json(source.read_text(encoding="utf-8")))
    chart.savefig(source.with_suffix(".png"), facecolor="white")
    chart.savefig(source.with_suffix(".svg"), facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
