"""What windows lead to: which causes fail, which alarms begin and end, what is to be reported. Pure: no clock, no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pipelines.config.monitoring_sections import Monitoring
from pipelines.monitor.state import (
    Channel,
    Item,
    ItemKind,
    MonitorState,
    Notification,
    Numbered,
    from_states,
    later_of,
    moment,
    text_of,
    to_states,
)
from registry.files import sha256_bytes
from registry.records.monitoring import Alarm, Health, Silence
from retraining.monitoring.alarms import Notice, Patience, after_window

MOST_DONE = 50
"""Sentences about what was done about one alarm; of more, the first and the newest ones."""


def patience(settings: Monitoring) -> Patience:
    """How soon people are written to, and how often, as `[monitoring]` says."""
    return Patience(settings.windows, timedelta(hours=settings.cool_down_hours), timedelta(days=settings.reminder_days))


def decide(
    state: MonitorState, found: Sequence[Health], settings: Monitoring, silences: Iterable[Silence], now: str
) -> MonitorState:
    """The state after these windows, the oldest first, with at most one more notification pending, which has all they
    give rise to; `now` is when."""
    silenced = {each.cause: moment(each.until) for each in silences}
    items: dict[int, list[Item]] = {}
    for health in found:
        state, notices = _after(state, health, settings, silenced)
        for notice in notices:
            state, item = _with_alarm(state, notice, health, now)
            if item:
                items.setdefault(item.number, []).append(item)
    reported = tuple(each for number in sorted(items) for each in _merged(items[number]))
    if not reported:
        return state
    channels: tuple[Channel, ...] = ("mail", "webhook") if settings.webhook else ("mail",)
    window = found[-1].window
    notification = Notification(_id(window.until, window.release, reported), now, window, reported, channels)
    return replace(state, pending=(*state.pending, notification))


def _after(
    state: MonitorState, health: Health, settings: Monitoring, silenced: Mapping[str, datetime]
) -> tuple[MonitorState, tuple[Notice, ...]]:
    window = health.window
    failed = {each.cause for each in health.failed}
    passed = {each.cause for each in health.checks if each.outcome == "passed"} - failed
    checked = {each.cause for each in health.checks}
    earlier = {each.alarm.cause for each in state.alarms if not each.alarm.over and each.alarm.release < window.release}
    passed |= earlier - checked  # it was about a release that is not live any more, and nobody can check it again
    causes, notices = after_window(
        to_states(state.causes),
        failed,
        passed,
        moment(window.until),
        patience(settings),
        silenced,
    )
    release = str(window.release)
    positions = state.positions | {release: later_of(window.until, state.positions.get(release, ""))}
    return replace(state, causes=from_states(causes), positions=positions), notices


def _with_alarm(state: MonitorState, notice: Notice, health: Health, now: str) -> tuple[MonitorState, Item | None]:
    """The state with the alarm that the notice begins, continues or ends."""
    check = next((each for each in health.failed if each.cause == notice.cause), None)
    lasting = next((each for each in state.alarms if each.alarm.cause == notice.cause and not each.alarm.over), None)
    window = health.window
    if notice.kind == "raised" and check:
        alarm = Alarm(notice.cause, window.model, window.version, window.release, text_of(notice.since), now, check)
        made = Numbered(state.next_alarm, with_done(alarm, now, "raised"))
        after = replace(state, next_alarm=state.next_alarm + 1, alarms=(*state.alarms, made))
        return after, Item("raised", made.number, made.alarm, check)
    if lasting is None:  # the alarm's file was removed by hand, and the state with it
        return state, None
    kind: ItemKind = "over" if notice.kind == "over" else "reminder"
    alarm = with_done(lasting.alarm, now, "over" if kind == "over" else "reminded")
    if kind == "over":
        alarm = replace(alarm, over=window.until)
    after = replace(
        state, alarms=tuple(replace(each, alarm=alarm) if each is lasting else each for each in state.alarms)
    )
    return after, Item(kind, lasting.number, alarm, check or lasting.alarm.check)


def _merged(items: Sequence[Item]) -> Iterator[Item]:
    """What several windows say of one alarm, as one item."""
    first, last = items[0], items[-1]
    if first.kind == "raised":
        yield replace(last, kind="brief" if last.kind == "over" else "raised")
    else:
        yield last


def with_done(alarm: Alarm, at: str, sentence: str) -> Alarm:
    """The alarm with what was done about it."""
    done = (*alarm.done, f"{at} {sentence}")
    if len(done) > MOST_DONE:
        done = (*done[:5], *done[5 - MOST_DONE :])
    return replace(alarm, done=done)


def _id(until: str, release: int, items: Sequence[Item]) -> str:
    what = " ".join(f"{each.kind} {each.number}" for each in items)
    return f"{stamp(until, release)}-{sha256_bytes(what.encode())[:8]}"


def stamp(until: str, release: int) -> str:
    """What the record of a window is called: `20261130T121500Z-r4`."""
    return f"{moment(until):%Y%m%dT%H%M%SZ}-r{release}"


def open_and_heard(state: MonitorState, silences: Iterable[Silence], now: str) -> tuple[Numbered, ...]:
    """The alarms that last and that nobody has silenced: what the exit code is about."""
    silent = {each.cause for each in silences if moment(each.until) > moment(now)}
    return tuple(each for each in state.alarms if not each.alarm.over and each.alarm.cause not in silent)
