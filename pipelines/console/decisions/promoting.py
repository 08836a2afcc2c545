"""The promotion after a decision: `trainyard promote` in a process of its own, which the console starts and looks at.

    <home>/console/promotions/<model>/<version>/lock          held as long as it runs, whoever is killed
                                               /log           what it says
                                               /outcome.json  how it has ended; not there: it runs, or was killed

The registry is the truth. This only says what it does now, and why it has not worked.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.console.detached import detached
from pipelines.console.paths import without_folders
from pipelines.text.clean import clean
from registry import codec
from registry.dataclass import dataclass
from registry.errors import Corrupt
from registry.files import is_locked, try_lock

LINES, LONGEST, TAIL = 14, 300, 64 * 1024
"""Of the log: lines that are shown, characters of one, and bytes that are read."""
LOOK = 0.2
"""Seconds within which a process that only checks the lock has released it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a promotion has ended."""

    code: int
    """The exit code of `trainyard promote`."""
    at: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of the newest promotion of a version."""

    running: bool
    outcome: Outcome | None = None
    lines: tuple[str, ...] = ()
    """The end of what it has said, without paths of the machine."""

    @property
    def begun(self) -> bool:
        """Whether there was one."""
        return self.running or self.outcome is not None or bool(self.lines)


class Promotion:
    """That of one version; `folder` is its own."""

    def __init__(self, home: Path, model: str, version: int) -> None:
        self.folder = home / "promotions" / model / str(version)

    def progress(self) -> Progress:
        """As it is now."""
        running = is_locked(self.folder / "lock")
        return Progress(running, None if running else self._outcome(), self._lines())

    def start(self, config: Config, version: int, over: int) -> bool:
        """Begin it, unless one runs already: gives whether it was begun. It continues when the console ends."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not try_lock(lock, LOOK):
                return False
            (self.folder / "outcome.json").unlink(missing_ok=True)
            words = ["promote", config.model, str(version), "--approval", "recorded", "--over", str(over)]
            command = [sys.executable, "-P", "-m", "pipelines.console.decisions.carry_out", str(self.folder), str(lock)]
            with (self.folder / "log").open("wb") as log:
                child = detached(
                    [*command, *words, "--config", config.file], log, folder=Path(config.file).parent, lock=lock
                )
        finally:
            os.close(lock)  # the child has it
        threading.Thread(target=child.wait, daemon=True).start()
        return True

    def _outcome(self) -> Outcome | None:
        try:
            return codec.read(Outcome, self.folder / "outcome.json")
        except (FileNotFoundError, Corrupt):
            return None

    def _lines(self) -> tuple[str, ...]:
        try:
            with (self.folder / "log").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
                text = log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ()
        lines = [without_folders(clean(each, LONGEST)) for each in text.splitlines()]
        return tuple(each for each in lines if each)[-LINES:]
