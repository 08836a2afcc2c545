"""A model's releases as a story: what each meant, who made it, who approved it, how long it lasted."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.console.facts.history import History
from registry.dataclass import dataclass
from registry.records import Release
from registry.undo import has_failed

MOST_WAYS = 50
"""Versions that one can go back to, the newest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One release."""

    number: int
    version: int | None
    title: str
    kind: str
    tone: str
    at: str
    until: str
    """When the next one was made; empty: it is the latest."""
    by: str
    approved_by: tuple[str, ...]
    reason: str
    although: str
    """What the gate had against it, and why it was released all the same."""


def timeline(known: History) -> list[Entry]:
    """All releases, the newest first."""
    made = known.releases
    following = [*made[1:], None]
    return [_entry(known, each, after) for each, after in zip(made, following, strict=True)][::-1]


def _entry(known: History, made: Release, after: Release | None) -> Entry:
    given = [known.approvals[number - 1] for number in made.approvals if number <= len(known.approvals)]
    failed = has_failed(made, after)
    title, kind, tone = _words(made)
    return Entry(
        made.number,
        made.version,
        f"{title}, but it could not be deployed" if failed else title,
        "failed" if failed else kind,
        "bad" if failed else tone,
        made.at,
        after.at if after else "",
        made.by,
        tuple(dict.fromkeys(each.by for each in given)),
        made.reason,
        f"{'; '.join(made.failed)}: {made.although}" if made.although else "",
    )


def _words(made: Release) -> tuple[str, str, str]:
    if made.kind == "promotion":
        return f"Version {made.version} was released", "promotion", "good"
    if made.kind == "rollback":
        return f"Back to version {made.version}", "rollback", "warn"
    if made.kind == "revert":
        return f"Trainyard went back to version {made.version}", "automatic revert", "bad"
    if made.kind == "demotion":
        return "Taken out of production", "demotion", "warn"
    return "Nothing is live any more", "withdrawal", "bad"


def ways_back(known: History) -> Mapping[int, Release]:
    """The versions that a rollback may make live, the newest first, with their last release: people have approved them, and they are
    not live now."""
    live = known.live.version if known.live else None
    approvals = {each.number: each for each in known.approvals}
    last: dict[int, Release] = {}
    approved = set()
    for each in known.releases:
        if each.version is None:
            continue
        last[each.version] = each
        given = [approvals.get(number) for number in each.approvals]
        if given and all(one and (one.version, one.card) == (each.version, each.card) for one in given):
            approved.add((each.version, each.card))
    found = [number for number, each in last.items() if (number, each.card) in approved and number != live]
    return {number: last[number] for number in sorted(found, reverse=True)[:MOST_WAYS]}
