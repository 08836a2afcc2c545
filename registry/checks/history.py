"""The rules of a model's releases and approvals. Nothing is read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from registry.checks.findings import SKEW
from registry.dataclass import dataclass
from registry.records import NOTHING_LIVE, Approval, Decided, Release
from registry.undo import has_failed

Problem = tuple[int, str]
"""The number of the record, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What releases and approvals are about: version → SHA-256 of its manifest."""

    test: Mapping[int, str]
    production: Mapping[int, str]
    accepted: frozenset[int]
    """Versions that at least one acceptance test accepted."""


def wrong_releases(
    model: str, releases: Sequence[Release], approvals: Mapping[int, Approval], versions: Versions
) -> Iterator[Problem]:
    """What is wrong with releases, the oldest first."""
    used_up: set[int] = set()
    approved: set[tuple[int | None, str]] = set()
    after = {each.number - 1: each for each in releases}
    for each in releases:
        for problem in (
            *_wrong_by_itself(model, each),
            *_wrong_version(each, versions),
            *_wrong_approval(each, approvals, used_up),
            *_never_approved(each, approved),
        ):
            yield each.number, problem
        if each.approval is not None:
            approved.add((each.version, each.card))
            if not has_failed(each, after.get(each.number)):
                used_up.update(each.approvals)


def wrong_approvals(model: str, approvals: Sequence[Approval], versions: Versions) -> Iterator[Problem]:
    """What is wrong with approvals, the oldest first."""
    tokens: dict[str, Approval] = {}
    people: dict[tuple[str, str, str], int] = {}
    for each in approvals:
        if each.model != model or versions.test.get(each.version) != each.card:
            yield each.number, f"approves a manifest that test/…/{each.version} does not have"
        before = tokens.setdefault(each.token, each)
        same = people.setdefault((each.token, each.way, each.seen), each.number)
        if (before.version, before.card) != (each.version, each.card) or same != each.number:
            yield (
                each.number,
                f"has the token of approval {before.number}",
            )  # which several people may have used for one


def wrong_decisions(model: str, decided: Sequence[Decided], versions: Versions) -> Iterator[Problem]:
    """What is wrong with decisions, the oldest first."""
    refused: set[str] = set()
    for each in decided:
        if each.model != model or versions.test.get(each.version) != each.card:
            yield each.number, f"decides about a manifest that test/…/{each.version} does not have"
        if each.card in refused:
            yield each.number, f"decides about version {each.version}, which was refused before"
        if each.kind != "approved":
            refused.add(each.card)


def released_although_refused(releases: Sequence[Release], decided: Sequence[Decided]) -> Iterator[Problem]:
    """Releases of what a person has refused: somebody has promoted it at the same moment, or with an earlier Trainyard."""
    refused = {each.card: each for each in reversed(decided) if each.kind != "approved"}
    for each in releases:
        if each.kind == "promotion" and (no := refused.get(each.card)):
            yield each.number, f"releases version {each.version}, which decision {no.number} has refused"


def released_before_approval(
    releases: Sequence[Release], approved_at: Mapping[int, datetime | None], released_at: Mapping[int, datetime | None]
) -> Iterator[Problem]:
    """Releases that are older than their approvals by more than clocks may differ."""
    for each in releases:
        made = released_at.get(each.number)
        for number in each.approvals:
            given = approved_at.get(number)
            if given and made and made < given - SKEW:
                yield each.number, f"was made {given - made} before its approval {number}, by their clocks"


def _wrong_by_itself(model: str, release: Release) -> Iterator[str]:
    if release.model != model:
        yield f"is a release of {release.model}"
    if (release.kind in NOTHING_LIVE) != (release.version is None):
        yield f"is a {release.kind} of version {release.version or 'none'}"
    if (release.kind == "promotion") != (release.approval is not None):
        yield f"is a {release.kind} {'without an' if release.approval is None else 'with an'} approval"


def _wrong_version(release: Release, versions: Versions) -> Iterator[str]:
    version = release.version
    if version is None:
        return
    if versions.production.get(version) != release.card:
        yield f"releases a manifest that production/…/{version} does not have"
    if release.kind == "promotion" and version in versions.test and version not in versions.accepted:
        yield f"releases version {version}, which no acceptance test has accepted"


def _wrong_approval(release: Release, approvals: Mapping[int, Approval], used_up: set[int]) -> Iterator[str]:
    for number in release.approvals:
        approval = approvals.get(number)
        if approval is None or (approval.version, approval.card) != (release.version, release.card):
            yield f"names approval {number}, which is not about this manifest"
        if number in used_up:
            yield f"names approval {number}, which was used before"


def _never_approved(release: Release, approved: set[tuple[int | None, str]]) -> Iterator[str]:
    """A rollback or a revert goes back to what a person has approved."""
    back = release.version is not None and release.approval is None
    if back and (release.version, release.card) not in approved:
        yield f"goes back to version {release.version}, which was never released with an approval"
