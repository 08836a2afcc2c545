"""Whether the registry can still be followed by an API that runs, or only by one that is started again. Light.

A folder may not be the one any more that was under its path: a fence is about the folder that was there, not about its path: it refuses one that was made anew, although its mode allows
it. A container keeps what was mounted, which has no name any more. And the local copy of a registry in a bucket may have nobody who updates it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from registry.errors import ConfigError

AGAIN = ": start it again"
LOCK = "lock"
"""In the folder of a local copy: held by the process that updates it."""
UNFOLLOWED = "the process has ended that follows the registry for this API"
REPLACED = "the registry's folder was replaced after this API had started, which cannot reach the new one"


class OutOfReach(ConfigError):
    """The registry is."""

    def __init__(self, why: str = REPLACED) -> None:
        """`why`: what an API has said, too."""
        super().__init__(why.removesuffix(AGAIN) + AGAIN)


def folder_of(url: str) -> Path | None:
    """The folder of a registry, if it is in one."""
    return Path(url.removeprefix("file://")) if url.startswith("file://") else None


def is_out_of_reach(folder: Path) -> bool:
    """Whether the folder was removed, or moved away, and made anew. What is not there, or refused by its mode, is not.

    Something else than the fence may refuse it, too: whether it was in reach before, whoever asks has to know.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return os.access(folder, os.R_OK | os.X_OK)
    except OSError:
        return False
    try:
        return os.fstat(fd).st_nlink == 0
    finally:
        os.close(fd)


def is_followed(mirror: Path) -> bool:
    """Whether a process updates the local copy of a registry in `mirror`."""
    try:
        fd = os.open(mirror / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)
