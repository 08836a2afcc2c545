"""How the plugin reports to the worker what pytest does: one JSON object per line, so that of a killed run it is known
how far it came.

{"collected": ["test_a.py::test_one", …]}
{"started": "test_a.py::test_one"}
{"name": …, "outcome": …, "seconds": …, "message": …}       a finished test, or a file that cannot be collected
{"finished": 0}                                             pytest's exit code
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from registry.records import TestCase


@dataclass(slots=True)
class TestLog:
    """What is known of one run of pytest."""

    __test__ = False
    collected: list[str] = field(default_factory=list)
    started: str = ""
    cases: dict[str, TestCase] = field(default_factory=dict)
    """Name → case; a file that cannot be collected is an `error`."""
    finished: int | None = None
    """Pytest's exit code; None when it did not come to its end."""


def append(path: Path, event: dict[str, Any]) -> None:
    """Add one event; it is on its way to the file when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def append_case(path: Path, case: TestCase) -> None:
    """Add a finished test."""
    append(path, asdict(case))


def read_log(path: Path) -> TestLog:
    """What the file says; a last line that was cut off is left out. An absent file is an empty log."""
    log = TestLog()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if "collected" in event:
            log.collected += event["collected"]
        elif "started" in event:
            log.started = event["started"]
        elif "finished" in event:
            log.finished = event["finished"]
        else:
            log.cases[event["name"]] = TestCase(**event)
    return log
