"""What `[schedule]` makes due: each time once, also when the machine was off, or its clock was set back.

`schedule.json` says until when each entry has been seen to. Times that passed while nobody watched are one time, the
first of them. An entry that is new, or was changed, begins with the present.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from pipelines.config import cron
from pipelines.config.schema import Config
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import write_whole

What = Literal["monitor", "retrain"]
FORMAT = "%Y-%m-%dT%H:%M:%SZ"
FAR_AHEAD = timedelta(days=1)
"""So much further than the present, `schedule.json` was written by a clock that was wrong."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `[schedule]`."""

    what: What
    cron: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Due:
    """An entry whose time has come."""

    entry: Entry
    at: datetime
    """The first of the times that have passed."""
    seen: datetime
    """The present: until then the entry is seen to, once it is done."""

    @property
    def occasion(self) -> str:
        """What there is one run for."""
        return f"the schedule, {_text(self.at)}"

    @property
    def words(self) -> str:
        """The time as the settings have it, for people."""
        where = self.at.astimezone(cron.zone(self.entry.timezone))
        return f"{where:%Y-%m-%d %H:%M} ({self.entry.timezone}), by {self.entry.cron!r}"


def entries(config: Config) -> tuple[Entry, ...]:
    """What the settings want, the shortest first."""
    given = config.schedule
    wanted: tuple[tuple[What, str], ...] = (("monitor", given.monitor), ("retrain", given.retrain))
    return tuple(Entry(what, text, given.timezone) for what, text in wanted if text)


def find_due(entry: Entry, until: datetime, now: datetime) -> Due | None:
    """The entry, when one of its times is after `until` and not after `now`."""
    first = cron.next_after(entry.cron, cron.zone(entry.timezone), until)
    return Due(entry, first, now) if first and first <= now else None


@dataclass(frozen=True, slots=True)
class SeenTo:
    """What the file says of an entry."""

    entry: Entry
    until: datetime


class Clock:
    """What is due, over restarts."""

    def __init__(self, config: Config) -> None:
        self.entries = entries(config)
        self.file = config.own_folder / "schedule.json"

    def due(self, now: datetime) -> list[Due]:
        """What is to be done; `now` has a time zone. Raises ConfigError when the file is damaged."""
        if not self.entries:
            return []
        kept = self._read()
        known = {what: each for what, each in kept.items() if each.until <= now + FAR_AHEAD}
        old = [each for each in known.values() if each.entry in self.entries]
        fresh = {each.what: SeenTo(each, now) for each in self.entries if each not in {one.entry for one in old}}
        if fresh:
            self._write(kept | fresh)
        return [due for each in old if (due := find_due(each.entry, each.until, now))]

    def done(self, due: Due) -> None:
        """It is not due again."""
        self._write(self._read() | {due.entry.what: SeenTo(due.entry, due.seen)})

    def _read(self) -> dict[What, SeenTo]:
        try:
            kept = json.loads(self.file.read_bytes())["done"]
            return {what: _seen_to(what, each) for what, each in kept.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(
                f"{self.file} is not readable", hint="delete it: the schedule then begins with the present"
            ) from None

    def _write(self, kept: Mapping[What, SeenTo]) -> None:
        done = {
            what: {"cron": each.entry.cron, "timezone": each.entry.timezone, "until": _text(each.until)}
            for what, each in kept.items()
        }
        write_whole(self.file, json.dumps({"schema": 1, "done": done}).encode())


def _seen_to(what: What, kept: Mapping[str, str]) -> SeenTo:
    until = datetime.strptime(kept["until"], FORMAT).replace(tzinfo=UTC)
    return SeenTo(Entry(what, kept["cron"], kept["timezone"]), until)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(FORMAT)
