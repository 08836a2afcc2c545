"""A decision about what is live is about the release that a person has seen: with another one meanwhile, it is not made."""

from __future__ import annotations

from registry.errors import Rejected
from registry.records import Release


def must_be_over(current: Release, over: int) -> None:
    """Raise Rejected when another release than number `over` is the latest; 0: any may be."""
    if over not in {0, current.number}:
        live = "nothing is live" if current.version is None else f"version {current.version} is live"
        raise Rejected(
            f"release {current.number} of {current.model}, by {current.by} at {current.at}, was made meanwhile: {live}",
            hint=f"`trainyard registry history {current.model}` shows it; decide again",
        )
