"""Commands that a page starts and does not wait for: processes of their own, which outlive the console."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO, cast

from flask import current_app

from pipelines.config.schema import Config
from pipelines.console.detached import detached
from registry.errors import TryAgain

MOST_LOG = 1 << 20
"""Bytes of a log beyond which it begins anew."""


class Background:
    """What this console has started: one command at a time of each name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def is_running(self, name: str) -> bool:
        """Whether the command of that name has not ended yet."""
        with self._lock:
            return self._is_running(name)

    def start(self, name: str, config: Config, *words: str) -> bool:
        """Run `trainyard WORDS…` with these settings; False when the last one of that name still runs. What it prints goes to
        `<home>/console/logs`. Raises TryAgain when no process can be started."""
        with self._lock:
            if self._is_running(name):
                return False
            command = [sys.executable, "-P", "-m", "pipelines", *words, "--config", config.file]
            try:
                with _log(config, name) as log:
                    self._running[name] = detached(command, log)
            except OSError as error:
                raise TryAgain(f"{words[0]}: cannot be started: {error}", hint="is the disk or memory full?") from None
            return True

    def _is_running(self, name: str) -> bool:
        for each in [key for key, process in self._running.items() if process.poll() is not None]:
            del self._running[each]  # it is reaped with that
        return name in self._running


def background() -> Background:
    """That of the console that answers."""
    return cast("Background", current_app.extensions.setdefault("trainyard.background", Background()))


def _log(config: Config, name: str) -> BinaryIO:
    path = Path(config.home).absolute() / "console" / "logs" / f"{name}.log"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = path.stat().st_size if path.exists() else 0
    return path.open("wb" if there > MOST_LOG else "ab")
