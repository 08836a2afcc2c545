"""How far a worker is, for its controller and for a person."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from serving.batch.block import Source
from serving.batch.job import PartRecord
from training.worker.protocol import report_event

EVERY = 1.0
"""Seconds between two reports."""


class Counted(Protocol):
    """A file that is worked on."""

    source: Source

    def rows_to_do(self) -> int | None:
        """The rows of wanted parts, where that is known."""


class Progress:
    """Reports how far the worker is, with rate and time left. Rows of parts that were there already cost no time."""

    def __init__(self, files: Sequence[Counted]) -> None:
        self._files = files
        self._began = self._spoke = time.monotonic()
        self.predicted = self._rejected = self._rows = 0

    @property
    def seconds(self) -> float:
        """Since the first row was read."""
        return round(time.monotonic() - self._began, 3)

    def add(self, rows: int, predicted: int, rejected: int) -> None:
        """A block is written."""
        self._rows += rows
        self.predicted += predicted
        self._rejected += rejected
        if time.monotonic() - self._spoke >= EVERY:
            self._spoke = time.monotonic()
            self.report()

    def part(self, record: PartRecord) -> None:
        """A part is complete."""
        report_event("part", id=record.id)

    def report(self) -> None:
        """One event."""
        rate = self._rows / max(1e-3, self.seconds)
        total = self._total()
        left = max(0.0, total - self._rows) / max(1.0, rate)
        what = f"rows, {rate:,.0f} rows/s, about {left_text(left)} left"
        report_event("progress", done=self._rows, of=max(total, self._rows), what=what, rejected=self._rejected)

    def _total(self) -> int:
        """Rows to be predicted in all: counted, or by how much of the files was read for those so far."""
        counts = [each.rows_to_do() for each in self._files]
        if None not in counts:
            return sum(each or 0 for each in counts)
        far = sum(each.source.far() for each in self._files) / max(1, len(self._files))
        return int(self._rows / far) if far > 0 else self._rows


def left_text(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
