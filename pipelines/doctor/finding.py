"""What a check of `trainyard doctor` returns, and what the checks share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from registry.dataclass import dataclass

State = Literal["ok", "warn", "fail"]
GIB = 1 << 30
LITTLE, TOO_LITTLE = 5 * GIB, 1 * GIB  # free disk space
PATIENCE = 8.0  # seconds for one response over the network


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what to do next when that is a problem."""

    state: State
    what: str
    next: str = ""
    temporary: bool = False
    """It may be gone when the same is tried again, without anybody's doing."""


Check = Callable[[], Finding]


def disk_space(free: int, folder: Path, next_action: str) -> Finding:
    """Whether `free` bytes are enough on the disk of `folder`."""
    what = f"{free / GIB:.1f} GiB free at {folder}"
    if free < TOO_LITTLE:
        return Finding("fail", what, next_action)
    return Finding("warn", f"only {what}", next_action) if free < LITTLE else Finding("ok", what)


def existing(path: Path) -> Path:
    """The path, or the nearest parent that exists: where it would be created."""
    return next(each for each in (path, *path.parents) if each.exists())
