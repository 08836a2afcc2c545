"""What a run of the benchmarks has found, as a table for people, as Markdown for the documentation, as JSON for later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rows import Row

HEAD = ("", "Trainyard", "against", "ratio", "promise", "")
TABLES = {
    "ratio": ("Ratios", "", "Trainyard", "against", "ratio", "promise"),
    "difference": ("Differences", "", "Trainyard", "against", "difference", "promise"),
    "value": ("Fixed values", "", "Trainyard", "promise"),
}
"""What a row promises → the title and the columns of its table in the documentation."""


@dataclass
class Report:
    """Rows with the benchmark that each comes from, and what was not measured."""

    machine: dict[str, object] = field(default_factory=dict)
    rows: list[tuple[str, Row]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Benchmark → why."""
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each benchmark took."""


def table(report: Report) -> str:
    """Aligned columns, and below them what was missed, skipped or failed."""
    where = report.machine
    rows = [HEAD, *(_cells(row) for _, row in report.rows)]
    widths = [max(len(each[i]) for each in rows) for i in range(len(HEAD))]
    place = f"{where.get('cores')} cores, Python {where.get('python')}, commit {where.get('commit')}"
    lines = ["", f"{place}, load {where.get('load')} at the start", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(each, widths, strict=True)).rstrip() for each in rows]
    missed = [row.title for _, row in report.rows if row.kept is False]
    kept = sum(row.kept is True for _, row in report.rows)
    lines += ["", f"{kept} of {kept + len(missed)} promises kept"]
    lines += [f"MISSED: {title}" for title in missed]
    lines += [f"skipped: {name}: {why}" for name, why in report.skipped.items()]
    lines += [f"FAILED: {name}: {why}" for name, why in report.failed.items()]
    return "\n".join(lines)


def markdown(report: Report) -> str:
    """The tables of `docs/reference/benchmarks.md`: one for each kind of promise, without a table that would be empty."""
    return "\n\n".join(
        "\n".join([f"## {title}", "", _line(head), _line(["---"] * len(head)), *lines])
        for rule, (title, *head) in TABLES.items()
        if (lines := [_line(_cells_for(row, rule)) for _, row in report.rows if row.rule == rule])
    )


def _cells_for(row: Row, rule: str) -> list[str]:
    title, ours, against, ratio, promise, sign = _cells(row)
    promised = f"{promise} {sign}".strip()
    if rule == "value":
        return [title, ours, promised]
    change = f"{'+' if row.ours > row.theirs else ''}{figure(row.ours - row.theirs, row.unit)}"
    return [title, ours, against, ratio if rule == "ratio" else change, promised]


def _line(cells: Sequence[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _cells(row: Row) -> tuple[str, ...]:
    against = f"{row.against}, {figure(row.theirs, row.unit)}" if row.against else ""
    ratio = "" if not row.against else f"{row.ratio:.2f}" if row.ratio < 10 else f"{row.ratio:.0f}"
    sign = {True: "kept", False: "MISSED", None: ""}[row.kept]
    return row.title, figure(row.ours, row.unit), against, ratio, row.promise, sign


def figure(value: float, unit: str) -> str:
    """`31 ms`, `11.8 s`, `4,200 requests/s`: three figures are enough."""
    if abs(value) >= 1000:
        text = f"{float(f'{value:.3g}'):,.0f}"
    elif abs(value) >= 100 or value == 0:
        text = f"{value:.0f}"
    else:
        text = f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
    return f"{text} {unit}".strip()


def to_json(report: Report) -> str:
    """Everything, each row with what follows from it."""
    rows = [
        {"benchmark": name, **asdict(row), "ratio": row.ratio, "kept": row.kept, "promise": row.promise}
        for name, row in report.rows
    ]
    return json.dumps({**vars(report), "rows": rows}, indent=1) + "\n"


def from_json(text: str) -> Report:
    """What `to_json` wrote."""
    found: dict[str, Any] = json.loads(text)
    derived = {"benchmark", "ratio", "kept", "promise"}
    found["rows"] = [
        (each["benchmark"], Row(**{key: value for key, value in each.items() if key not in derived}))
        for each in found["rows"]
    ]
    return Report(**found)
