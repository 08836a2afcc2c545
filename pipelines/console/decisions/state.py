"""What can be decided about a candidate now, by whom, and what prevents it: pure rules over what the registry says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pipelines.approvals.policy import decide, login_on_console, seen_on_console, still_asked, who, why_not
from pipelines.config.schema import ApprovalPolicy
from registry.dataclass import dataclass
from registry.records import Acceptance, Approval, Decided, Release

Kind = Literal[
    "waiting", "more needed", "approved", "promoting", "live", "was live", "refused", "not tested", "failed tests"
]
DECIDABLE: frozenset[Kind] = frozenset({"waiting", "more needed"})
REFUSABLE: frozenset[Kind] = DECIDABLE | {"approved", "not tested", "failed tests"}
"""What was approved and could not be made live can still be refused; while it is being made live it cannot."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What the registry, and the promotion that may run, say of one candidate."""

    model: str
    version: int
    card: str
    authors: tuple[str, ...] | None
    tests: tuple[Acceptance, ...]
    """The acceptance tests of just this manifest, the oldest first."""
    decided: tuple[Decided, ...]
    approvals: tuple[Approval, ...]
    """Those that are not used up, the oldest first."""
    releases: tuple[Release, ...]
    """All of the model, the oldest first."""
    served: bool = False
    """Whether a promotion of it has served."""
    running: bool = False
    """Whether a promotion of it runs."""

    @property
    def over(self) -> int:
        """The number of the newest release; 0: there is none."""
        return self.releases[-1].number if self.releases else 0

    @property
    def is_live(self) -> bool:
        """Whether just this manifest is live."""
        return bool(self.releases) and (self.releases[-1].version, self.releases[-1].card) == (self.version, self.card)

    @property
    def refusal(self) -> Decided | None:
        """The decision that has ended it."""
        return next((each for each in self.decided if each.kind != "approved"), None)


@dataclass(frozen=True, slots=True)
class State:
    """Where a candidate is on its way."""

    kind: Kind
    needed: int
    counted: tuple[str, ...] = ()
    """Who has approved so far, in words."""
    asked: tuple[str, ...] = ()
    """Whose approval would count; empty: anybody's."""
    not_counted: tuple[str, ...] = ()
    """Why other approvals do not count."""

    @property
    def missing(self) -> int:
        """How many people must still approve."""
        return max(0, self.needed - len(self.counted))


def state_of(known: Registered, policy: ApprovalPolicy, now: datetime) -> State:
    """Where it is, whoever asks."""
    found = decide(known.approvals, policy, known.authors, now)
    return State(
        _kind(known, approved=found.approved, begun=bool(found.counted)),
        policy.needed,
        tuple(map(who, found.counted)),
        still_asked(found, policy, known.authors),
        found.reasons,
    )


def _kind(known: Registered, *, approved: bool, begun: bool) -> Kind:
    if known.is_live:
        return "promoting" if known.running else "live"
    if known.refusal:
        return "refused"
    if known.running:
        return "promoting"
    if known.served:
        return "was live"
    if not known.tests:
        return "not tested"
    if not known.tests[-1].accepted:
        return "failed tests"
    if approved:
        return "approved"
    return "more needed" if begun else "waiting"


def approval_by(known: Registered, name: str, address: str, how: str, at: str) -> Approval:
    """What somebody who has signed in would give; its token is yet to be made."""
    login = login_on_console(name, address)
    seen = seen_on_console(login, how)
    return Approval(0, known.model, known.version, known.card, "", login, at, "", "token", seen)


def approval_of(decided: Decided) -> Approval:
    """The approval that a decision has made, or was about to make when it was stopped."""
    seen = seen_on_console(decided.by, decided.how)
    return Approval(
        0, decided.model, decided.version, decided.card, decided.token, decided.by, decided.at, "", "token", seen
    )


def why_not_approve(known: Registered, state: State, mine: Approval, policy: ApprovalPolicy, now: datetime) -> str:
    """Why this person's approval would not count, as a sentence; empty when it would."""
    if state.kind not in DECIDABLE:
        return "It cannot be approved now."
    if objection := why_not(mine, policy, known.authors, now):
        return f"Your approval would not count: {who(mine)} {objection.reason}."
    before = decide(known.approvals, policy, known.authors, now)
    if len(decide((*known.approvals, mine), policy, known.authors, now).counted) == len(before.counted):
        return "You have approved it already; another person must approve it, too."
    return ""


def meanwhile(known: Registered, over: int, card: str) -> str:
    """What has changed since the page was made with which somebody decides, as a sentence; empty when nothing has."""
    if card != known.card:
        return "This page was about another version of the registry."
    if over == known.over:
        return ""
    if not known.releases:
        return "What is live has changed."
    made = known.releases[-1]
    what = "nothing is live any more" if made.version is None else f"version {made.version} is live now"
    return f"Meanwhile {what}: release {made.number}, by {made.by}, at {made.at} ({made.reason})."


def missing_approvals(known: Registered, given: Sequence[Approval]) -> list[Approval]:
    """The approvals that were decided and not written down: whoever decided was stopped in between."""
    there = {each.token for each in given}
    return [approval_of(each) for each in known.decided if each.kind == "approved" and each.token not in there]


def with_missing(known: Registered, given: Sequence[Approval]) -> Registered:
    """The same, as if those had been written down, which the next step does."""
    return dataclasses.replace(known, approvals=(*known.approvals, *missing_approvals(known, given)))
