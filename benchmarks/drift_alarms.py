"""How often the checks of a window raise an alarm: where nothing has changed, and where one of twenty columns has shifted.

References of 5,000 rows and windows of 50 to 5,000 are drawn from normal distributions, 20 columns each, one of them
shifted by 0, ¼ or ½ of a standard deviation. Ours are retraining.monitoring.drift with its defaults, of a reference in sketches
as the registry keeps it. Against (--neighbours, in environments of their own) the rules that Evidently's preset and NannyML's
univariate calculator have by default, from their own packages, on the first of the same windows; fewer, as a window costs
Evidently two seconds of CPU, and ours a few milliseconds.

False alarms a month: 2,880 windows of 15 minutes against one reference, which stays the same, so what is by chance odd about it is
odd in every window. An alarm is a cause (a column and a check) that fails in two windows in a row, as in
retraining.monitoring.alarms. Expected are, per reference, 2,879 × Σ pᵢ² over its causes; each pᵢ is taken from MONTHLY windows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_run import BenchRun
from rows import Row, Skipped

from retraining.monitoring.drift import Limits, check_columns
from retraining.monitoring.sketches import numbers

COLUMNS, REFERENCE = 20, 5000
SIZES = (50, 100, 200, 500, 1000, 5000)
CELLS = (*((size, 0.0) for size in SIZES), (200, 0.25), (500, 0.25), (1000, 0.25), (500, 0.5))
"""Rows of a window, and the shift in standard deviations."""
PROMISED = {0.0: 5.0, (500, 0.25): 75.0, (500, 0.5): 99.0}
"""At most so many percent of windows without a shift; at least so many of those with one."""
REFERENCES, WINDOWS = 40, 25
"""Ours sees as many windows as their product in each cell."""
OF_NANNYML, OF_EVIDENTLY = 4, 10
"""References of which NannyML sees all windows; windows of the first reference that Evidently sees."""
MONTHLY, MONTH = 600, 2880
"""Windows of which the chance of each cause is taken; windows in 30 days."""
HERE = Path(__file__).resolve().parent
LIMITS = Limits()


@dataclass(frozen=True)
class Share:
    """Of the windows of a cell, how many raise an alarm."""

    alarms: int
    windows: int

    @property
    def percent(self) -> float:
        """NaN without windows."""
        return 100 * self.alarms / self.windows if self.windows else float("nan")


def measure(run: BenchRun) -> list[Row]:
    """A row per cell against each of the two, and the month."""
    references, windows = (2, 10) if run.quick else (REFERENCES, WINDOWS)
    ours = {cell: of_ours(cell, references, windows) for cell in CELLS}
    folder = run.space("drift_alarms")
    write(folder, 1 if run.quick else OF_NANNYML, windows)
    theirs = {
        "Evidently 0.7.23, any column": _neighbour(run, "evidently", folder, "any"),
        "Evidently 0.7.23, the data set": _neighbour(run, "evidently", folder, "dataset"),
        "NannyML 0.13.1, any column": _neighbour(run, "nannyml", folder, "any"),
    }
    run.say(table(ours, theirs))
    rows = [_row(cell, share, theirs, quick=run.quick) for cell, share in ours.items()]
    for size in (200, 500, 5000):
        found = a_month(size, 1 if run.quick else 8, 60 if run.quick else MONTHLY)
        title = f"false alarms in a month of windows of {size:,} rows every 15 minutes"
        rows.append(
            Row(title, float(np.mean(found)), "", "", 0.0, None if run.quick else 1.0, raw={"references": found}, rule="value")
        )  # fmt: skip
    return rows


def cell_rows(cell: tuple[int, float], reference: int, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one reference, shape (5000, 20), and of windows of it, shape (windows, size, 20): always the same."""
    size, shift = cell
    random = np.random.default_rng([reference, size, int(100 * shift)])
    then = np.random.default_rng(reference).normal(size=(REFERENCE, COLUMNS)).astype(np.float32)
    now = random.normal(size=(windows, size, COLUMNS)).astype(np.float32)
    now[:, :, 0] += np.float32(shift)
    return then, now


