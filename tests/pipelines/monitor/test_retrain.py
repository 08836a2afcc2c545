"""Which alarm is followed by a retraining: at most one in a cool-down, none while one runs, and always with a reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_parts import config, decay, drift, failing, health, looking, passing, service

from pipelines.config.schema import Monitoring
from pipelines.monitor.decide import decide
from pipelines.monitor.notices import compose, document
from pipelines.monitor.retrain import asked_before, asked_by, planned, sentence
from pipelines.monitor.service import monitor_once
from pipelines.monitor.state import MonitorState, text_of
from pipelines.monitor.store import MonitorStore
from pipelines.runs import run_of

RETRAIN = Monitoring(on_alarm="retrain", cool_down_hours=24)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def at(hours):
    return text_of(NOON + timedelta(hours=hours))


def alarmed(*checks, state=None, first=1):
    """The state after two windows in which these checks failed."""
    windows = [health(number, *checks) for number in (first, first + 1)]
    return decide(state or MonitorState(), windows, RETRAIN, (), at(0))


def said(state):
    return {each.alarm.cause: sentence(each.alarm) for each in state.alarms}


def test_an_alarm_of_drift_or_decay_asks_for_one_run_with_itself_as_the_reason():
    for check in (drift(), decay("failed", 0.8)):
        state = planned(alarmed(check), RETRAIN, "", (), at(0))
        (alarm,) = (each.alarm for each in state.alarms)
        assert state.asked.run == alarm.run == run_of("digits", state.asked.occasion)
        assert state.asked.reason.startswith(f"alarm 1, {alarm.cause}, since ")
        assert state.asked.reason.endswith(check.reason)
        assert sentence(alarm) == f"retraining: run {alarm.run} of the dataset's pipeline"


def test_it_is_decided_before_people_are_written_to_and_they_read_it(tmp_path):
    state = planned(alarmed(drift()), RETRAIN, "", (), at(0))
    (notice,) = state.pending
    mail = compose(config(tmp_path), notice, tmp_path / "index.html").get_body(("plain",)).get_content()
    assert f"Retraining: run {state.asked.run} of the dataset's pipeline." in " ".join(mail.split())
    (item,) = document(config(tmp_path), notice)["notices"]
    assert (item["run"], item["retraining"]) == (state.asked.run, sentence(notice.items[0].alarm))


def test_only_where_the_settings_say_so():
    state = alarmed(drift())
    assert planned(state, Monitoring(), "", (), at(0)) == state


def test_an_alarm_of_the_api_is_no_reason():
    state = alarmed(service("failed"))
    assert planned(state, RETRAIN, "", (), at(0)) == state


def test_two_alarms_are_one_retraining_and_the_second_says_which():
    state = planned(alarmed(drift("inputs.a"), drift("inputs.b")), RETRAIN, "", (), at(0))
    run = state.asked.run
    assert said(state) == {
        "drift inputs.a": f"retraining: run {run} of the dataset's pipeline",
        "drift inputs.b": f"no retraining: run {run}, for alarm 1, has not ended yet",
    }


def test_none_while_a_run_is_at_work_and_one_as_soon_as_it_has_ended():
    state = planned(alarmed(drift()), RETRAIN, "0123456789ab", (), at(0))
    assert said(state) == {"drift inputs.mass": "no retraining: run 0123456789ab is at work"}
    assert state.asked is None
    assert planned(state, RETRAIN, "0123456789ab", (), at(1)) == state, "the same is said once"
    assert planned(state, RETRAIN, "", (), at(1)).asked


def test_none_within_a_cool_down():
    state = planned(alarmed(drift("inputs.a")), RETRAIN, "", (), at(0))
    state = replace(state, asked=replace(state.asked, over=True))
    state = alarmed(drift("inputs.a"), drift("inputs.b"), state=state, first=3)
    early = planned(state, RETRAIN, "", (), at(23))
    assert early.asked == state.asked
    assert said(early)["drift inputs.b"].endswith("for alarm 1, and the cool-down is 24 hours")
    assert planned(early, RETRAIN, "", (), at(24)).asked.number == 2


def test_none_for_a_cause_that_somebody_expects():
    state = planned(alarmed(drift()), RETRAIN, "", ("drift inputs.mass",), at(0))
    assert (state.asked, said(state)) == (None, {"drift inputs.mass": "no retraining: its cause is silenced"})


def test_an_alarm_that_lasts_after_its_retraining_asks_for_no_other():
    state = planned(alarmed(drift()), RETRAIN, "", (), at(0))
    state = replace(state, asked=replace(state.asked, over=True))
    assert planned(state, RETRAIN, "", (), at(1000)) == state


def test_what_was_asked_for_is_known_from_the_alarms_alone():
    state = planned(alarmed(drift()), RETRAIN, "", (), at(0))
    assert asked_before(state.alarms) == asked_by(state.alarms[0], at(0)) == state.asked
    assert asked_before(alarmed(drift()).alarms) is None


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abc")), st.booleans(), st.booleans(), st.floats(0.1, 30)),
        min_size=2,
        max_size=25,
    )
)
def test_whatever_comes_runs_are_a_cool_down_apart_and_never_two_at_once(windows):
    state, hours, asked = MonitorState(), 0.0, []
    for number, (columns, busy, ends, pause) in enumerate(windows, start=1):
        hours += pause
        if ends and state.asked:
            state = replace(state, asked=replace(state.asked, over=True))
        before = state.asked
        checks = [drift(f"inputs.{each}", "failed" if each in columns else "passed") for each in "abc"]
        state = decide(state, [health(number, *checks)], RETRAIN, (), at(hours))
        state = planned(state, RETRAIN, "0123456789ab" if busy else "", (), at(hours))
        if state.asked != before:
            assert not busy
            assert before is None or before.over
            assert not asked or hours - asked[-1] >= 24 - 1 / 3600
            asked.append(hours)
    runs = [each.alarm.run for each in state.alarms if each.alarm.run]
    assert len(runs) == len(set(runs))


def test_the_state_keeps_it_over_calls_and_without_the_state_the_alarms_do(tmp_path):
    settings = config(tmp_path, on_alarm="retrain")
    monitor_once(settings, looking(failing(1), failing(2)))
    store = MonitorStore(settings)
    asked = store.state().asked
    assert store.alarm(1).run == asked.run
    (store.folder / "state.json").unlink()
    assert store.state().asked == asked
    monitor_once(settings, looking(passing(3)))
    assert MonitorStore(settings).state().asked == asked, "announced, and so it will be done"


@pytest.mark.parametrize("on_alarm", ["tell", "retrain"])
def test_a_state_of_before_is_read(tmp_path, on_alarm):
    """Written by a version of Trainyard that did not know of retrainings."""
    settings = config(tmp_path, on_alarm="tell")
    monitor_once(settings, looking(failing(1), failing(2)))
    settings = config(tmp_path, on_alarm=on_alarm)
    monitor_once(settings, looking(failing(3)))
    assert bool(MonitorStore(settings).state().asked) == (on_alarm == "retrain")
