"""The newest window in plain words: is something wrong, since when, and what is known about it. Pure, over the monitor's records."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from pipelines.console.paths import without_folders
from pipelines.monitor import words
from pipelines.monitor.state import MonitorState, Numbered, moment
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.records.monitoring import Check, Health

LATE = 4
"""After so many windows without a look, nobody may be looking any more."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What people read first."""

    tone: str
    """good, warn, bad or plain."""
    headline: str
    sentences: tuple[str, ...] = ()


def judgement_of(newest: Health | None, state: MonitorState, silenced: Collection[str]) -> Judgement:
    """Of the newest window and the alarms that last; `silenced`: causes."""
    if newest is None:
        return Judgement(
            "plain",
            "Nothing has been checked yet",
            ("The monitor checks each window of predictions, and shows it here as soon as the first is complete.",),
        )
    lasting = [each for each in state.alarms if not each.alarm.over]
    heard = [each for each in lasting if each.alarm.cause not in silenced]
    failed = newest.failed
    count = f"{len(failed)} of {len(newest.checks)} checks of the newest window failed"
    if heard:
        also = _beside([each for each in failed if each.cause not in {one.alarm.cause for one in lasting}])
        return Judgement("bad", f"Something is wrong: {_alarms(len(heard))}", (*map(_of_alarm, heard), *also))
    if lasting:
        return Judgement(
            "warn", f"{_alarms(len(lasting))}, and silenced: this was expected", tuple(map(_of_alarm, lasting))
        )
    if failed:
        return Judgement(
            "warn", f"{count}; an alarm comes when that lasts", tuple(_of_check(each) for each in failed[:10])
        )
    unknown = sum(each.outcome == "unknown" for each in newest.checks)
    few = (f"Of {unknown} there was too little to go by.",) if unknown else ()
    return Judgement("good", f"All is well: {len(newest.checks)} checks of the newest window, and none failed", few)


def lateness(state: MonitorState, window_minutes: float, now: datetime) -> str:
    """A sentence when the monitor has not looked for long; empty when it has, or never did."""
    if not state.looked or now - moment(state.looked) <= timedelta(minutes=max(LATE * window_minutes, 60)):
        return ""
    return (
        f"The monitor last looked at {state.looked.replace('T', ' ').replace('Z', ' UTC')}, which is long ago: what is shown here is old. "
        "It runs as `trainyard monitor`, by the schedule of `trainyard watch`, or as a Jenkins job."
    )


def public(text: str, limit: int = 500) -> str:
    """A sentence of a record without the folders of this machine."""
    return clean(without_folders(clean(text, limit * 2)), limit)


def _alarms(count: int) -> str:
    return f"{count} alarm{'s are' if count > 1 else ' is'} open"


def _of_alarm(each: Numbered) -> str:
    return public(
        f"{words.upper(words.headline(each.alarm.check))}, {words.since(each.alarm)}. {words.in_a_sentence(each.alarm.check)}"
    )


def _of_check(check: Check) -> str:
    return public(f"{words.upper(words.headline(check))}. {words.in_a_sentence(check)}")


def _beside(failed: Sequence[Check]) -> tuple[str, ...]:
    return (f"{len(failed)} more checks of the newest window failed, without an alarm yet.",) if failed else ()
