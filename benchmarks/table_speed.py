"""Reading and checking a table of 200,000 rows and 20 columns in CSV: twelve of numbers, seven of categories, and the label.

Ours is what the worker of *validate* does before it splits: every field as the text that it is, the line on which each row
begins, the types of all columns, what is missing, infinite, written in two spellings or no number. Against
`pandas.read_csv` of the same file with its defaults, which most training scripts begin with, and which checks nothing. Each
round is a process of its own, both in turns; what they import, and the first use of it, is not counted.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
from pathlib import Path

from bench_run import BenchRun, done
from rows import Row

ROWS, QUICK_ROWS, NUMBERS, CATEGORIES = 200_000, 20_000, 12, 7
ROUNDS = 5
LIMIT = 12.0
SETTINGS = 'format = "table"\n[table]\nfile = "FILE"\ntarget = "kind"\n'
OURS = """
from pathlib import Path
from training.data.checks import Checks
from training.data.dataset_toml import load_dataset_file
from training.data.table.prepare import read_content
from training.data.table.read import read_rows
def work(folder, name):
    (folder / "dataset.toml").write_text(SETTINGS.replace("FILE", name))
    table, checks = load_dataset_file(folder).source, Checks()
    rows = read_rows(folder, table, checks)
    content = read_content(rows, table, checks)
    assert not checks.failed, checks.failed
    return len(content.labels)
"""
THEIRS = """
import pandas
def work(folder, name):
    return len(pandas.read_csv(folder / name))
"""
TIMED = """
import json, sys, time
from pathlib import Path
SETTINGS = {settings!r}
{code}
folder = Path(sys.argv[1])
work(folder, "small.csv")
started = time.perf_counter()
rows = work(folder, "large.csv")
print(json.dumps([time.perf_counter() - started, rows]))
"""


def measure(run: BenchRun) -> list[Row]:
    """One row: rows per second."""
    folder, rows = run.space("table_speed"), QUICK_ROWS if run.quick else ROWS
    write_table(folder / "large.csv", rows)
    write_table(folder / "small.csv", 100)
    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(run.rounds(ROUNDS)):
        for whose, code in (("ours", OURS), ("theirs", THEIRS)):
            taken[whose].append(seconds(code, folder, rows))
    return [
        Row(f"read and check a table of {rows:,} rows and {NUMBERS + CATEGORIES + 1} columns", statistics.median(taken["ours"]), "s",
            "`pandas.read_csv` of the same file", statistics.median(taken["theirs"]), None if run.quick else LIMIT, raw=taken),
    ]  # fmt: skip


def seconds(code: str, folder: Path, rows: int) -> float:
    """What the large table takes in a process that has read the small one."""
    printed = done([sys.executable, "-P", "-c", TIMED.format(settings=SETTINGS, code=code), str(folder)])
    taken, found = json.loads(printed)
    if found != rows:
        sys.exit(f"{found:,} rows were read, of {rows:,}")
    return float(taken)


def write_table(path: Path, rows: int) -> None:
    """The table of this benchmark, of some rows."""
    write_columns(path, rows, NUMBERS, CATEGORIES)


def write_columns(path: Path, rows: int, of_numbers: int, of_categories: int) -> None:
    """Random numbers with six digits, categories of eight letters, and a label; always the same ones."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(50)]
    names = [*(f"number {i}" for i in range(of_numbers)), *(f"category {i}" for i in range(of_categories)), "kind"]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(names) + "\n")
        for _ in range(rows):
            numbers = [f"{chance.gauss(0, 100):.4f}" for _ in range(of_numbers)]
            file.write(",".join([*numbers, *chance.choices(words, k=of_categories), chance.choice("ab")]) + "\n")
