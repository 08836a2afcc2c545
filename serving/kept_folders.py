"""The folders beside its own that an API writes, and whether they still are those under their paths. Light.

A fence, and the mount of a container, are about the folder that was there at the start: one that is put in its place is out of
reach, and what was moved away is written on, where nobody reads it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from serving.job import ServeJob
from serving.reach import is_out_of_reach

log = logging.getLogger(__name__)


def kept_folders(job: ServeJob) -> dict[str, Path]:
    """What is kept → where, as this process sees it."""
    folders = {"the prediction log": Path(job.prediction_log.folder)} if job.prediction_log else {}
    return folders | ({"the labels": Path(job.labels).parent} if job.prediction_log and job.labels else {})


def identity(job: ServeJob) -> str:
    """Another one when one of the folders was replaced: their inodes; empty: nothing is kept."""
    return " ".join(str(_inode(each)) for each in kept_folders(job).values())


def in_words(names: list[str]) -> str:
    """For people: what was replaced."""
    which = f"the folder of {names[0]} was" if len(names) == 1 else f"the folders of {' and '.join(names)} were"
    return f"{which} removed or replaced after this API had started, which cannot reach a new one"


class KeptFolders:
    """Those that were in reach when the API started: what was not has another cause."""

    def __init__(self, job: ServeJob) -> None:
        self._folders = {name: folder for name, folder in kept_folders(job).items() if not _is_lost(folder)}
        self._reported = ""

    def lost(self) -> str:
        """Which of them only an API that is started again can write, in words; empty: none."""
        names = [name for name, folder in self._folders.items() if _is_lost(folder)]
        found = in_words(names) if names else ""
        if found != self._reported:
            self._reported = found
            if found:
                log.error("%s; a process is started again when one is there, a container by its next update", found)
        return found


class HeldFolders:
    """Those of an API, and whether they still are those that were under their paths. They are held open: the number of one that was removed is not
    that of its successor."""

    def __init__(self, job: ServeJob) -> None:
        self._held: list[tuple[str, Path, int]] = []
        for name, folder in kept_folders(job).items():
            try:
                fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:  # it could not be made: whoever makes it later replaces nothing
                continue
            self._held.append((name, folder, fd))

    def replaced(self) -> list[str]:
        """Those in whose place there is another one; none before all of those are there."""
        found = []
        for name, folder, fd in self._held:
            try:
                now = os.stat(folder)
            except OSError:
                return []
            if not os.path.samestat(now, os.fstat(fd)):
                found.append(name)
        return found

    def close(self) -> None:
        """Hold them no longer."""
        for _, _, fd in self._held:
            os.close(fd)
        self._held = []


def _is_lost(folder: Path) -> bool:
    return is_out_of_reach(folder) or not (folder.exists() or os.access(folder.parent, os.W_OK))


def _inode(folder: Path) -> int:
    """0: it is not there."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0
