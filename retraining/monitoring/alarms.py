"""When a failed check becomes a mail: two windows in a row, once per cool-down, with reminders, and an end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

NoticeKind = Literal["raised", "reminder", "over"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How soon people are written to, and how often."""

    windows: int = 2
    """So many windows in a row have to fail for the same cause: what happens by chance in one of a hundred windows happens so
    once in ten thousand."""
    cool_down: timedelta = timedelta(hours=24)
    """A cause that is over and comes back sooner is not reported again before this has passed."""
    reminder: timedelta = timedelta(days=7)
    """An alarm that lasts is reported again after each of these."""


@dataclass(frozen=True, slots=True)
class CauseState:
    """What is known of one cause. It is kept while there is something to remember."""

    failed: int = 0
    """Windows in a row that have failed for it."""
    since: datetime | None = None
    """The end of the first of them."""
    raised: bool = False
    """People know: it was reported, and not yet that it is over."""
    reported: datetime | None = None
    """When it was reported last."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to report about a cause."""

    kind: NoticeKind
    cause: str
    since: datetime
    """The end of the first window that has failed for it."""


def after_window(
    states: Mapping[str, CauseState],
    failed: Collection[str],
    passed: Collection[str],
    at: datetime,
    patience: Patience,
    silenced: Mapping[str, datetime],
) -> tuple[dict[str, CauseState], tuple[Notice, ...]]:
    """The states after a window that ended at `at`, and what to report. Causes that were not checked, since there were too few
    rows, stay as they are. One that is silenced until a later moment is followed and not reported; an end always is.

    `at` may be earlier than what is remembered, by a clock that was set back: no time has passed then.
    """
    new, notices = dict(states), list[Notice]()
    for cause in sorted({*failed, *passed}):
        before = states.get(cause, CauseState())
        if cause in failed:
            after, kind = _failed(before, at, patience, silenced=silenced.get(cause, at) > at)
        else:
            after, kind = _passed(before)
        if kind:
            notices.append(Notice(kind, cause, after.since or before.since or at))
        new[cause] = after
    return {cause: state for cause, state in new.items() if not _forgettable(state, at, patience)}, tuple(notices)


def _failed(
    before: CauseState, at: datetime, patience: Patience, *, silenced: bool
) -> tuple[CauseState, NoticeKind | None]:
    state = replace(before, failed=before.failed + 1, since=before.since or at)
    if silenced or state.failed < patience.windows:
        return state, None
    since_report = at - state.reported if state.reported else None
    if not state.raised and (since_report is None or since_report >= patience.cool_down):
        return replace(state, raised=True, reported=at), "raised"
    if state.raised and since_report is not None and since_report >= patience.reminder:
        return replace(state, reported=at), "reminder"
    return state, None


def _passed(before: CauseState) -> tuple[CauseState, NoticeKind | None]:
    return CauseState(reported=before.reported), "over" if before.raised else None


def _forgettable(state: CauseState, at: datetime, patience: Patience) -> bool:
    if state.failed or state.raised:
        return False
    return state.reported is None or at - state.reported >= patience.cool_down


def open_alarms(states: Mapping[str, CauseState]) -> Iterator[tuple[str, CauseState]]:
    """The causes that people know of and that last, the oldest first."""
    lasting = [(state.since, cause, state) for cause, state in states.items() if state.raised and state.since]
    yield from ((cause, state) for _, cause, state in sorted(lasting, key=lambda each: each[:2]))
