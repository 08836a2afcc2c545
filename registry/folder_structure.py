"""Whether a registry's folder holds nothing but files and folders that only its owner may write, each where it belongs.

What names and records cannot say: links, pipes, hidden files, permissions, and the files that a store keeps for itself.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry.errors import Corrupt
from registry.folder_reads import follow_no_link
from registry.stores import DEEPEST, Structure, is_part, shown

OWN_FILES = re.compile(r"\.store/(objects/([0-9a-f]{2})/\2[0-9a-f]{62}|unfinished/[^/]+)")
OWN_FOLDERS = re.compile(r"\.store(/objects(/[0-9a-f]{2})?|/unfinished)?")
UNFINISHED = ".store/unfinished/"
ABANDONED = 24 * 3600  # seconds without a write after which an unfinished file belongs to nobody
WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def inspect_folders(root: Path, folders: Sequence[str] = ()) -> Structure:
    """Check every file and folder below `root`, or only those in some of its folders; nothing is opened."""
    found = _Inspection(root)
    for folder in folders or ("",):
        try:
            follow_no_link(root, f"{folder}/")
        except FileNotFoundError:
            continue
        except Corrupt as error:
            found.structure.problems.append(str(error))
        else:
            found.descend(folder)
    found.conclude(whole=not folders)
    return found.structure


class _Inspection:
    """One walk, and what was found so far."""

    def __init__(self, root: Path) -> None:
        self.structure = Structure()
        self._root = root
        self._owner = root.stat().st_uid if root.exists() else os.geteuid()
        self._others: Counter[int] = Counter()
        self._shared_folders: list[str] = []
        self._linked: dict[tuple[int, int], tuple[str, os.stat_result]] = {}
        self._links: Counter[tuple[int, int]] = Counter()
        self._now = time.time()

    def descend(self, folder: str) -> None:
        """Check what is in `folder`, a name below the root, and in its folders."""
        waiting = [folder]
        while waiting:
            above = waiting.pop()
            entries = self._entries(above)
            if above and not entries:
                self.structure.empty.append(above)
            # What is first here is walked last: all names of a file that is being written were then seen.
            for entry in sorted(entries, key=lambda each: each.name not in {".store", "unfinished"}):
                name = f"{above}/{entry.name}".removeprefix("/")
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # a writer has finished with it
                    continue
                if self._is_in_order(name, status) and stat.S_ISDIR(status.st_mode):
                    waiting.append(name)

    def conclude(self, *, whole: bool) -> None:
        """Add what only the whole walk shows, in one line for each kind."""
        notes = self.structure.notes
        for user, count in sorted(self._others.items()):
            notes.append(f"{count} files and folders belong to user {user}, the registry to user {self._owner}")
        if self._shared_folders:
            first, count = shown(self._shared_folders[0]), len(self._shared_folders)
            notes.append(f"{first}: its group may add and remove files there, as in {count} folders altogether")
        if whole and (elsewhere := [*self._linked_elsewhere()]):
            first = shown(min(elsewhere))
            notes.append(
                f"{first}: has another name outside of the registry, as have {len(elsewhere)} files altogether"
            )

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            self.structure.problems.append(f"{shown(folder) or self._root}: cannot be read: {error.strerror}")
            return []

    def _is_in_order(self, name: str, status: os.stat_result) -> bool:
        """Whether this is a file, or a folder to descend into; what is wrong with it is reported."""
        mode, is_folder = status.st_mode, stat.S_ISDIR(status.st_mode)
        wrong = _wrong_kind(mode) or _wrong_place(name, is_folder=is_folder)
        if not wrong and name.count("/") >= DEEPEST:
            wrong = f"is nested deeper than {DEEPEST} folders"
        if wrong:
            self._report(name, wrong)
            return False
        if not is_folder and status.st_nlink > 1:
            inode = (status.st_dev, status.st_ino)
            self._links[inode] += 1
            self._linked.setdefault(inode, (name, status))
        if name.startswith(UNFINISHED):
            if status.st_mtime < self._now - ABANDONED:
                self.structure.notes.append(f"{name}: was left by a writer that was killed; the next one removes it")
            return False
        if mode & (stat.S_IWOTH if is_folder else WRITABLE):
            self._report(name, f"others than its owner may write it (mode {stat.S_IMODE(mode):04o})")
        elif is_folder and mode & stat.S_IWGRP:
            self._shared_folders.append(name)
        if status.st_uid != self._owner:
            self._others[status.st_uid] += 1
        return True

    def _linked_elsewhere(self) -> Iterator[str]:
        """Files with more names than the walk has found, unless somebody has linked them meanwhile."""
        for inode, (name, before) in self._linked.items():
            if self._links[inode] < before.st_nlink:
                try:
                    now = os.lstat(self._root / name)
                except FileNotFoundError:
                    continue
                if now.st_ctime_ns == before.st_ctime_ns:
                    yield name

    def _report(self, name: str, what: str) -> None:
        self.structure.problems.append(f"{shown(name)}: {what}")


def _wrong_kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "is a symbolic link"
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "is neither a file nor a folder"


def _wrong_place(name: str, *, is_folder: bool) -> str:
    """What is wrong with a name that no record, version or model can have."""
    if name == ".store" or name.startswith(".store/"):
        return "" if (OWN_FOLDERS if is_folder else OWN_FILES).fullmatch(name) else "does not belong here"
    last = name.rpartition("/")[2]
    if last.startswith("."):
        return "is hidden: does not belong here"
    return "" if is_part(last) else "cannot be a name in the registry"
