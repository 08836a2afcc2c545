"""One call of the monitor: read what is new, decide, keep it, write to people. What a kill interrupts, the next call resumes.

decide     health records are written, then `state.json` with what is to be reported: from then on it counts
notices    each one is put into the outbox of mails and that of the webhook, under its id; then `state.json` forgets it
send       what waits in both outboxes, also of earlier calls
show       report, metrics: made from the rest
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.monitor import decide, retrain, webhook
from pipelines.monitor.metrics import write_metrics
from pipelines.monitor.notices import compose, document
from pipelines.monitor.outcome import Outcome
from pipelines.monitor.state import AskedByPerson, Channel, MonitorState, Notification, moment
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.trend import extended
from pipelines.old_runs import known
from registry.errors import PipelineError, TryAgain
from registry.records import utc_now
from registry.records.monitoring import Looked, Silence

Look = Callable[[Config, dict[str, str], str, str], Looked]
"""(config, positions, until, since): every complete window after the positions."""


def monitor_once(config: Config, look: Look, since: str = "") -> Outcome:
    """One call; `since`: leave out what is older. Raises TryAgain when another monitor runs or the clock was set back, and what
    `look` raises; by then, what had been decided before is sent."""
    store = MonitorStore(config)
    with store.alone():
        return call(config, store, look, since)


def call(config: Config, store: MonitorStore, look: Look, since: str = "") -> Outcome:
    """As `monitor_once`, by who has the store alone."""
    state, before = _put_into_outboxes(config, store, store.begun())  # of a call that was killed
    store.remove_undecided(state)
    _write_alarms(store, state)
    now = utc_now()
    state = _in_the_past(state, config, store, now, since)
    try:
        looked = look(config, dict(state.positions), now, since)
    except PipelineError:
        _send(config, store)
        raise
    first_new = state.next_alarm
    known_over = {each.number for each in state.alarms if each.alarm.over}
    state = _decided(config, store, state, looked, now)
    over = tuple(each for each in state.alarms if each.alarm.over and each.number not in known_over)
    state, problems = _put_into_outboxes(config, store, state)
    problems = (*before, *problems, *_send(config, store))
    silences = store.silences()
    newest = looked.health[-1] if looked.health else store.newest()
    lasting = tuple(each for each in state.alarms if not each.alarm.over)
    outcome = Outcome(
        looked.health,
        newest,
        tuple(each for each in lasting if each.number >= first_new),
        over,
        lasting,
        decide.open_and_heard(state, silences, now),
        problems,
    )
    return replace(outcome, problems=(*problems, *_show(config, store, outcome, state, silences)))


def deliver(config: Config, store: MonitorStore) -> tuple[str, ...]:
    """Put what is to be reported into the outboxes, and send what waits there; gives what prevented it."""
    _, problems = _put_into_outboxes(config, store, store.state())
    return (*problems, *_send(config, store))


def _in_the_past(state: MonitorState, config: Config, store: MonitorStore, now: str, since: str) -> MonitorState:
    """The state, when no window of it ends later than now; what `since` is before is forgotten. Raises TryAgain."""
    ahead = {release: end for release, end in state.positions.items() if moment(end) > moment(now)}
    if ahead and since and moment(since) <= moment(now):
        return replace(state, positions={**state.positions, **dict.fromkeys(ahead, since)})
    slack, newest = timedelta(minutes=config.monitoring.window_minutes), state.position()
    if ahead and moment(newest) - moment(now) > slack:
        raise TryAgain(
            f"the clock says {now}, and the newest window ended at {newest}: nothing is checked before then",
            hint=f"was the clock set back? Correct it; or, if it is right now: trainyard monitor --once --since {_last_before(store, now)}",
        )
    return state


def _last_before(store: MonitorStore, now: str) -> str:
    """The end of the newest window that a clock that says `now` can have seen: what came after it may not have been checked. Without
    one, `now`."""
    latest = decide.stamp(now, 0).partition("-r")[0]
    earlier = [each for each in store.health_ids() if each.partition("-r")[0] <= latest]
    return store.health(earlier[-1]).window.until if earlier else now


def _decided(config: Config, store: MonitorStore, state: MonitorState, looked: Looked, now: str) -> MonitorState:
    """The state after these windows, as it is kept from now on."""
    for health in looked.health:
        store.put_health(health)
    if looked.health:
        charts = store.charts()
        histograms = looked.histograms or charts.histograms
        store.save_charts(replace(charts, histograms=histograms, points=extended(charts.points, looked.health)))
    silences = store.silences()
    state = replace(decide.decide(state, looked.health, config.monitoring, silences, now), looked=now)
    if state.alarms and config.monitoring.on_alarm == "retrain":
        silenced = [each.cause for each in silences]
        with store.asking():
            state = retrain.planned(
                state, config.monitoring, run_at_work(config), silenced, now, store.asked_by_person()
            )
            store.save(state)
    else:
        store.save(state)
    store.bound()
    return state


def ask_for_retraining(config: Config, store: MonitorStore, by: str, reason: str) -> AskedByPerson:
    """Note that a person wants what `[monitoring] on_alarm = "retrain"` would start, and give what is to be started by whoever
    asks: once, as the next one has to wait. Raises TryAgain while another one runs, or is too recent."""
    now = utc_now()
    with store.asking():
        why = retrain.obstacle(store.state(), config.monitoring, run_at_work(config), now, store.asked_by_person())
        if why:
            raise TryAgain(f"no retraining now: {why}", hint="`trainyard runs` shows what it does")
        asked = retrain.asked_by_person(by, reason, config.model, now)
        store.save_asked_by_person(asked)
    return asked


def run_at_work(config: Config) -> str:
    """The id of a run that trains, or may, at this moment; empty without one."""
    found = (each.run.id for each in known(config.runs) if each.at_work and each.run.trigger != "tests")
    return next(found, "")


def _write_alarms(store: MonitorStore, state: MonitorState) -> None:
    for each in state.alarms:
        store.put_alarm(each)


def _put_into_outboxes(
    config: Config, store: MonitorStore, state: MonitorState
) -> tuple[MonitorState, tuple[str, ...]]:
    """The state without what is in every outbox now; and what prevented the rest. One channel does not hold up another."""
    problems: list[str] = []
    pending: list[Notification] = []
    alarms = state.alarms
    for notice in state.pending:
        left: list[Channel] = []
        for channel in notice.left:
            try:
                said = _put(config, store, notice, channel)
            except (PipelineError, OSError) as error:
                problems.append(f"no {channel}: {error}")
                left.append(channel)
                continue
            numbers = {each.number for each in notice.items}
            alarms = tuple(
                replace(each, alarm=decide.with_done(each.alarm, utc_now(), said)) if each.number in numbers else each
                for each in alarms
            )
        if left:
            pending.append(replace(notice, left=tuple(left)))
    if state.pending:
        state = replace(state, pending=tuple(pending), alarms=alarms)
        store.save(state)
    _write_alarms(store, state)
    if any(each.alarm.over for each in state.alarms) and not state.pending:
        state = replace(state, alarms=tuple(each for each in state.alarms if not each.alarm.over))
        store.save(state)
    return state, tuple(problems)


def _put(config: Config, store: MonitorStore, notice: Notification, channel: Channel) -> str:
    """Into the channel's outbox; gives the sentence for the alarm's record."""
    if channel == "mail":
        from pipelines.mail.outbox import post

        post(compose(config, notice, report_page(store)), config.own_folder / "outbox")
        return f"mail to {', '.join(config.mail.to)}"
    dropped = webhook.put(store.folder, notice.id, document(config, notice))
    more = f"; {dropped} older ones were dropped, as too many wait" if dropped else ""
    return f"queued for the webhook{more}"


def _send(config: Config, store: MonitorStore) -> tuple[str, ...]:
    return (
        *_send_mails(config),
        *webhook.send(store.folder, config.monitoring.webhook, secret("MONITOR_TOKEN", os.environ)),
    )


def _send_mails(config: Config) -> Iterator[str]:
    from pipelines.mail.outbox import deliver

    outbox = config.own_folder / "outbox"
    if not (outbox / "pending").is_dir():
        return
    try:
        delivery = deliver(outbox, config.mail, secret("SMTP_PASSWORD", os.environ))
    except (PipelineError, OSError) as error:
        yield f"no mail is sent: {error}"
        return
    yield from delivery.reasons


def _show(
    config: Config, store: MonitorStore, outcome: Outcome, state: MonitorState, silences: Sequence[Silence]
) -> Iterator[str]:
    """Write metrics and report; yields what prevented it. Neither decides anything."""
    try:
        write_metrics(store.folder / "metrics.prom", config.model, state, outcome.newest)
        if outcome.newest and (outcome.found or not report_page(store).exists()):
            from pipelines.monitor.report import write_report

            write_report(config, store, outcome, silences)
    except (PipelineError, OSError) as error:
        yield f"no report: {error}"
    except Exception as bug:  # noqa: BLE001  (people were written to, and must be the next time)
        traceback.print_exc()
        yield f"no report, a bug in Trainyard: {bug!r}"


def report_page(store: MonitorStore) -> Path:
    """Of the newest window."""
    return store.folder / "report" / "index.html"
