"""Can the user of a container read what only root may have here?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path


def all_can_read(paths: Iterable[Path], user: tuple[int, int]) -> bool:
    """Whether `user`, as of `limits.user`, can read all below `paths`.

    Not looked up for this process's own user, who has read them already, with all further groups. 0 is that user in a
    rootless engine, where further groups mean nothing.
    """
    if user[0] and user[0] == os.geteuid():
        return True
    who = user if user[0] else (os.geteuid(), os.getegid())
    return all(_can_read(path, who) for path in paths)


def _can_read(path: Path, user: tuple[int, int]) -> bool:
    todo, facts = [str(path)], path.stat()
    if not _may(facts, user):
        return False
    if not stat.S_ISDIR(facts.st_mode):
        return True
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                if not _may(entry.stat(follow_symlinks=False), user):
                    return False
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
    return True


def _may(facts: os.stat_result, user: tuple[int, int]) -> bool:
    bits = 0o5 if stat.S_ISDIR(facts.st_mode) else 0o4
    mine = 6 if facts.st_uid == user[0] else 3 if facts.st_gid == user[1] else 0
    return facts.st_mode >> mine & bits == bits
