"""When samples were made: dates, times or plain numbers as text, as numbers that can be put into order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Literal

Kind = Literal["number", "date", "time", "zoned"]
AHEAD = timedelta(days=1)
"""How much newer than now a time may be: no clock of a place on Earth is further ahead."""
WRITE = "write dates and times as 2026-11-30 or 2026-11-30T14:05:00+00:00 (ISO 8601), or store a number"


@dataclass(frozen=True, slots=True)
class Times:
    """When each sample was made: seconds since 1970 UTC, or for `number` the number itself."""

    kind: Kind
    values: tuple[float, ...]

    def only(self, places: Sequence[int]) -> Times:
        """Those at these positions."""
        return Times(self.kind, tuple(self.values[each] for each in places))

    def shown(self, value: float) -> str:
        """One of them, as people write it."""
        if self.kind == "number":
            return f"{value:.15g}"
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
        if self.kind == "date":
            return moment.date().isoformat()
        return (moment if self.kind == "zoned" else moment.replace(tzinfo=None)).isoformat()


class NotTimesError(ValueError):
    """The first text that is not a time, or not like the others; `index` is its place, `count` how many there are."""

    def __init__(self, index: int, count: int, message: str) -> None:
        super().__init__(message)
        self.index, self.count = index, count


def parse(texts: Sequence[str]) -> Times:
    """Texts as times, all of one kind: numbers, ISO dates, or ISO times all with or all without their offset from UTC, which
    then are UTC. Raises NotTimesError."""
    if not texts:
        return Times("number", ())
    first = kind_of(texts[0])
    values = []
    wrong = list[tuple[int, str]]()
    for i, text in enumerate(texts):
        try:
            found, value = _one(text)
        except (ValueError, OverflowError):
            wrong.append((i, f"{text!r:.60} is neither a time nor a number"))
            continue
        if found == first or {found, first} == {"date", "time"}:
            values.append(value)
        else:
            wrong.append((i, f"{text!r:.60} is {_WORDS[found]}, and the first one is {_WORDS[first]}"))
    if wrong:
        raise NotTimesError(wrong[0][0], len(wrong), wrong[0][1])
    if first == "date" and any(value % 86400 for value in values):
        first = "time"
    return Times(first, tuple(values))


def kind_of(text: str) -> Kind:
    """What a text is; a number where it is nothing of the kind."""
    try:
        return _one(text)[0]
    except (ValueError, OverflowError):
        return "number"


def future(times: Times, now: datetime) -> list[int]:
    """The samples that were made after `now`; none where it is not known what the numbers count."""
    if times.kind == "number":
        return []
    latest = (now + AHEAD).timestamp()
    return [i for i, value in enumerate(times.values) if value > latest]


_WORDS = {
    "number": "a number",
    "date": "a date",
    "time": "a time without its offset from UTC",
    "zoned": "a time with its offset from UTC",
}


def _one(text: str) -> tuple[Kind, float]:
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not isfinite(number):
            raise ValueError(text)
        return "number", number
    if len(text) == 10:
        day = date.fromisoformat(text)
        return "date", datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return "time", moment.replace(tzinfo=UTC).timestamp()
    return "zoned", moment.timestamp()
