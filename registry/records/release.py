"""Who approved which version, and which one is live."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from registry.dataclass import dataclass
from registry.records.evaluation import Comparison

ApprovalWay = Literal["unknown", "token", "jenkins", "key"]
"""How an approval was given: with the token of a mail, by a login of Jenkins, signed by the approver's own key; unknown in
records of earlier versions of Trainyard."""
ReleaseKind = Literal["promotion", "rollback", "revert", "withdrawal", "demotion"]
"""Why a version became live: with an approval; because a person went back to it; because Trainyard did, when the release
before it could not be deployed (an automatic revert). Or why none is live: there was nothing to go back to (a withdrawal); a
person took the model out of production (a demotion)."""
NOTHING_LIVE = frozenset({"withdrawal", "demotion"})
"""Releases without a version."""

DecisionKind = Literal["approved", "rejected", "changes asked"]
"""What a person has decided about a candidate: it may be released; it is not; not as it is, and the reason says what to change."""

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
    """The id inside the token or the signed text: it approves one release."""
    by: str
    """Who approved, as the caller says, or as the approver has signed."""
    at: str
    previous: str
    """SHA-256 of the record before this one; empty for the first."""
    way: ApprovalWay = "unknown"
    seen: str = ""
    """Who the system saw: `user@machine` of the command's process; a login of Jenkins, and its build; the id of a key."""
    signed: str = ""
    """The text that the approver's key has signed, which anybody can check again."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person has decided about exactly which manifest; append-only per model. A no is final: a new version gets a new
    decision."""

    number: int
    model: str
    version: int
    card: str
    """SHA-256 of the manifest that was decided about."""
    kind: DecisionKind
    by: str
    """Who has signed in: name and address."""
    how: str
    """How that person has signed in: `password`, `proxy`, `oidc`, `mail link`."""
    at: str
    reason: str
    over: int
    """The number of the release beside which it was shown; 0: nothing was live."""
    previous: str
    token: str = ""
    """The id in the approval that an approval here has made."""


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
    also_approved: tuple[int, ...] = ()
    """Further approvals, where more than one was needed."""
    compared: Comparison | None = None
    """Measured at the promotion, when the manifest's own comparison was with another release than the one replaced."""
    failed: tuple[str, ...] = ()
    """What the gate had against it at the promotion."""
    although: str = ""
    """Why a person has released it all the same."""

    @property
    def approvals(self) -> tuple[int, ...]:
        """Every approval that it was made with."""
        return () if self.approval is None else (self.approval, *self.also_approved)

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
