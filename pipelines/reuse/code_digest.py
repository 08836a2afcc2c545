"""A digest of our own code, byte by byte: who changes it need not remember a version number.

To read some hundred files takes several times as long as to list them. So the digest is kept, under all that a change of a file
changes: its name, size, times and inode.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from pipelines.repositories.memory import Memory

SETTLED = 2.0
"""Seconds without a change before a digest is kept: times have a grain, and within it a second change would not show."""


def code_digest(packages: Sequence[Path], home: Path) -> str:
    """SHA-256 of names and bytes of all Python files in the folders `packages`; what is known is kept below the folder `home`."""
    files = [each for package in packages for each in _files(str(package))]
    state, newest = [], 0.0
    for path, status in files:
        newest = max(newest, status.st_mtime, status.st_ctime)
        state.append(f"{path} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}")
    memory = Memory(home, __file__)
    if known := memory.recall(*state):
        return known
    digest = hashlib.sha256()
    for path, _ in files:
        with open(path, "rb", buffering=0) as file:
            digest.update(f"{os.path.basename(path)}\0".encode() + file.read())
    if newest < time.time() - SETTLED:
        with suppress(OSError):  # then it is computed again
            home.mkdir(parents=True, exist_ok=True)
        memory.keep(digest.hexdigest(), *state)
    return digest.hexdigest()


def _files(folder: str) -> list[tuple[str, os.stat_result]]:
    """Path and status of each Python file below a folder, in a fixed order: its own files come before those of its folders."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=attrgetter("name"))
    files = [(each.path, each.stat()) for each in entries if each.name.endswith(".py")]
    for each in entries:
        if each.name != "__pycache__" and each.is_dir():
            files += _files(each.path)
    return files
