"""The names of tokens as a label: the first few that ask get a place of their own, in memory that all workers share.

A name keeps its place while the server runs, also when its tokens are revoked: else its counts would go to another one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import weakref

from serving.metrics.layout import CALLERS, NAMED_CALLERS

SIZE = 64
"""Bytes of a name at most: those of serving.access.tokens are ASCII."""
NOBODY, OTHER = 0, CALLERS - 1


class CallerNames:
    """Made in gunicorn's master, before workers are forked."""

    def __init__(self) -> None:
        self._file = os.memfd_create("trainyard-callers", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, NAMED_CALLERS * SIZE)
        self._memory = mmap.mmap(self._file, NAMED_CALLERS * SIZE)
        self._known = {"": NOBODY}
        self._full = False
        self._lock = threading.Lock()

    def index(self, name: str) -> int:
        """The place of a token's name; empty: there was none."""
        found = self._known.get(name)
        if found is None:
            found = OTHER if self._full else self._claim(name)
        return found

    def labels(self) -> list[str]:
        """By place; those without a name yet are empty, as the first one."""
        return ["", *self._names(), "other"]

    def _names(self) -> list[str]:
        found = (self._memory[start : start + SIZE] for start in range(0, NAMED_CALLERS * SIZE, SIZE))
        return [each.rstrip(b"\0").decode("utf-8", "replace") for each in found]

    def _claim(self, name: str) -> int:
        # The kernel's lock is one of processes, and ends with one that is killed; threads need another.
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                names = self._names()
                if name not in names and "" in names:
                    start = names.index("") * SIZE
                    self._memory[start : start + SIZE] = name.encode()[:SIZE].ljust(SIZE, b"\0")
                    names = self._names()
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)
            for place, each in enumerate(names, start=1):
                if each:
                    self._known[each] = place
            self._full = "" not in names
            return self._known.get(name, OTHER)
