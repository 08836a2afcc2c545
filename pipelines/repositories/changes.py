"""The new commits that a run found in its three repositories; `fetched.json` in its folder holds them."""

from __future__ import annotations

from registry.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit, as a mail shows it."""

    sha: str
    author: str
    subject: str
    address: str = ""
    """The author's mail address, as the commit says; nothing vouches for it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The new commits of one repository since the released version; `more` commits are not listed."""

    repository: str
    commits: tuple[Commit, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is new in each repository since the version that is released (or, without one, the newest candidate)."""

    changes: tuple[Changes, ...]
    files: str = ""
    """A digest of all files that matter, see `pipelines.reuse.up_to_date`."""
    authors: tuple[str, ...] | None = None
    """Authors and committers of what is new in all three since the version that is live; None when there are too
    many, or a shallow repository does not say."""
    manifest: str | None = None
    """The SHA-256 of the dataset's manifest, of its files that do not lie in git; None: all of them do."""
