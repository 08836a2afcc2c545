"""Which files of a working tree are known to be unchanged, by their size, times and inode, as git's index knows it.

A file that was changed so soon after it was read that its times may be the same is not trusted, and read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registry.errors import ConfigError, TryAgain
from registry.files import write_whole

AT_ONCE = max(2, min(8, os.cpu_count() or 2))
SETTLED = 50_000_000  # nanoseconds: kernels keep times in ticks of some milliseconds
COARSE, WHOLE_SECOND = 2_000_000_000, 1_000_000_000
Known = tuple[int, int, int, int, str]
"""Size, times of modification and of change, inode; SHA-256."""


class StatCache:
    """Path → SHA-256, for files that have not changed since they were read; kept in `file`."""

    def __init__(self, file: Path) -> None:
        self.file, self.changed = file, False
        try:
            raw = json.loads(file.read_bytes())
            self.known: dict[str, Known] = {path: (*row[:4], row[4]) for path, row in raw.items()}
        except (FileNotFoundError, ValueError, AttributeError, LookupError, TypeError):  # it only saves time
            self.known = {}

    def get(self, path: str, status: os.stat_result) -> str:
        """The SHA-256 of the file; empty when it has to be read."""
        known = self.known.get(path)
        if known is None or known[:4] != (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino):
            return ""
        return known[4]

    def read(self, root: Path, found: Mapping[str, os.stat_result]) -> dict[str, str]:
        """The SHA-256 of each file, read where that is needed; raises TryAgain for one that changes meanwhile."""
        digests = {path: self.get(path, status) for path, status in found.items()}
        unread = [path for path, digest in digests.items() if not digest]
        if not unread:
            return digests
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for path, (status, digest) in zip(unread, pool.map(lambda each: _read(root, each), unread), strict=True):
                digests[path] = digest
                self.keep(path, status, digest)
        return digests

    def keep(self, path: str, status: os.stat_result, digest: str) -> None:
        """Remember a file that was just read or written."""
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        settled = SETTLED if status.st_ctime_ns % WHOLE_SECOND else COARSE
        if time.time_ns() - newest > settled:
            self.known[path] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, digest)
            self.changed = True
        elif self.known.pop(path, None):
            self.changed = True

    def forget(self, paths: Sequence[str]) -> None:
        """These files are gone."""
        for path in paths:
            self.changed |= self.known.pop(path, None) is not None

    def save(self) -> None:
        """Keep it for the next command."""
        if self.changed:
            write_whole(self.file, json.dumps(self.known, separators=(",", ":")).encode("ascii"))
            self.changed = False


def _read(root: Path, path: str) -> tuple[os.stat_result, str]:
    try:
        with (root / path).open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        raise TryAgain(f"{path} has just been removed", hint="the same command works once nobody changes it") from None
    except PermissionError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give this user read access") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise TryAgain(f"{path} changed while it was read", hint="the same command works once nobody writes to it")
    return after, digest
