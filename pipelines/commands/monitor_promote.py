"""What follows a retraining that `trainyard monitor` has started, once it has ended: a promotion, where the settings let a machine
decide, and the notice about it. By whoever has the store alone.

The order makes it safe to repeat: `state.json` has that the run has ended, then the registry may change, then `state.json` has
the notice and that all is over. A promotion of what is live already changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from pipelines.commands.run import say
from pipelines.config.schema import Config
from pipelines.monitor.retrain import NOT_PROMOTED, PROMOTED
from pipelines.monitor.state import Asked, moment
from pipelines.monitor.store import MonitorStore
from pipelines.runs import StepRecord
from pipelines.text.clean import clean
from registry.errors import PipelineError, TryAgain
from registry.records import utc_now
from registry.records.monitoring import Alarm

MOST = 500
"""Characters of an error."""


def after_run(config: Config, store: MonitorStore, asked: Asked, record: StepRecord) -> None:
    """Note how the run has ended, and promote the version that it has accepted, if the settings say so."""
    note_once(store, asked.number, f"run {asked.run} has ended: {record.step}: {record.note}")
    if not config.monitoring.auto_promote or (record.step, record.outcome) != ("accept", "done"):
        is_over(store, asked)
        return
    asked = replace(asked, ended=True)
    store.save(replace(store.state(), asked=asked))
    promote_after(config, store, asked)


def promote_after(config: Config, store: MonitorStore, asked: Asked) -> None:
    """Promote what the run has made, and have it reported. What may succeed later is tried again by the next call."""
    if not config.monitoring.auto_promote:  # set back meanwhile
        is_over(store, asked)
    elif sentence := _promoted(config, store, asked):
        _report(config, store, asked, note_once(store, asked.number, sentence))


def note_once(store: MonitorStore, number: int, sentence: str) -> Alarm:
    """Add it to what was done about the alarm, unless a monitor that was killed has done so."""
    lasting = next((each.alarm for each in store.state().alarms if each.number == number), None)
    alarm = lasting or store.alarm(number)
    return alarm if any(each.endswith(f" {sentence}") for each in alarm.done) else store.record(number, sentence)


def is_over(store: MonitorStore, asked: Asked) -> None:
    """Nothing more follows from the alarm."""
    store.save(replace(store.state(), asked=replace(asked, over=True)))


def _promoted(config: Config, store: MonitorStore, asked: Asked) -> str:
    """The sentence about it; empty when it is to be tried again by the next call."""
    from pipelines.commands.promote import login, track
    from pipelines.promotion.by_monitor import Occasion, promote_by_monitor
    from pipelines.trust import open_registry
    from registry import candidates

    days = config.approval.valid_days
    late = moment(utc_now()) > moment(asked.at) + timedelta(days=days)
    try:
        registry = open_registry(config)
        version = candidates.find_run(registry, config.model, asked.run)
        if version is None:
            return f"{NOT_PROMOTED} the registry has no version of run {asked.run}"
        why = f"run {asked.run} after alarm {asked.number}, {store.alarm(asked.number).cause}"
        too_late = f"its retraining was started at {asked.at}, more than {days:g} days ago" if late else ""
        found = promote_by_monitor(registry, config, version, Occasion(clean(why, 300), login(), too_late))
    except TryAgain as error:
        if not late:
            say(f"cannot promote now: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
            return ""
        return f"{NOT_PROMOTED} {clean(str(error), MOST)}"
    except PipelineError as error:
        return f"{NOT_PROMOTED} {clean(str(error), MOST)}"
    if found.release is None:
        return f"{NOT_PROMOTED} version {version}: {clean(found.problem, MOST)}"
    track(registry, config)
    live = f"{PROMOTED} version {version} is live as release {found.release.number}, {found.release.reason}"
    return f"{live}; but: {clean(found.problem, MOST)}" if found.problem else live


def _report(config: Config, store: MonitorStore, asked: Asked, alarm: Alarm) -> None:
    from pipelines.monitor.promotion_notice import notice_of
    from pipelines.monitor.service import deliver

    state = store.state()
    notice = notice_of(asked, alarm, utc_now(), webhook=bool(config.monitoring.webhook))
    store.save(replace(state, asked=replace(asked, over=True), pending=(*state.pending, notice)))
    for problem in deliver(config, store):
        say(problem)
