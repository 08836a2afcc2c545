"""What each server process serves: one small JSON file per process.

Any of them can answer for all, and the controller reads the files itself: however many clients the API has, none of them
can keep it from doing so. Light.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from registry.files import write_whole

State = Literal["loading", "ready", "withdrawn", "failed"]
STOPPED = "TtZXx"
"""States of /proc/PID/stat in which a process does nothing."""


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
    """Whether clients connect to it: not while it starts, and in a container not before it has the listening socket."""
    verified: str = ""
    """By what the registry's records are verified, in words."""
    loading: str = ""
    """As `card`, of the version that it is loading at this moment; if it ends now, that one has ended it."""
    cut_off: bool = False
    """Whether it can follow no release any more before the API is started again; `error` says why."""
    created: str = ""
    """When that version was registered, UTC."""
    batching: str = ""
    """Whether requests for that version are batched, and why, in words."""
    not_kept: str = ""
    """Why predictions or labels cannot be kept before the API is started again, in words; empty: they can."""


def write(folder: Path, status: Status) -> None:
    """Write `folder/<pid>.json` whole."""
    write_whole(folder / f"{status.pid}.json", json.dumps(asdict(status)).encode())


def read(folder: Path, pid: int) -> dict[str, Any] | None:
    """What a worker has said last; None: nothing, or it has ended in order."""
    try:
        return dict(json.loads((folder / f"{pid}.json").read_bytes()))
    except FileNotFoundError:
        return None


def remove(folder: Path, pid: int) -> None:
    """Called when the worker ends in order, and when it has ended."""
    (folder / f"{pid}.json").unlink(missing_ok=True)


def read_all(folder: Path) -> list[dict[str, Any]]:
    """The status of every worker that runs, by pid. One that was stopped (SIGSTOP) answers nobody and is not listed."""
    found = []
    for path in sorted(folder.glob("[0-9]*.json")):
        try:
            if _is_running(int(path.stem)):
                found.append(json.loads(path.read_bytes()))
        except FileNotFoundError:  # removed meanwhile
            continue
    return sorted(found, key=lambda each: int(each["pid"]))


def of_all(model: str, expected: int, folder: Path) -> dict[str, Any]:
    """What an operator wants to know: the release that all of them answer with at least, and the status of each.

    `expected`: how many workers there shall be; 0: unknown.
    """
    workers = read_all(folder)
    able = [each for each in workers if each["version"] is not None]
    oldest = min(able, key=lambda each: int(each["release"] or 0), default={})
    served = {name: oldest.get(name, nothing) for name, nothing in (("release", None), ("version", None), ("card", ""))}
    return {"model": model, **served, "expected": expected, "workers": workers}


def _is_running(pid: int) -> bool:
    """Whether there is such a process, and it is neither stopped nor waiting to be reaped. A server process that is fenced
    sees of the others only that they are there."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return _exists(pid)
    return state not in STOPPED


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of a process that has the number of one that has ended
        return False
    return True
