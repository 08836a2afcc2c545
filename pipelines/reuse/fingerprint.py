"""Whether files were changed: one digest of all names, inodes, sizes, modes and times below a folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


def fingerprint(folder: Path, *, protect: bool = False) -> dict[str, str] | None:
    """What must not have changed: the boot, and all names, inodes, sizes, modes and times of modification below `folder`.

    With `protect` nobody writes to these files by mistake from now on; folders stay writable, so that `rm -r` is enough
    to remove them. None when the folder is gone, wholly or just now in part.
    """
    lines = []
    try:
        for name, status in _walk(folder):
            mode = status.st_mode
            if protect and mode & 0o222 and stat.S_ISREG(mode):  # of a link, what it leads to would change
                mode &= ~0o7222
                os.chmod(f"{folder}/{name}", stat.S_IMODE(mode))
            lines.append(f"{name}\0{status.st_ino} {status.st_size} {status.st_mtime_ns} {mode}\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    boot = BOOT.read_text(encoding="ascii").strip() if BOOT.exists() else ""
    files = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
    return {"boot": boot, "files": files}


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every name below `folder`, folders with a slash at the end, in a fixed order."""
    todo = [""]
    while todo:
        inside = todo.pop()
        with os.scandir(f"{folder}/{inside}") as found:
            entries = sorted(found, key=attrgetter("name"))
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            name = inside + entry.name
            if entry.is_dir(follow_symlinks=False):
                name += "/"
                todo.append(name)
            yield name, status
