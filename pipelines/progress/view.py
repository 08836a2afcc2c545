"""The views of a running pipeline: what they have in common, and which of them a stream gets.

No view can stop the work: when its reader has gone (the client of `git push`, the terminal), it continues silently.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Protocol, TextIO

from pipelines.progress.lines import HEARTBEAT, PlainProgress
from pipelines.progress.stream import PatientStream


class Progress(Protocol):
    """What the steps report to. Every method may be called from any thread.

    Texts may be foreign: each is shown on one line, without control characters."""

    def start(self, title: str, steps: Sequence[str]) -> None:
        """A run begins that has these steps."""

    def step(self, name: str) -> None:
        """A step begins."""

    def line(self, text: str) -> None:
        """A worker's line: log, or an event (see `training.worker.protocol`)."""

    def done(self, name: str, outcome: str, seconds: float) -> None:
        """A step has ended: `done`, `rejected`, `failed`, or any other word, e.g. `done before`."""

    def note(self, text: str) -> None:
        """A message for a person: what happens, and why."""

    def stop(self) -> None:
        """The run has ended. The terminal is as it was, no thread is left; `start` may follow again."""


def open_progress(stream: TextIO | None = None, *, live: bool | None = None, heartbeat: float = HEARTBEAT) -> Progress:
    """The live view when `stream` (stderr) is a terminal that can draw, else plain lines; `live` decides otherwise."""
    patient = PatientStream(sys.stderr if stream is None else stream)
    if live is None:
        live = patient.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}
    if live:
        from pipelines.progress.live import LiveProgress  # rich costs 0.1 s

        return LiveProgress(patient)
    return PlainProgress(patient, heartbeat)