def of_ours(cell: tuple[int, float], references: int, windows: int) -> Share:
    """How many windows have a check that failed."""
    alarms = 0
    for reference in range(references):
        then, now = cell_rows(cell, reference, windows)
        sketches = {f"c{place}": numbers(then[:, place]) for place in range(COLUMNS)}
        alarms += sum(bool(failed(sketches, window)) for window in now)
    return Share(alarms, references * windows)


def failed(sketches: dict[str, object], window: np.ndarray) -> set[str]:
    """The causes that a window fails for."""
    columns = {f"c{place}": window[:, place].astype(np.float64) for place in range(window.shape[1])}
    return {f"{each.column}: {each.what}" for each in check_columns(sketches, columns, LIMITS) if each.failed}


def a_month(size: int, references: int, windows: int) -> list[float]:
    """Expected false alarms in a month, for each of so many references."""
    found = []
    for reference in range(references):
        then, now = cell_rows((size, 0.0), 1000 + reference, windows)
        sketches = {f"c{place}": numbers(then[:, place]) for place in range(COLUMNS)}
        often = Counter(cause for window in now for cause in failed(sketches, window))
        pairs = sum(count * (count - 1) / (windows * (windows - 1)) for count in often.values())  # p² without bias
        found.append((MONTH - 1) * pairs)
    return found


def write(folder: Path, references: int, windows: int) -> None:
    """The rows of each cell and reference as an archive, for the neighbours."""
    for size, shift in CELLS:
        for reference in range(references):
            then, now = cell_rows((size, shift), reference, windows)
            np.savez(folder / f"{size}_{shift}_{reference}.npz", reference=then, windows=now)


def table(ours: dict[tuple[int, float], Share], theirs: dict[str, dict[tuple[int, float], Share]]) -> str:
    """Markdown."""
    names = ["Trainyard", *theirs]
    lines = [f"| rows of the window | shift | {' | '.join(names)} |", "| --- " * (2 + len(names)) + "|"]
    for cell in ours:
        shares = [each.get(cell, Share(0, 0)) for each in (ours, *theirs.values())]
        said = " | ".join(f"{each.percent:.3g} %" if each.windows else "" for each in shares)
        lines.append(f"| {cell[0]:,} | {cell[1]:g} | {said} |")
    return "\n".join(lines)


def _row(
    cell: tuple[int, float], share: Share, theirs: dict[str, dict[tuple[int, float], Share]], *, quick: bool
) -> Row:
    size, shift = cell
    what = f"1 of {COLUMNS} columns shifted by {shift:g} sd" if shift else "nothing changed"
    known = {name: each[cell].percent for name, each in theirs.items() if cell in each}
    against = next(iter(known), "")
    limit = PROMISED[0.0] if not shift else PROMISED.get(cell)
    return Row(
        f"windows of {size:,} rows with an alarm, {what}",
        share.percent,
        "%",
        against,
        known.get(against, 0.0),
        None if quick else limit,
        better="more" if shift else "less",
        raw={"windows": share.windows} | known,
        rule="value",
    )


def _neighbour(run: BenchRun, name: str, folder: Path, rule: str) -> dict[tuple[int, float], Share]:
    """Cell → its share of windows; empty without --neighbours."""
    answers = folder / f"{name}.json"
    if not answers.exists():
        try:
            python = run.neighbour(name)
        except Skipped as skipped:
            run.say(str(skipped))
            return {}
        from neighbours import quiet

        most = 2 if run.quick else OF_EVIDENTLY if name == "evidently" else WINDOWS
        command = [str(python), str(HERE / "monitors" / f"{name}_drift.py"), str(folder), str(most)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet())
        if done.returncode:
            sys.exit(f"{name}: {done.stderr[-500:]}")
        answers.write_text(done.stdout.splitlines()[-1], encoding="utf-8")
    return dict(_shares(json.loads(answers.read_text(encoding="utf-8")), rule))


def _shares(answers: dict[str, dict[str, int]], rule: str) -> Iterator[tuple[tuple[int, float], Share]]:
    for size, shift in CELLS:
        parts = [each for stem, each in answers.items() if stem.startswith(f"{size}_{shift}_")]
        if parts:
            yield (size, shift), Share(sum(each[rule] for each in parts), sum(each["rows"] for each in parts))
