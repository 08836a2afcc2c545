"""Dates as numbers: when a text says that something was, as declared, and the parts of it that a model gets.

Of the standard library and NumPy alone: an exported version has this file, too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Protocol

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (all moments here are UTC, or without a zone)
LONGEST = 64
"""Characters of a date."""
PARTS: dict[str, Callable[[datetime], float]] = {
    "days": lambda when: (when - EPOCH).total_seconds() / 86_400,
    "year": lambda when: when.year,
    "quarter": lambda when: (when.month + 2) // 3,
    "month": lambda when: when.month,
    "week": lambda when: when.isocalendar().week,
    "day": lambda when: when.day,
    "yearday": lambda when: when.timetuple().tm_yday,
    "weekday": lambda when: when.weekday(),
    "hour": lambda when: when.hour,
    "minute": lambda when: when.minute,
    "second": lambda when: when.second,
}
"""`days` are those since 1970-01-01, with the time of day as a fraction; of `weekday` Monday is 0; `week` is that of ISO 8601."""
COMMON = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%y", "%d %b %Y", "%b %d, %Y")
TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p")


class DateRule(Protocol):
    """A column of dates: see `registry.records.DateColumn`."""

    @property
    def name(self) -> str:
        """Of the column."""

    @property
    def written(self) -> str:
        """As Python's `strptime` has it; empty: as ISO 8601 writes it."""

    @property
    def parts(self) -> Sequence[str]:
        """Keys of PARTS."""


@functools.lru_cache(maxsize=1 << 14)
def parse(text: str, written: str = "") -> datetime:
    """When it was: in UTC where the text has an offset, else as the text says. Raises ValueError."""
    if len(text) > LONGEST:
        raise ValueError(text)
    found = datetime.strptime(text.strip(), written) if written else datetime.fromisoformat(text.strip())  # noqa: DTZ007
    try:
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except OverflowError:
        raise ValueError(text) from None


def is_date(text: str, written: str = "") -> bool:
    """Whether a text is a date."""
    try:
        parse(text, written)
    except ValueError:
        return False
    return True


def as_text(value: date, written: str = "") -> str:
    """A date, or a moment, as `parse` reads it."""
    return value.strftime(written) if written else value.isoformat()


def in_words(written: str) -> str:
    """How dates are written, for messages: `as ISO 8601 writes it (2026-11-30, 2026-11-30T14:05)`."""
    example = datetime(2026, 11, 30, 14, 5)  # noqa: DTZ001
    return (
        f"as {written!r} ({example.strftime(written)})"
        if written
        else "as ISO 8601 writes it (2026-11-30, 2026-11-30T14:05)"
    )


def guessed(texts: Iterable[str]) -> list[str]:
    """The common formats in which all of some texts are dates."""
    found = [f"{day}{time}" for day in COMMON for time in TIMES]
    for text in texts:
        found = [each for each in found if is_date(text, each)]
    return found


def feature(column: str, part: str) -> str:
    """What the input with one part of a column is called."""
    return f"{column} {part}"


def numbers(texts: Sequence[Any], rule: DateRule) -> Any:
    """The parts of each text, float64 of shape (texts, parts), NaN for None and the empty text. Raises ValueError."""
    import numpy as np  # settings are read where nothing else needs it

    found: dict[Any, list[float]] = {None: [math.nan] * len(rule.parts), "": [math.nan] * len(rule.parts)}
    for text in dict.fromkeys(texts):
        if text not in found:
            when = parse(text, rule.written)
            found[text] = [PARTS[part](when) for part in rule.parts]
    return np.array([found[text] for text in texts], np.float64).reshape(len(texts), len(rule.parts))


def in_parts(arrays: Mapping[str, Any], rules: Iterable[DateRule], dtypes: Mapping[str, str]) -> dict[str, Any]:
    """Inputs with the parts of dates in place of their texts, each array of shape (rows, 1), in the order of `dtypes`, which has all
    inputs of the model. Raises ValueError."""
    made = dict(arrays)
    for rule in rules:
        texts = [
            each.decode() if isinstance(each, bytes) else str(each) for each in made.pop(rule.name).ravel().tolist()
        ]
        columns = numbers(texts, rule)
        for i, part in enumerate(rule.parts):
            name = feature(rule.name, part)
            made[name] = columns[:, i : i + 1].astype(dtypes[name])
    return {name: made[name] for name in dtypes if name in made}
