"""Whether the registry that this process was given when it started is still the one under its path."""

from __future__ import annotations

import os
from pathlib import Path

from registry.errors import ConfigError

REPLACED = "the registry's folder was replaced after this API had started, which cannot reach the new one"


class OutOfReach(ConfigError):
    """Only a new start of the API helps."""

    def __init__(self) -> None:
        super().__init__(f"{REPLACED}: start it again")


def check_reach(folder: Path) -> None:
    """Raise OutOfReach for a folder that was removed, or moved away, and made anew.

    A fence is about the folder that was there, not about its path: it refuses the new one, whose mode allows it. A container
    keeps what was mounted, which has no name any more.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        if os.access(folder, os.R_OK | os.X_OK):
            raise OutOfReach from None
        return
    except OSError:  # whoever reads it reports that
        return
    try:
        if os.fstat(fd).st_nlink == 0:
            raise OutOfReach
    finally:
        os.close(fd)
