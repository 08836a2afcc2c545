"""Validating and splitting a table of 1,000,000 rows and 30 columns in CSV (300 MB): 22 of numbers, seven of categories, the label.

Ours is the worker of *validate* as a whole: a process that reads and checks every field, splits the rows by their content and
writes the three splits. Against a process that reads the same file by `pyarrow.csv.read_csv` and hashes it with SHA-256; both
in turns, with all that they import. The second row is the CPU time of both, on which other work on the machine has less
influence, the third the most memory that our process has had.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench_run import BenchRun
from rows import Row
from table_speed import write_columns

ROWS, QUICK_ROWS, NUMBERS, CATEGORIES = 1_000_000, 20_000, 22, 7
ROUNDS = 3
LIMIT, MOST_MEMORY = 3.0, 2.0
SETTINGS = 'format = "table"\n[table]\nfile = "large.csv"\ntarget = "kind"\nduplicates = "allow"\n'
THEIRS = "import hashlib, sys; from pyarrow import csv; csv.read_csv(sys.argv[1]); hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256')"


def measure(run: BenchRun) -> list[Row]:
    """Three rows: seconds, seconds of CPU, and the most memory."""
    folder, rows = run.space("large_table"), QUICK_ROWS if run.quick else ROWS
    dataset = folder / "inputs" / "dataset"
    dataset.mkdir(parents=True)
    (folder / "job.json").write_text('{"schema": 1, "files": false}')
    (dataset / "dataset.toml").write_text(SETTINGS)
    write_columns(dataset / "large.csv", rows, NUMBERS, CATEGORIES)
    ours, theirs = list[Used](), list[Used]()
    for _ in range(run.rounds(ROUNDS)):
        ours.append(process(["-m", "training.data.prepare"], folder))
        theirs.append(process(["-c", THEIRS, str(dataset / "large.csv")], folder))
        shutil.rmtree(folder / "outputs")
    called = f"a table of {rows:,} rows and {NUMBERS + CATEGORIES + 1} columns"
    against = "`pyarrow.csv.read_csv` and SHA-256 of the same file"
    (seconds, cpu), (their_seconds, their_cpu) = (
        [statistics.median(getattr(each, what) for each in some) for what in ("seconds", "cpu")]
        for some in (ours, theirs)
    )
    raw: dict[str, object] = {"ours": [each._asdict() for each in ours], "theirs": [each._asdict() for each in theirs]}
    limit, most = (None, None) if run.quick else (LIMIT, MOST_MEMORY)
    memory = max(each.memory for each in ours) / 1e9
    return [
        Row(f"validate and split {called}", seconds, "s", against, their_seconds, limit, raw=raw),
        Row(f"validate and split {called}: CPU", cpu, "s", against, their_cpu),
        Row(f"memory to validate and split {called}", memory, "GB", "", 0.0, most, rule="value"),
    ]


class Used(NamedTuple):
    """What a process took."""

    seconds: float
    cpu: float
    """Seconds, of all its threads."""
    memory: int
    """Bytes, the most that it had."""


def process(arguments: list[str], folder: Path) -> Used:
    """A Python process that must succeed."""
    started = time.perf_counter()
    with (folder / "said.txt").open("wb") as said:
        child = subprocess.Popen([sys.executable, "-P", *arguments], cwd=folder, stdout=said, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit((folder / "said.txt").read_text(errors="replace")[-2000:])
    return Used(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
