"""What windows lead to: alarms that begin, last and end, and at most one notice per call, whatever was found."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_parts import at, decay, drift, failing, health, passing, service

from pipelines.config.schema import Monitoring
from pipelines.monitor.decide import MOST_DONE, decide, open_and_heard, stamp, with_done
from pipelines.monitor.state import MonitorState, Numbered, later_of, remade
from registry.records.monitoring import Alarm, Silence

SETTINGS = Monitoring()
NOW = "2026-11-30T20:00:00Z"


def after(*found, state=None, settings=SETTINGS, silences=()):
    return decide(state or MonitorState(), found, settings, silences, NOW)


def kinds(state):
    """Of the newest notice, by cause."""
    return {each.alarm.cause: each.kind for each in state.pending[-1].items} if state.pending else {}


def test_two_failed_windows_in_a_row_begin_an_alarm():
    assert after(failing(1)).pending == ()
    state = after(failing(1), failing(2))
    assert kinds(state) == {"drift inputs.mass": "raised"}
    (found,) = state.alarms
    assert (found.number, found.alarm.since, found.alarm.release, found.alarm.over) == (1, at(1), 4, "")
    assert found.alarm.check == drift()
    assert state.positions == {"4": at(2)}


def test_it_does_not_matter_how_many_calls_the_windows_come_in():
    windows = [failing(1), failing(2), passing(3), failing(4), failing(5)]
    together, apart = after(*windows), MonitorState()
    for each in windows:
        apart = after(each, state=apart)
    assert (together.causes, together.positions, together.next_alarm) == (
        apart.causes,
        apart.positions,
        apart.next_alarm,
    )
    assert len(together.pending) == 1


def test_all_causes_of_a_call_are_in_one_notice():
    windows = [health(n, drift("inputs.a"), drift("inputs.b"), decay("failed", 0.8), service("failed")) for n in (1, 2)]
    state = after(*windows)
    assert len(state.pending) == 1
    assert kinds(state) == dict.fromkeys(
        ["decay accuracy", "drift inputs.a", "drift inputs.b", "service latency"], "raised"
    )


def test_two_failed_checks_of_a_column_are_one_cause():
    both = [health(n, drift(), drift(what="missing")) for n in (1, 2)]
    assert len(after(*both).alarms) == 1
    one = [health(n, drift(), drift(outcome="passed", what="missing")) for n in (1, 2)]
    assert kinds(after(*one)) == {"drift inputs.mass": "raised"}


def test_an_end_is_reported_with_when_it_was():
    state = replace(after(failing(1), failing(2)), pending=())
    state = after(passing(3), state=state)
    assert kinds(state) == {"drift inputs.mass": "over"}
    assert state.alarms[0].alarm.over == at(3)
    assert state.alarms[0].alarm.done[-1] == f"{NOW} over"


def test_what_came_and_went_while_several_windows_were_caught_up_with_is_reported_once():
    assert kinds(after(failing(1), failing(2), passing(3))) == {"drift inputs.mass": "brief"}


def test_an_alarm_that_lasts_is_reported_again_after_the_reminders_time():
    settings = Monitoring(reminder_days=0.1)
    state = after(*(failing(n) for n in range(1, 12)), settings=settings)
    assert kinds(state) == {"drift inputs.mass": "raised"}
    state = after(failing(12), state=replace(state, pending=()), settings=settings)
    assert kinds(state) == {"drift inputs.mass": "reminder"}
    assert [each.partition(" ")[2] for each in state.alarms[0].alarm.done] == ["raised", "reminded"]


def test_too_few_rows_neither_begin_nor_end_an_alarm():
    unknown = [health(n, drift(outcome="unknown")) for n in range(2, 5)]
    assert kinds(after(failing(1), *unknown, failing(5))) == {"drift inputs.mass": "raised"}
    state = replace(after(failing(1), failing(2)), pending=())
    assert after(health(3, drift(outcome="unknown")), state=state).pending == ()


def test_a_silenced_cause_is_followed_and_not_reported_until_its_silence_ends():
    silence = Silence("drift inputs.mass", at(4), "ada")
    state = after(failing(1), failing(2), failing(3), silences=[silence])
    assert state.pending == ()
    assert state.causes["drift inputs.mass"].failed == 3
    assert kinds(after(failing(4), state=state, silences=[silence])) == {"drift inputs.mass": "raised"}


def test_an_open_alarm_that_is_silenced_does_not_count_for_the_exit_code():
    state = after(failing(1), failing(2))
    assert [each.number for each in open_and_heard(state, (), NOW)] == [1]
    assert open_and_heard(state, [Silence("drift inputs.mass", "2026-12-24T00:00:00Z", "ada")], NOW) == ()
    assert len(open_and_heard(state, [Silence("drift inputs.mass", "2026-11-01T00:00:00Z", "ada")], NOW)) == 1


def test_an_alarm_about_a_release_that_is_not_live_any_more_ends_when_its_column_does():
    state = replace(after(failing(1), failing(2)), pending=())
    kept = after(health(3, drift("inputs.other", "passed"), release=4), state=state)
    assert kept.pending == ()
    gone = after(health(3, drift("inputs.other", "passed"), release=5), state=state)
    assert kinds(gone) == {"drift inputs.mass": "over"}


def test_each_release_has_a_position_of_its_own():
    state = after(passing(1), passing(2, release=5), passing(2))
    assert state.positions == {"4": at(2), "5": at(2)}
    assert state.position() == at(2)
    assert MonitorState().position() == ""


def test_only_a_webhook_that_is_set_is_left_to_be_written_to():
    assert after(failing(1), failing(2)).pending[0].left == ("mail",)
    settings = Monitoring(webhook="https://hooks.company.example/x")
    assert after(failing(1), failing(2), settings=settings).pending[0].left == ("mail", "webhook")


def test_a_clock_that_was_set_back_raises_nothing_twice():
    state = replace(after(failing(5), failing(6)), pending=())
    assert after(failing(1), failing(2), state=state).pending == ()


def test_the_state_is_made_again_from_windows_and_alarms():
    lost = after(failing(1), failing(2))
    found = remade([(4, at(1)), (4, at(2))], lost.alarms, lost.next_alarm, SETTINGS.windows)
    assert (found.positions, found.alarms, found.next_alarm) == (lost.positions, lost.alarms, 2)
    assert after(failing(3), state=found).pending == ()
    assert kinds(after(passing(3), state=found)) == {"drift inputs.mass": "over"}


def test_what_was_done_is_bounded():
    alarm = Alarm("drift x", "digits", 7, 4, NOW, NOW, drift())
    for number in range(200):
        alarm = with_done(alarm, NOW, str(number))
    assert len(alarm.done) == MOST_DONE
    assert (alarm.done[0][-2:], alarm.done[-1][-4:]) == (" 0", " 199")


@given(
    st.lists(st.tuples(st.sampled_from(["failed", "passed", "unknown"]), st.booleans()), max_size=40),
    st.integers(1, 3),
)
def test_whatever_comes_every_alarm_is_raised_once_and_ends_once(outcomes, windows):
    settings = Monitoring(windows=windows, cool_down_hours=1.0)
    state, seen = MonitorState(), []
    for number, (outcome, silent) in enumerate(outcomes, 1):
        silences = [Silence("drift inputs.mass", at(number + 1), "ada")] if silent else []
        state = after(health(number, drift(outcome=outcome)), state=state, settings=settings, silences=silences)
        seen += [(each.number, each.kind) for notice in state.pending for each in notice.items]
        state = replace(state, pending=(), alarms=tuple(each for each in state.alarms if not each.alarm.over))
        assert all(isinstance(each, Numbered) for each in state.alarms)
    for number in range(1, state.next_alarm):
        of_alarm = [kind for each, kind in seen if each == number]
        assert of_alarm[0] == "raised"
        assert of_alarm.count("raised") == 1
        assert of_alarm.count("over") <= 1
        assert "over" not in of_alarm[:-1]
    assert len(state.alarms) == sum(each.raised for each in state.causes.values())


@pytest.mark.parametrize("count", [1, 3])
def test_the_id_of_a_notice_is_another_one_for_each(count):
    state = after(*(failing(n, f"inputs.{n % count}") for n in range(1, 3)))
    more = after(*(failing(n, "inputs.z") for n in range(3, 5)), state=state)
    ids = [each.id for each in more.pending]
    assert len(set(ids)) == len(ids)


def test_times_with_and_without_milliseconds_are_compared_as_times():
    early, late = "2026-11-30T10:00:00Z", "2026-11-30T10:00:00.500Z"
    assert later_of(early, late) == later_of(late, early) == late
    assert later_of("", early) == early
    assert MonitorState({"1": late, "2": early}).position() == late


def test_of_several_alarms_each_has_its_own_check_and_end():
    a, b = drift("inputs.a"), drift("inputs.b")
    state = replace(after(health(1, a, b), health(2, a, b)), pending=())
    assert [each.alarm.check for each in state.alarms] == [a, b]
    state = after(health(3, a, drift("inputs.b", "passed")), state=state)
    assert kinds(state) == {"drift inputs.b": "over"}
    assert [each.alarm.over for each in state.alarms] == ["", at(3)]
    assert state.pending[0].items[0].check == b


def test_one_that_is_over_and_comes_back_is_another_alarm():
    settings = Monitoring(cool_down_hours=0.0)
    state = after(failing(1), failing(2), passing(3), settings=settings)
    state = after(failing(4), failing(5), state=state, settings=settings)
    assert [(each.number, each.alarm.over) for each in state.alarms] == [(1, at(3)), (2, "")]
    state = after(passing(6), state=state, settings=settings)
    assert [(each.number, each.alarm.over) for each in state.alarms] == [(1, at(3)), (2, at(6))]


def test_a_reminder_has_the_newest_check_and_ends_nothing():
    settings = Monitoring(reminder_days=0.02)
    state = replace(after(failing(1), failing(2), settings=settings), pending=())
    worse = replace(drift(), effect=0.9)
    state = after(health(5, worse), state=state, settings=settings)
    (item,) = state.pending[0].items
    assert (item.kind, item.check, item.alarm.check, item.alarm.over) == ("reminder", worse, drift(), "")


def test_an_alarm_whose_record_is_gone_ends_without_a_word():
    state = replace(after(failing(1), failing(2)), pending=(), alarms=())
    ended = after(passing(3), state=state)
    assert (ended.pending, ended.alarms) == ((), ())


def test_a_silence_ends_at_its_very_moment():
    state = after(failing(1), failing(2))
    assert len(open_and_heard(state, [Silence("drift inputs.mass", NOW, "ada")], NOW)) == 1


def test_a_window_is_called_by_its_end_and_its_release():
    assert stamp("2026-11-30T12:15:00.000Z", 4) == "20261130T121500Z-r4"


def test_the_first_and_the_newest_sentences_about_an_alarm_are_kept():
    alarm = Alarm("drift x", "digits", 7, 4, NOW, NOW, drift(), tuple(map(str, range(50))))
    assert [each.split()[-1] for each in with_done(alarm, NOW, "50").done] == [
        *map(str, range(5)),
        *map(str, range(6, 51)),
    ]
    short = replace(alarm, done=alarm.done[:49])
    assert len(with_done(short, NOW, "49").done) == 50
