"""What who follows a registry in a bucket says of it, in words. No I/O."""

from __future__ import annotations

from serving.follower_state import FollowerState


def in_words(state: FollowerState, url: str, log: str) -> str:
    """What who follows the bucket says, for people."""
    if state.error:
        why = f"since {state.since} the registry cannot be read ({state.error}): release {state.release} is the last one known"
        return f"{why}; see {log}"
    return f"it follows {url}, whose newest release is {state.release} since {state.since}"
