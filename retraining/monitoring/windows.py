"""Into which windows the lines of the prediction log fall. Pure.

Windows tile the time: each begins where the one before it ends, and where they end depends only on lines before that. So it
does not matter how often somebody asks: a moment, and with it a line, is in one window, and always in the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOTHING = -(2**63)
"""When the last line was, where there is none."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a window ends. In milliseconds, as the log has times."""

    step: int
    """A window ends so long after its beginning, or at a multiple of it."""
    longest: int
    """With fewer than `min_rows` rows it grows, until it is so long."""
    min_rows: int
    silence: int = 0
    """Nor does it grow after so long without any line; 0: it does."""


@dataclass(frozen=True, slots=True)
class Lines:
    """What is to know of the lines; all arrays have shape (lines,), in the order of time."""

    times: NDArray[np.int64]
    """Milliseconds since 1970."""
    releases: NDArray[np.int64]
    """Which release has answered; 0: none."""
    rows: NDArray[np.bool_]
    """Whether it is an answered instance; else it is of a request that was refused."""

    @staticmethod
    def of(times: Any, releases: Any, rows: Any) -> Lines:
        """In any order."""
        order = np.argsort(np.asarray(times, dtype=np.int64), kind="stable")
        return Lines(
            np.asarray(times, dtype=np.int64)[order],
            np.asarray(releases, dtype=np.int64)[order],
            np.asarray(rows, dtype=bool)[order],
        )

    def last(self, until: int, before: int = NOTHING) -> int:
        """When the last line before `until` was; `before`, when there is none here."""
        place = int(np.searchsorted(self.times, until))
        return int(self.times[place - 1]) if place else before


@dataclass(frozen=True, slots=True)
class Cut:
    """One window: [since, until), in milliseconds since 1970, and the release that it is about."""

    since: int
    until: int
    release: int


def cut(
    lines: Lines, since: int, until: int, rules: Rules, released: Sequence[tuple[int, int]], before: int = NOTHING
) -> Iterator[Cut]:
    """The windows from `since` on that are over at `until`, which must be a moment of which no more lines will come.

    `released`: number and time of each release, the oldest first. A window is about the one that was live at its
    beginning; with the first line of a later one the next window begins, as clocks of several machines do not agree about
    the time of a release. `before`: when the last line before `since` was.
    """
    per_release = {number: lines.times[lines.rows & (lines.releases == number)] for number, _ in released}
    numbers = [number for number, _ in released]  # of which lines of another release end no window
    later = {each: lines.times[np.isin(lines.releases, [it for it in numbers if it > each])] for each in numbers}
    while since < until:
        release = _live_at(since, lines, released)
        end = _end(since, until, rules, per_release.get(release, lines.times[:0]), lines.times, before)
        following = later.get(release, lines.times[:0])
        change = following[np.searchsorted(following, since, side="right") :][:1].tolist()
        if change and change[0] < min(until, until + 1 if end is None else end):
            end = change[0]
        if end is None:
            return
        yield Cut(since, end, release)
        since = end


def _live_at(moment: int, lines: Lines, released: Sequence[tuple[int, int]]) -> int:
    """By the records, or by a line of just this moment."""
    known = [number for number, at in released if at <= moment] or [number for number, _ in released[:1]]
    first, last = np.searchsorted(lines.times, [moment, moment + 1])
    numbers = {number for number, _ in released}
    seen = [each for each in lines.releases[first:last].tolist() if each in numbers]
    return max([*known, *seen], default=0)


def _end(
    since: int, until: int, rules: Rules, rows: NDArray[np.int64], times: NDArray[np.int64], before: int
) -> int | None:
    """The first multiple of the step at which a window has rows enough, is long enough, or there is silence."""
    most = min(-(-rules.longest // rules.step), (until - since) // rules.step)
    if most < 1:
        return None
    ends = since + rules.step * np.arange(1, most + 1)
    enough = np.searchsorted(rows, ends) - np.searchsorted(rows, since) >= rules.min_rows
    enough |= ends - since >= rules.longest
    if rules.silence:
        places = np.searchsorted(times, ends)
        last = np.where(places > 0, times[(places - 1).clip(0)] if len(times) else before, before)
        known = last > NOTHING
        enough |= known & (ends - np.where(known, last, ends) >= rules.silence)
    return int(ends[enough.argmax()]) if enough.any() else None
