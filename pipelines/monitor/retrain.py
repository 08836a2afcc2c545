"""Which alarm is followed by a retraining, with `[monitoring] on_alarm = "retrain"`. Pure: no clock, no files.

What is decided is in `state.json` before anybody is written to and before anything starts. The run's id is made from the alarm:
whoever starts it after a kill finds the run that has begun.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from pipelines.config.monitoring_sections import Monitoring
from pipelines.monitor.decide import with_done
from pipelines.monitor.state import Asked, AskedByPerson, MonitorState, Numbered, moment
from pipelines.runs import run_of
from pipelines.text.clean import clean
from registry.records.monitoring import Alarm

STARTS = timedelta(minutes=2)
"""After so long the run that a person has asked for is at work, or could not be started."""
KINDS = ("drift", "decay")
"""Of checks. A slow API is not helped by another model."""
STARTED, NOT_STARTED = "retraining:", "no retraining:"
PROMOTED, NOT_PROMOTED = "promotion:", "no promotion:"
"""How the sentences about it begin in what was done about an alarm."""


def planned(
    state: MonitorState,
    settings: Monitoring,
    busy: str,
    silenced: Collection[str],
    now: str,
    by_person: AskedByPerson | None = None,
) -> MonitorState:
    """The state with what follows from its alarms: at most one retraining, and a sentence for each alarm about it.

    `busy`: the run that is at work, empty for none. `silenced`: causes that somebody has said are expected. `by_person`: the newest
    retraining that a person has asked for.
    """
    if settings.on_alarm != "retrain":
        return state
    for each in state.alarms:
        alarm = each.alarm
        if alarm.over or alarm.run or alarm.check.kind not in KINDS:
            continue
        prevented = (
            obstacle(state, settings, busy, now, by_person) if alarm.cause not in silenced else "its cause is silenced"
        )
        if prevented:
            state = _noted(state, each, f"{NOT_STARTED} {prevented}", now)
            continue
        asked = asked_by(each, now)
        sentence = f"{STARTED} run {asked.run} of the dataset's pipeline"
        state = _noted(replace(state, asked=asked), Numbered(each.number, replace(alarm, run=asked.run)), sentence, now)
    return state


def obstacle(
    state: MonitorState, settings: Monitoring, busy: str, now: str, by_person: AskedByPerson | None = None
) -> str:
    """Why no retraining may be asked for now, whoever asks; empty when one may."""
    cool_down = timedelta(hours=settings.cool_down_hours)
    if by_person and moment(now) < moment(by_person.at) + max(cool_down, STARTS):
        why = f"and the cool-down is {settings.cool_down_hours:g} hours" if cool_down > STARTS else "and is starting"
        return f"run {by_person.run} was asked for at {by_person.at} by {by_person.by}, {why}"
    last = state.asked
    if last and last.ended and not last.over:
        return f"what run {last.run}, for alarm {last.number}, has made is not promoted yet"
    if last and not last.over:
        return f"run {last.run}, for alarm {last.number}, has not ended yet"
    if last and moment(now) < moment(last.at) + cool_down:
        return f"run {last.run} was started at {last.at}, for alarm {last.number}, and the cool-down is {settings.cool_down_hours:g} hours"
    return f"run {busy} is at work" if busy else ""


def asked_by(each: Numbered, now: str) -> Asked:
    """What an alarm asks for."""
    alarm = each.alarm
    occasion = f"alarm {each.number} of release {alarm.release}, {alarm.raised}"
    reason = clean(f"alarm {each.number}, {alarm.cause}, since {alarm.since}: {alarm.check.reason}", 300)
    return Asked(each.number, now, run_of(alarm.model, occasion), occasion, reason)


def asked_by_person(who: str, reason: str, model: str, now: str) -> AskedByPerson:
    """What a person asks for: what an alarm would have."""
    occasion = f"asked for by {clean(who, 200)}, {now}"
    return AskedByPerson(now, clean(who, 200), run_of(model, occasion), occasion, clean(reason, 300))


def asked_before(alarms: Sequence[Numbered]) -> Asked | None:
    """What was asked for last, as far as the records of the alarms know it."""
    asked = [each for each in alarms if each.alarm.run]
    return asked_by(asked[-1], asked[-1].alarm.raised) if asked else None


def sentence(alarm: Alarm) -> str:
    """The newest sentence about a retraining among what was done; empty without one."""
    return _newest(alarm, STARTED, NOT_STARTED)


def promotion(alarm: Alarm) -> str:
    """The newest sentence about a promotion by the monitor among what was done; empty without one."""
    return _newest(alarm, PROMOTED, NOT_PROMOTED)


def _newest(alarm: Alarm, *beginnings: str) -> str:
    said = [each.partition(" ")[2] for each in alarm.done]
    return next((each for each in reversed(said) if each.startswith(beginnings)), "")


def _noted(state: MonitorState, each: Numbered, said: str, now: str) -> MonitorState:
    """The state with the sentence, unless it is the newest one about this already; in what is to be reported, too."""
    if sentence(each.alarm) == said:
        return state
    alarm = with_done(each.alarm, now, said)
    alarms = tuple(Numbered(one.number, alarm) if one.number == each.number else one for one in state.alarms)
    pending = tuple(
        replace(
            notice,
            items=tuple(replace(item, alarm=alarm) if item.number == each.number else item for item in notice.items),
        )
        for notice in state.pending
    )
    return replace(state, alarms=alarms, pending=pending)
