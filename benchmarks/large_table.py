"""Validating and splitting a table of 1,000,000 rows and 30 columns in CSV (300 MB): 22 of numbers, seven of categories, the label.

Ours is the worker of *validate* as a whole: a process that reads and checks every field, splits the rows by their content and
writes the three splits. Against a process that reads the same file by `pyarrow.csv.read_csv` and hashes it with SHA-256; both
in turns, with all that they import. The second row is the most memory that our process has had.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench_run import BenchRun
from rows import Row
from table_speed import write_columns

ROWS, QUICK_ROWS, NUMBERS, CATEGORIES = 1_000_000, 20_000, 22, 7
ROUNDS = 3
SETTINGS = 'format = "table"\n[table]\nfile = "large.csv"\ntarget = "kind"\nduplicates = "allow"\n'
THEIRS = "import hashlib, sys; from pyarrow import csv; csv.read_csv(sys.argv[1]); hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256')"


def measure(run: BenchRun) -> list[Row]:
    """Two rows: seconds, and the most memory."""
    folder, rows = run.space("large_table"), QUICK_ROWS if run.quick else ROWS
    dataset = folder / "inputs" / "dataset"
    dataset.mkdir(parents=True)
    (folder / "job.json").write_text('{"schema": 1, "files": false}')
    (dataset / "dataset.toml").write_text(SETTINGS)
    write_columns(dataset / "large.csv", rows, NUMBERS, CATEGORIES)
    ours, theirs, most = [], [], 0
    for _ in range(run.rounds(ROUNDS)):
        seconds, memory = process(["-m", "training.data.prepare"], folder)
        ours.append(seconds)
        most = max(most, memory)
        theirs.append(process(["-c", THEIRS, str(dataset / "large.csv")], folder)[0])
        shutil.rmtree(folder / "outputs")
    called = f"a table of {rows:,} rows and {NUMBERS + CATEGORIES + 1} columns"
    taken = {"ours": ours, "theirs": theirs}
    return [
        Row(f"validate and split {called}", statistics.median(ours), "s",
            "`pyarrow.csv.read_csv` and SHA-256 of the same file", statistics.median(theirs), None, raw=taken),
        Row(f"memory to validate and split {called}", most / 1e9, "GB", "", 0.0, None, rule="value"),
    ]  # fmt: skip


def process(arguments: list[str], folder: Path) -> tuple[float, int]:
    """Seconds, and the most memory in bytes, of a Python process that must succeed."""
    started = time.perf_counter()
    with (folder / "said.txt").open("wb") as said:
        child = subprocess.Popen([sys.executable, "-P", *arguments], cwd=folder, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit((folder / "said.txt").read_text(errors="replace")[-2000:])
    return time.perf_counter() - started, used.ru_maxrss * 1024
