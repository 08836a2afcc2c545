"""The releases that have answered on this machine, newest first: what a worker serves when the newest one fails.

Kept in the API's folder, so that it outlives workers and the server. Light.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from registry.files import write_whole

FILE = "known_good.json"
KEPT = 5


@dataclass(frozen=True, slots=True)
class Live:
    """What a release makes live: a version, by the SHA-256 of its manifest."""

    release: int | None
    """None for a candidate in an acceptance test."""
    version: int
    card: str


class KnownGood:
    """Those of the API in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def all(self) -> list[Live]:
        """The last one that has answered comes first. A file that cannot be read holds none: it only helps."""
        try:
            return [Live(**each) for each in json.loads(self._path.read_bytes())["releases"]]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def add(self, live: Live) -> None:
        """It has answered its warm-up rows in a worker, which serves it from now on."""
        fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # the workers swap at about the same time
            before = self.all()
            after = [live, *(each for each in before if each.card != live.card)][:KEPT]
            if after != before:
                write_whole(
                    self._path, json.dumps({"schema": 1, "releases": [asdict(each) for each in after]}).encode()
                )
        finally:
            os.close(fd)
