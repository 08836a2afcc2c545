"""How many lines were lost, and when, in the log itself: who reads it sees what it lacks, without asking the API.

`dropped/<day>.jsonl` has lines as `{"at": 1796000000.1, "lines": 12}`, of all server processes. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

DROPPED = "dropped"
NOTE_SECONDS = 10.0
"""Losses of so long are one line: an API that loses all the time writes little."""


class Losses:
    """Of one server process. `count` is called at once with how many lines were lost; they are noted by the log's thread."""

    def __init__(self, folder: Path, count: Callable[[int], None], clock: Callable[[], float]) -> None:
        self._folder, self._count, self._clock = folder, count, clock
        self._waiting, self._next = 0, 0.0
        self._lock = threading.Lock()

    def add(self, lines: int) -> None:
        """By any thread."""
        self._count(lines)
        with self._lock:
            self._waiting += lines

    def note(self, *, now: bool = False) -> None:
        """Write what was lost since the last time; `now`: also soon after it. What cannot be written, as on a full disk, is
        written with what follows."""
        if not self._waiting or (time.monotonic() < self._next and not now):
            return
        with self._lock:
            lines, self._waiting = self._waiting, 0
        try:
            _append(self._folder, self._clock(), lines)
        except OSError:
            with self._lock:
                self._waiting += lines
        self._next = time.monotonic() + NOTE_SECONDS


def _append(folder: Path, at: float, lines: int) -> None:
    path = folder / DROPPED / f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, json.dumps({"at": round(at, 3), "lines": lines}).encode() + b"\n")
    finally:
        os.close(fd)


def dropped_lines(folder: Path, since: datetime, until: datetime) -> int:
    """How many lines the API has noted as lost in [since, until)."""
    noted = (each for path in days_of(folder, since, until) for each in _noted(path))
    return sum(lines for at, lines in noted if since.timestamp() <= at < until.timestamp())


def days_of(folder: Path, since: datetime, until: datetime) -> Iterator[Path]:
    """The files that may have losses of this time: a clock may have been set between a loss and the name of its file."""
    first, last = (f"{each + timedelta(days=more):%Y-%m-%d}" for each, more in ((since, -1), (until, 1)))
    for path in sorted((folder / DROPPED).glob("????-??-??.jsonl")):
        if first <= path.stem <= last:
            yield path


def _noted(path: Path) -> Iterator[tuple[float, int]]:
    """A line that is torn, by a disk that became full, counts as not noted."""
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                facts = json.loads(line)
                yield float(facts["at"]), int(facts["lines"])
