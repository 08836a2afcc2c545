"""What a run is about: the trigger and the three commits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from registry.dataclass import dataclass

Trigger = Literal["code", "dataset", "tests"]


def utc_now() -> str:
    """Now, in UTC, as ISO 8601 with seconds: `2026-11-21T00:47:04Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Sources:
    """The three commits that a run is about. Same sources, same run."""

    code: str
    dataset: str
    tests: str


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of one pipeline = one folder; `id` is a hash of all that went in."""

    id: str
    model: str
    trigger: Trigger
    sources: Sources
    config: str
    """SHA-256 of the settings that can change the outcome."""
    parent: int | None
    """The version that was live when the run was resolved."""
    candidate: int | None
    """The newest candidate at that time."""
    created_at: str
    forced: bool = False
    reason: str = ""
    """Why a person or a schedule started it, in their words."""
    started_by: str = ""
    """Who or what started it; empty: a push to the repository of the trigger."""
    occasion: str = ""
    """What it is the only run for, where that is not a push: a time of the schedule, an alarm."""
