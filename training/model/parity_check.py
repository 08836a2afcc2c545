"""Checks a served file in a process without TensorFlow, by the engine that will serve it, while this one does other work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECK_SECONDS = 600


class ParityCheck:
    """The check of one folder with `signature.json`, `served.json`, the file to serve and `parity.npz`.

    `command` is a program that takes the folder and `--tolerance`; `{python}` in it is this Python.
    """

    def __init__(self, folder: Path, command: tuple[str, ...], tolerance: float) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._failure = "" if command else "there is no command to check it with"
        if not command:
            return
        argv = [sys.executable if each == "{python}" else each for each in command]
        argv += [str(folder), "--tolerance", str(tolerance)]
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            self._failure = f"the check could not start: {error}"

    def failure(self) -> str:
        """Waits for the end of the check: why it failed, or nothing when it passed."""
        if self._process is None:
            return self._failure
        with self._process as process:
            try:
                _, text = process.communicate(timeout=CHECK_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                return f"the check took longer than {CHECK_SECONDS} s"
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        return f"the check failed: {last or f'exit code {process.returncode}'}" if process.returncode else ""
