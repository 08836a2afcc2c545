"""Rotation of a log that several processes write: each appends to what the file's name means, and any may move it on.

`api.log` becomes `api.log.1`, that `api.log.2`, and so on. A process that finds another file under the name appends to
that one from then on, with all that its libraries print; until it looks, its lines are in `api.log.1`, so none is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

LOOK_SECONDS = 0.5


class LogFile:
    """The file at `path`, for a process whose stdout and stderr go there; it has `size` bytes at most, and there are `files`."""

    def __init__(self, path: Path, size: int, files: int) -> None:
        self._path, self._size, self._files = path, size, files
        self._ours = [fd for fd in (1, 2) if _same(os.fstat(fd), path)]

    @property
    def is_written(self) -> bool:
        """Whether this process writes it; else its output goes elsewhere, and whoever has it bounds it."""
        return bool(self._ours)

    def start(self) -> None:
        """Follow the file in a thread of its own."""
        if self.is_written:
            threading.Thread(target=self._follow, name="log-file", daemon=True).start()

    def look(self) -> None:
        """Rotate the file when it is full, and append to the new one when there is one."""
        if not self.is_written:
            return
        with contextlib.suppress(OSError):  # a disk that is full or gone: the old file is written on
            mine = os.fstat(self._ours[0])
            if _same(mine, self._path) and (mine.st_size < self._size or not self._rotated(mine)):
                return
            self._reopen()

    def _rotated(self, mine: os.stat_result) -> bool:
        """False: another process does it at this moment, or has done it."""
        fd = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _same(mine, self._path):
                return True
            names = [str(self._path), *(f"{self._path}.{number}" for number in range(1, self._files))]
            for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(newer, older)
            if len(names) == 1:
                self._path.unlink()
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def _reopen(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            for each in self._ours:
                os.dup2(fd, each)
        finally:
            os.close(fd)

    def _follow(self) -> None:
        while True:
            self.look()
            time.sleep(LOOK_SECONDS)


def _same(mine: os.stat_result, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)
