"""Whether a version is approved: who may approve, how many must, and that they are different people.

A pure rule: no files, no registry; the clock is given. It gives every reason, and who is still missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pipelines.approvals.people import Approver, address, approvers, is_same_login, names, on_console
from pipelines.config.schema import ApprovalPolicy
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.records import Approval

MONITOR = "the monitor, "
"""How `seen` begins where the monitor has approved, by `[monitoring] auto_promote`: no login does. A way of its own would make the
record unreadable for earlier versions of Trainyard, and for an API that runs."""
CONSOLE = "the console, "
"""How `seen` begins of who has decided on a page of the console, followed by `name <address>, by the way of signing in`. For the
same reason it is a token's."""
NO_ANGLES = {ord(each): None for each in "<>"}
"""Whoever chooses a login must not choose an address with it."""
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
LISTED = "it lists who may: logins as this machine or Jenkins knows them, or public keys"
ANOTHER = "somebody who has no part in it must approve; [approval] author_may_approve = true lets authors, too"
UNKNOWN = (
    "`trainyard run code --force` registers it anew, with its authors, unless a repository is shallow (then first "
    "`git fetch --unshallow` in it) or they are more than 2000; or set [approval] author_may_approve = true"
)
NAMELESS = "write the name or the address of its owner behind the key"


@dataclass(frozen=True, slots=True)
class Objection:
    """Why one approval does not count, and what helps."""

    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Which approvals count, and why the others do not."""

    counted: tuple[Approval, ...]
    needed: int
    reasons: tuple[str, ...]
    """One per approval that does not count."""

    @property
    def approved(self) -> bool:
        """Whether enough people have approved."""
        return len(self.counted) >= self.needed

    @property
    def missing(self) -> int:
        """How many people have still to approve."""
        return max(0, self.needed - len(self.counted))


def decide(given: Sequence[Approval], policy: ApprovalPolicy, authors: Sequence[str] | None, now: datetime) -> Decision:
    """Count the approvals of one manifest: each person once, however that person approves.

    `authors`: who made the candidate's commits; None when that is not known.
    """
    counted: list[Approval] = []
    reasons = []
    for each in given:
        same = next((other for other in counted if _is_same_person(each, other, policy)), None)
        if objection := why_not(each, policy, authors, now):
            reasons.append(f"{who(each)} {objection.reason}")
        elif same:
            reasons.append(f"{who(each)} is the same person as {who(same)}, and counts once")
        else:
            counted.append(each)
    return Decision(tuple(counted), policy.needed, tuple(reasons))


def why_not(
    approval: Approval, policy: ApprovalPolicy, authors: Sequence[str] | None, now: datetime
) -> Objection | None:
    """Why one approval does not count on its own; None when it does."""
    given_at = datetime.strptime(approval.at, MOMENT).replace(tzinfo=UTC)
    if given_at + timedelta(days=policy.valid_days) < now:
        return Objection(f"has approved at {approval.at}, more than {policy.valid_days:g} days ago", "approve again")
    if approval.way == "token" and approval.seen.startswith(MONITOR) and (asked := policy.asks_for_people):
        return Objection(f"is not a person, as {' and '.join(asked)} demands", "a person must approve it")
    if (policy.approvers or approval.way == "key") and not _entries(approval, policy):
        return Objection("is not among [approval] approvers", LISTED)
    if policy.author_may_approve:
        return None
    if authors is None:
        return Objection("may be an author: it is not known who made the commits of this version", UNKNOWN)
    known = _names(approval, policy)
    if approval.way == "key" and not known:
        return Objection("may be an author: the key has no name in [approval] approvers", NAMELESS)
    if made := [each for each in authors if known & names(each)]:
        return Objection(f"is an author of this version: {made[0]}", ANOTHER)
    return None


def who(approval: Approval) -> str:
    """The person in words: as the system saw, and as was said when that differs."""
    if approval.way == "key":
        return f"{approval.by} (key {approval.seen:.16})"
    if _is_on_console(approval):
        return f"{_login(approval)} (on the console, signed in by {approval.seen.rpartition(', by ')[2]})"
    seen = approval.seen or approval.by
    return seen if approval.by in {"", seen, _login(approval)} else f"{approval.by} (seen as {seen})"


def still_asked(decision: Decision, policy: ApprovalPolicy, authors: Sequence[str] | None) -> tuple[str, ...]:
    """The approvers whose approval would count now, for a message; empty when anybody's would."""
    listed = approvers(policy.approvers)
    taken = [_names(each, policy) for each in decision.counted]
    if not policy.author_may_approve:
        taken.append(names(*(authors or ())))
    keys = {entry.key for each in decision.counted for entry in _entries(each, policy)} - {""}
    free = [
        each
        for each in listed
        if each.key not in keys and not any(each.name and names(each.name) & person for person in taken)
    ]
    return tuple(dict.fromkeys(each.shown for each in free))


def in_words(policy: ApprovalPolicy) -> str:
    """Who must approve, for the mail that asks for it; empty when whoever reads it may."""
    people = ", ".join(dict.fromkeys(each.shown for each in approvers(policy.approvers)))
    said = []
    if policy.needed > 1:
        whom = f", of {people}," if people else ""
        said.append(f"{policy.needed} different people{whom} must approve it: each one runs this command.")
    elif people:
        said.append(f"Only {people} may approve it.")
    if not policy.author_may_approve:
        said.append("Those who made its commits may not.")
    return " ".join(said)


def login_on_console(name: str, address: str) -> str:
    """`login <address>` of somebody who has signed in to the console, or the login alone where no address is known."""
    login, mail = (clean(each.translate(NO_ANGLES), 200) for each in (name, address))
    return f"{login} <{mail}>" if mail else login


def seen_on_console(login: str, how: str) -> str:
    """`seen` of who has signed in with `login_on_console`, in this way."""
    return f"{CONSOLE}{login}, by {how}"


def _is_on_console(approval: Approval) -> bool:
    return approval.way == "token" and approval.seen.startswith(CONSOLE)


def _login(approval: Approval) -> str:
    """The account in `seen`: of Jenkins' `ada, https://…/12/` the first part, of the console's what is between its words."""
    if _is_on_console(approval):
        return approval.seen.removeprefix(CONSOLE).rpartition(", by ")[0]
    return approval.seen.partition(", ")[0] if approval.way == "jenkins" else approval.seen


def _entries(approval: Approval, policy: ApprovalPolicy) -> list[Approver]:
    """The approver that this approval comes from, by key or by login, as each of the entries about that person."""
    listed = approvers(policy.approvers)
    if approval.way == "key":
        return [each for each in listed if each.key and each.key_id == approval.seen]
    login = _login(approval)
    if _is_on_console(approval):
        logins = on_console(login)
        return [each for each in listed if not each.key and address(each.name) in logins]
    return [each for each in listed if not each.key and login and is_same_login(each.name, login)]


def _names(approval: Approval, policy: ApprovalPolicy) -> frozenset[str]:
    """Every name of the person. What a caller says about a key's owner does not count: the key's entry does."""
    listed = [each.name for each in _entries(approval, policy)]
    return names(*listed) if approval.way == "key" else names(_login(approval), approval.by, *listed)


def _is_same_person(one: Approval, other: Approval, policy: ApprovalPolicy) -> bool:
    if one.way == other.way == "key" and one.seen == other.seen:
        return True
    return bool(_names(one, policy) & _names(other, policy))
