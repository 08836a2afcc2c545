"""Whether a folder that this process was given when it started is still the one under its path. Light.

A fence is about the folder that was there, not about its path: it refuses one that was made anew, although its mode allows
it. A container keeps what was mounted, which has no name any more. Only a new start helps.
"""

from __future__ import annotations

import os
from pathlib import Path

from registry.errors import ConfigError

REPLACED = "the registry's folder was replaced after this API had started, which cannot reach the new one"


class OutOfReach(ConfigError):
    """The registry is."""

    def __init__(self) -> None:
        super().__init__(f"{REPLACED}: start it again")


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
