"""Which versions have their bytes elsewhere."""

from __future__ import annotations

from typing import Literal

from registry.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Archiving:
    """The files of a version were moved out of the registry, or came back. Links of `production/<model>/archive`."""

    number: int
    model: str
    kind: Literal["archived", "restored"]
    version: int
    card: str
    """SHA-256 of the version's manifest."""
    url: str
    """Where the files are, or came from: a store, in which they have the names that they have in the registry."""
    files: dict[str, str]
    """Name → SHA-256 of what was moved; the rest of the version stays."""
    by: str
    at: str
    reason: str
    previous: str
