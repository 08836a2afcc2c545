"""Who gets the mail about a run: the product owners; about a failure those who can mend it."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.config.addresses import is_address
from pipelines.config.schema import Mail
from pipelines.repositories.changes import Changes
from registry.records import Trigger

MOST = 10  # authors of one push


def for_failure(settings: Mail, trigger: Trigger, changes: Iterable[Changes]) -> tuple[str, ...]:
    """As `[mail] failures_to` says: the authors of the new commits in the repository that was pushed to, else of any.

    What a commit says about its author is anybody's word, and the mail holds error messages: only addresses of
    `author_domains` are written to. Without one the owners get the mail.
    """
    if settings.failures_to == "owners":
        return settings.to
    found = {each.repository: authors(settings, each) for each in changes}
    who = found.get(trigger) or tuple(dict.fromkeys(each for some in found.values() for each in some))
    if settings.failures_to == "both":
        return tuple(dict.fromkeys((*settings.to, *who[:MOST])))
    return who[:MOST] or settings.to


def authors(settings: Mail, changes: Changes) -> tuple[str, ...]:
    """Those of the new commits that may be written to, the newest commit's first."""
    domains = {each.lower() for each in settings.author_domains or map(_domain, settings.to)}
    given = (each.address for each in changes.commits)
    return tuple(dict.fromkeys(each for each in given if is_address(each) and _domain(each) in domains))


def _domain(address: str) -> str:
    return address.rstrip(">").rpartition("@")[2].lower()
