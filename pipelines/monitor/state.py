"""What the monitor remembers between two windows, as it is kept in `state.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Literal

from registry.dataclass import dataclass
from registry.records.monitoring import Alarm, Check, Window
from retraining.monitoring.alarms import CauseState

ItemKind = Literal["raised", "reminder", "over", "brief", "promoted", "not promoted"]
"""brief: raised and over within one call of the monitor, which had several windows to catch up with. promoted, not promoted: what
`[monitoring] auto_promote` came to, after the alarm's retraining."""
Channel = Literal["mail", "webhook"]


@dataclass(frozen=True, slots=True)
class Cause:
    """A `CauseState` as JSON has it: times as text, empty where there is none."""

    failed: int = 0
    since: str = ""
    raised: bool = False
    reported: str = ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """An alarm and its number, which is its file's name."""

    number: int
    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Item:
    """One cause in a notice."""

    kind: ItemKind
    number: int
    """Of the alarm."""
    alarm: Alarm
    check: Check
    """As it is now; of what is over, as it was when it was raised."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What people are written to about, once: all that one call of the monitor has to report."""

    id: str
    """Another one for each; a file may bear it as its name."""
    at: str
    window: Window
    """The newest."""
    items: tuple[Item, ...]
    left: tuple[Channel, ...]
    """Into whose outbox it has not been put yet."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The newest retraining that followed an alarm."""

    number: int
    """Of the alarm."""
    at: str
    run: str
    """The id that the run has, or will have."""
    occasion: str
    """What the run is the only one for."""
    reason: str
    """For its record and its mail."""
    over: bool = False
    """Whether the run has ended, or another program has begun it. Until then each call of the monitor starts or resumes it."""
    ended: bool = False
    """Whether the run has ended, and what it made may be promoted yet."""


@dataclass(frozen=True, slots=True)
class AskedByPerson:
    """The newest retraining that somebody has asked for, as an alarm would have."""

    at: str
    by: str
    run: str
    """The id that the run has, or will have."""
    occasion: str
    reason: str


@dataclass(frozen=True, slots=True)
class MonitorState:
    """All that decides what the next window leads to."""

    positions: dict[str, str] = field(default_factory=dict)
    """Release → the end of its last window."""
    causes: dict[str, Cause] = field(default_factory=dict)
    alarms: tuple[Numbered, ...] = ()
    """Those that last, and those whose file is not written yet."""
    next_alarm: int = 1
    pending: tuple[Notification, ...] = ()
    """What has been decided, and is not in every outbox yet."""
    looked: str = ""
    """When the monitor was last done with a call."""
    asked: Asked | None = None

    def position(self) -> str:
        """The end of the newest window; empty before the first."""
        return max(self.positions.values(), key=moment, default="")


def moment(text: str) -> datetime:
    """A time as records have it."""
    return datetime.fromisoformat(text)


def later_of(one: str, other: str) -> str:
    """The later of two times, of which one may be missing; with or without milliseconds."""
    return max((each for each in (one, other) if each), key=moment, default="")


def text_of(at: datetime) -> str:
    """As `utc_now` writes it."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def to_states(causes: Mapping[str, Cause]) -> dict[str, CauseState]:
    """For `after_window`."""
    return {
        name: CauseState(
            each.failed,
            moment(each.since) if each.since else None,
            each.raised,
            moment(each.reported) if each.reported else None,
        )
        for name, each in causes.items()
    }


def from_states(states: Mapping[str, CauseState]) -> dict[str, Cause]:
    """Back again."""
    return {
        name: Cause(
            each.failed,
            text_of(each.since) if each.since else "",
            each.raised,
            text_of(each.reported) if each.reported else "",
        )
        for name, each in states.items()
    }


def remade(
    windows: Iterable[tuple[int, str]], alarms: Iterable[Numbered], next_alarm: int, failed: int
) -> MonitorState:
    """The state as far as the other files know it, when `state.json` is gone: nothing is reported twice.

    `windows`: release and end of each that was kept. `failed`: in how many windows in a row a cause fails that was raised.
    """
    positions: dict[str, str] = {}
    for release, until in windows:
        positions[str(release)] = later_of(until, positions.get(str(release), ""))
    lasting = tuple(each for each in alarms if not each.alarm.over)
    causes = {each.alarm.cause: Cause(failed, each.alarm.since, True, each.alarm.raised) for each in lasting}
    return MonitorState(positions, causes, lasting, next_alarm)
