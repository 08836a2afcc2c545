"""What a model's releases say by their kinds: which of them failed, and to which one a rollback, or an automatic revert,
goes back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry.records import NOTHING_LIVE, Release


def live_before(history: Sequence[Release]) -> Release | None:
    """What was live before the current version, as in an editor's undo: what was undone does not come back.

    1, 2, 3 → 2; after that rollback → 1, and not 3, from which somebody has just gone back. A release that could not be
    deployed does not count: 1, 2, 3, 1 (failed), 3 (revert) → 2.
    """
    if len(history) > 1 and (last := history[-1]).kind == "promotion":  # mostly: no need to go through thousands
        before = history[-2]
        if before.version not in {None, last.version}:
            return before
    stack, last = _fold(history)
    stack.push(last)
    return stack.newest_but(last.version)


def good_before(history: Sequence[Release]) -> Release | None:
    """What to go back to when the last release cannot be deployed: the one before it that could; None without one."""
    stack, last = _fold(history)
    return stack.newest_but(last.version)


def has_failed(release: Release, following: Release | None) -> bool:
    """Whether a release could not be deployed, as the automatic revert or the withdrawal right after it says.

    It has used up no approval: a person's yes was to a version that serves. `following`: the next release, if there is one.
    """
    return (
        following is not None and following.number == release.number + 1 and following.kind in {"revert", "withdrawal"}
    )


def left_behind(history: Sequence[Release], version: int) -> Release | None:
    """The first rollback, automatic revert, withdrawal or demotion after the last release of a version: somebody has gone back from
    it. None when it is live, was never released, or was replaced by promotions only."""
    back = None
    for release in reversed(history):
        if release.version == version:
            return back
        if release.kind != "promotion":
            back = release
    return None


def _fold(history: Iterable[Release]) -> tuple[_UndoStack, Release]:
    """The stack before the last release, and that release; the stack gets each release when the next one is known.

    A revert, or a withdrawal, says that the release before it failed: then the stack stays what it was before that one,
    without any release of its version.
    """
    stack = _UndoStack()
    last: Release | None = None
    for release in history:
        if last and has_failed(last, release):
            stack.discard(last.version)
        elif last:
            stack.push(last)
        last = release
    if last is None:
        raise ValueError("an empty history has no last release")
    return stack, last


class _UndoStack:
    """Releases that undo goes back through, the oldest first; a history of thousands is gone through once."""

    def __init__(self) -> None:
        self._releases: list[Release] = []
        self._first: dict[int | None, int] = {}  # version → its first position

    def push(self, release: Release) -> None:
        """Going back to a version takes away all from its first position on; a withdrawal or a demotion takes away all."""
        if release.kind in NOTHING_LIVE:
            self._cut(0)
            return
        if release.kind != "promotion" and release.version in self._first:
            self._cut(self._first[release.version])
        self._append(release)

    def discard(self, version: int | None) -> None:
        """Take away every release of this version."""
        if version in self._first:
            kept = [each for each in self._releases if each.version != version]
            self._cut(0)
            for each in kept:
                self._append(each)

    def newest_but(self, version: int | None) -> Release | None:
        """The newest release of another version."""
        return next((each for each in reversed(self._releases) if each.version != version), None)

    def _append(self, release: Release) -> None:
        self._first.setdefault(release.version, len(self._releases))
        self._releases.append(release)

    def _cut(self, at: int) -> None:
        for each in self._releases[at:]:
            if self._first.get(each.version, -1) >= at:
                del self._first[each.version]
        del self._releases[at:]
