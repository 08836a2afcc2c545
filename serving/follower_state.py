"""What the process says that follows a registry in a bucket for an API: `state.json`, beside the local copy. Light."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from registry.files import write_whole

STATE = "state.json"


@dataclass(frozen=True, slots=True)
class FollowerState:
    """What came of the last update of the copy."""

    release: int
    """The newest one of the copy; 0: there is none."""
    since: str
    """When this state began."""
    error: str = ""
    """Why the registry could not be read; empty: it was."""


def read_state(mirror: Path) -> FollowerState | None:
    """The last state of the copy in `mirror`; None: there was none yet."""
    try:
        return FollowerState(**json.loads((mirror / STATE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_state(mirror: Path, state: FollowerState) -> None:
    """Say it; raises OSError."""
    write_whole(mirror / STATE, json.dumps(asdict(state)).encode())
