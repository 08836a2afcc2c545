"""Facts that are kept: each with a tag of what it was made of, so that another tag is another fact. Nothing is kept by a clock.

Records of the registry never change under their name: their name is tag enough. A file or a folder has a tag that changes with
it; one that has changed just now has none, as the clock of a file system has steps in which it may change again unseen.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")
Tag = Hashable
SETTLED = 2_000_000_000
"""Nanoseconds after which a change is not followed by another one with the same time."""
ABSENT = "absent"
NOTHING = (ABSENT,)
"""The tag of one file that is not there."""
MOST = 20_000
"""Facts; a version's has about a kilobyte."""


class Cache:
    """At most so many facts; what was not asked for longest goes first. For several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Tag, Any]] = OrderedDict()

    def get(self, key: Hashable, tag: Tag | None, make: Callable[[], T]) -> T:
        """The fact under `key`, made anew when it was made of something else; never kept with the tag None."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None and tag is not None and known[0] == tag:
                self._kept.move_to_end(key)
                return cast("T", known[1])
        made = make()
        if tag is not None:
            self.put(key, tag, made)
        return made

    def last(self, key: Hashable) -> Any:
        """What is kept under `key`, whatever it was made of; None when nothing is."""
        with self._lock:
            return self._kept.get(key, (None, None))[1]

    def put(self, key: Hashable, tag: Tag, fact: object) -> None:
        """Keep a fact, in place of an older one."""
        with self._lock:
            self._kept[key] = tag, fact
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


def tag_of(*paths: Path | str) -> Tag | None:
    """A tag of files, or of folders with what lies directly in them; None while one may still change unseen."""
    tags: list[Tag] = []
    now = time.time_ns()
    for path in paths:
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            tags.append(ABSENT)
            continue
        changed = max(found.st_mtime_ns, found.st_ctime_ns)
        if now - changed < SETTLED:  # also of a clock that was set back
            return None
        tags.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return tuple(tags)
