"""Who approved which version, and which one is live."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Approval:
    """Who said yes, to exactly which card, when; append-only per model."""

    number: int
    model: str
    version: int
    card: str
    token: str
    """The id inside the approval token: one token, one release."""
    by: str
    at: str
    previous: str
    """SHA-256 of the record before this one; empty for the first."""


@dataclass(frozen=True, slots=True)
class Release:
    """Says: from now on, this version. The highest number is live; a rollback is a new release."""

    number: int
    model: str
    version: int | None
    """Null: nothing is live any more (the first release failed to go live and was withdrawn)."""
    card: str
    by: str
    at: str
    reason: str
    approval: int | None
    previous: str
