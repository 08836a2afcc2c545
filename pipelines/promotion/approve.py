"""Whether a version may be promoted: the caller's approval is checked and counted beside those that were given before."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipelines.approvals import signed
from pipelines.approvals.people import approvers
from pipelines.approvals.policy import Decision, decide, still_asked, who, why_not
from pipelines.approvals.tokens import approval_secret, check_token
from pipelines.config.schema import Config
from pipelines.promotion.request import Request
from registry import releases
from registry.dataclass import dataclass
from registry.errors import Rejected
from registry.records import Approval, Candidate, utc_now
from registry.releases import History
from registry.stores import Store


def read_approval(config: Config, request: Request, digest: str) -> Approval:
    """The caller's approval of exactly the manifest with this SHA-256, yet to be appended; raises Rejected."""
    model, version, policy = request.model, request.version, config.approval
    if request.approval.startswith(signed.PREFIX):
        said, key = signed.check(request.approval, approvers(policy.approvers), model, version, digest)
        signed.must_be_in_time(said)
        return Approval(
            0, model, version, digest, said.id, said.by, said.at, "", "key", seen=key.id, signed=request.approval
        )
    secret = approval_secret(Path(config.home))
    token = check_token(secret, request.approval, model, version, digest, policy.valid_days)
    return Approval(
        0, model, version, digest, token, request.by, utc_now(), previous="", way=request.way, seen=request.seen
    )


def recorded_approval(config: Config, candidate: Candidate, digest: str, history: History) -> Approval:
    """The newest approval of this manifest that the registry has, one that counts if there is one; raises Rejected."""
    known = history.approvals.having("card", digest)
    if not known:
        raise Rejected(
            f"nobody has approved {candidate.model} version {candidate.version} yet",
            hint="approve it on the console, or with the token of the mail",
        )
    free = history.unused(digest)
    now = datetime.now(UTC)
    counts = [
        each for each in free if _holds(each, config) and not why_not(each, config.approval, candidate.authors, now)
    ]
    return (counts or free or known)[-1]


def holding(config: Config, digest: str, history: History) -> list[Approval]:
    """The approvals of a manifest that are not used up, the oldest first; one that claims to be signed must still be."""
    return [each for each in history.unused(digest) if _holds(each, config)]


@dataclass(frozen=True, slots=True)
class Approved:
    """Enough people have approved: those whose approvals make the release, the caller's first."""

    counted: tuple[Approval, ...]

    def append(self, store: Store, history: History) -> tuple[int, ...]:
        """The numbers of the approvals; the caller's is appended when it is not there yet."""
        first, *others = self.counted
        number = first.number or releases.append_approval(store, first, history).number
        return (number, *(each.number for each in others))


def must_be_approved(
    store: Store, config: Config, candidate: Candidate, approval: Approval, history: History
) -> Approved:
    """Count the caller's approval and those that were given before; raises Rejected when it does not count, or, once it
    is recorded, when more people must approve."""
    policy, now = config.approval, datetime.now(UTC)
    before = holding(config, approval.card, history)
    mine = next((each for each in before if _is_same(each, approval)), approval)
    if objection := why_not(mine, policy, candidate.authors, now):
        raise Rejected(f"the approval does not count: {who(mine)} {objection.reason}", hint=objection.hint)
    others = [each for each in before if each is not mine]
    decision = decide((mine, *others), policy, candidate.authors, now)
    if decision.approved:
        return Approved(decision.counted[: policy.needed])
    said = f"{who(mine)} has approved before"
    if not mine.number and len(decision.counted) > len(decide(others, policy, candidate.authors, now).counted):
        number = releases.append_approval(store, mine, history).number
        said = f"the approval of {who(mine)} is recorded as number {number}"
    raise _more_are_needed(config, candidate, decision, said)


def must_be_unused(approval: Approval, history: History) -> None:
    """An approval makes one release that serves. One that has made none yet was stopped halfway, or its release failed and
    was reverted: its promotion resumes, or is tried again."""
    for each in history.approvals.having("token", approval.token):
        if made := history.release_with(each.number):
            raise Rejected(
                f"this approval was used for release {made.number} at {made.at}, which is not live any more",
                hint=f"`trainyard rollback {made.model} --to {made.version}` makes version {made.version} live again",
            )


def _more_are_needed(config: Config, candidate: Candidate, decision: Decision, said: str) -> Rejected:
    policy, name = config.approval, f"{candidate.model} version {candidate.version}"
    people = "1 more person" if decision.missing == 1 else f"{decision.missing} more people"
    asked = still_asked(decision, policy, candidate.authors)
    whom = f"one of {', '.join(asked)}" if asked else "another login, or a key that [approval] approvers lists"
    reasons = f" ({'; '.join(decision.reasons)})" if decision.reasons else ""
    return Rejected(
        f"{said}; {people} must approve {name}{reasons}",
        hint=f"the next approval, by {whom}, makes the release: `trainyard promote`, or `trainyard approve` to sign one",
    )


def _is_same(one: Approval, other: Approval) -> bool:
    return (one.token, one.way, one.seen) == (other.token, other.way, other.seen)


def _holds(approval: Approval, config: Config) -> bool:
    """Whether a recorded approval that claims to be signed still is, by a key that is still listed, and in time."""
    if approval.way != "key":
        return True
    try:
        said, key = signed.check(
            approval.signed, approvers(config.approval.approvers), approval.model, approval.version, approval.card
        )
        signed.must_be_in_time(said)
    except Rejected:
        return False
    return (said.id, said.by, said.at, key.id) == (approval.token, approval.by, approval.at, approval.seen)
