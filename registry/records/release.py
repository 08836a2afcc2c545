"""Who approved which version, and which one is live."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ReleaseKind = Literal["promotion", "rollback", "revert", "withdrawal"]
"""Why a version became live: with an approval; because a person went back to it; because Trainyard did, when the release
before it could not be deployed (an automatic revert); or, when there was nothing to go back to, why none is live."""

REVERT_OF_OLD = re.compile(r"release [0-9]+ did not go\slive: ")
"""How the reason of an automatic revert began before releases had a kind."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved exactly which manifest, when; append-only per model."""

    number: int
    model: str
    version: int
    card: str
    """SHA-256 of the approved manifest."""
    token: str
    """The id inside the approval token: one token, one release."""
    by: str
    at: str
    previous: str
    """SHA-256 of the record before this one; empty for the first."""


@dataclass(frozen=True, slots=True)
class Release:
    """Says: from now on, this version. The highest number is live."""

    number: int
    model: str
    kind: ReleaseKind
    version: int | None
    """Null: nothing is live any more."""
    card: str
    """SHA-256 of the version's manifest; empty when nothing is live."""
    by: str
    at: str
    reason: str
    approval: int | None
    previous: str

    @staticmethod
    def upgrade(raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a release, with the kind of one that was written before releases had one; see `registry.codec`."""
        return raw if "kind" in raw else {**raw, "kind": kind_of_old(raw)}


def kind_of_old(raw: Mapping[str, Any]) -> ReleaseKind:
    """What a release without a kind was, by its other fields.

    The name alone does not decide: a person, too, can be called `trainyard`.
    """
    if raw.get("version") is None:
        return "withdrawal"
    if raw.get("approval") is not None:
        return "promotion"
    if raw.get("by") == "trainyard" and REVERT_OF_OLD.match(str(raw.get("reason"))):
        return "revert"
    return "rollback"
