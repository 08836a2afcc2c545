"""What each server process serves: one small JSON file per process, so that any of them can answer for all.

Light: the controller may import it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from registry.files import write_whole

State = Literal["loading", "ready", "withdrawn", "failed"]


@dataclass(frozen=True, slots=True)
class Status:
    """One worker. `release`, `version` and `card` are what it answers with now; null: nothing."""

    pid: int
    state: State
    wanted: int
    """The newest release that it has seen; `loading` and `failed` are about this one."""
    release: int | None = None
    version: int | None = None
    card: str = ""
    """SHA-256 of the version's manifest."""
    error: str = ""
    taking: bool = True
    """Whether clients connect to it; in a container not before it has the listening socket."""


def write(folder: Path, status: Status) -> None:
    """Write `folder/<pid>.json` whole."""
    write_whole(folder / f"{status.pid}.json", json.dumps(asdict(status)).encode())


def remove(folder: Path, pid: int) -> None:
    """Called when the worker has ended."""
    (folder / f"{pid}.json").unlink(missing_ok=True)


def read_all(folder: Path) -> list[dict[str, Any]]:
    """The status of every running worker, by pid; files of ended ones are removed."""
    found = []
    for path in sorted(folder.glob("[0-9]*.json")):
        try:
            if _is_running(int(path.stem)):
                found.append(json.loads(path.read_bytes()))
            else:
                path.unlink(missing_ok=True)
        except FileNotFoundError:  # removed meanwhile
            continue
    return sorted(found, key=lambda each: int(each["pid"]))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number now belongs to another user's process
        return False
    return True
