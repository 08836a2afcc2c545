"""One mail per cause and cool-down, reminders while it lasts, and one when it is over."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from retraining.monitoring.alarms import Patience, after_window, open_alarms

START = datetime(2026, 11, 30, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
PATIENCE = Patience()


def play(windows, patience=PATIENCE, silenced=None, step=QUARTER):
    """All notices of a run of windows for one cause, as (window, kind): True failed, False passed, None not checked."""
    states, found = {}, []
    for number, window in enumerate(windows):
        failed, passed = (["x"] if window is True else []), (["x"] if window is False else [])
        states, notices = after_window(states, failed, passed, START + number * step, patience, silenced or {})
        found += [(number, each.kind) for each in notices]
    return found, states


def test_one_failed_window_is_not_reported_and_two_in_a_row_are_once():
    assert play([True, False, True, False])[0] == []
    assert play([False, True, True, True, True])[0] == [(2, "raised")]


def test_a_window_with_too_few_rows_neither_confirms_nor_ends_anything():
    assert play([True, None, None, True, None, True])[0] == [(3, "raised")]


def test_an_end_is_reported_and_a_return_within_the_cool_down_is_not():
    found, _ = play([True, True, False, True, True, True])
    assert found == [(1, "raised"), (2, "over")]
    later = [True, True, False] + [False] * 100 + [True, True]
    assert play(later)[0] == [(1, "raised"), (2, "over"), (104, "raised")]


def test_one_that_comes_back_and_lasts_is_reported_when_the_cool_down_is_over():
    found, _ = play([True, True, False] + [True] * 120)
    assert found == [(1, "raised"), (2, "over"), (1 + 96, "raised")]


def test_what_lasts_is_reported_again_every_week():
    found, states = play([True] * 20, step=timedelta(days=1))
    assert found == [(1, "raised"), (8, "reminder"), (15, "reminder")]
    assert [(cause, state.since) for cause, state in open_alarms(states)] == [("x", START)]


def test_a_silenced_cause_is_followed_and_reported_when_the_silence_ends():
    until = START + 5 * QUARTER
    assert play([True] * 8, silenced={"x": until})[0] == [(5, "raised")]
    assert play([True] * 4 + [False] * 4, silenced={"x": until})[0] == []


def test_a_clock_that_was_set_back_reports_nothing_twice():
    states, _ = after_window({}, ["x"], [], START, PATIENCE, {})
    states, first = after_window(states, ["x"], [], START + QUARTER, PATIENCE, {})
    _, second = after_window(states, ["x"], [], START - timedelta(days=365), PATIENCE, {})
    assert ([each.kind for each in first], second) == (["raised"], ())


@given(st.lists(st.sampled_from([True, False, None]), max_size=80), st.integers(1, 3), st.integers(1, 12))
def test_notices_of_a_cause_alternate_and_keep_their_distance(windows, in_a_row, hours):
    patience = Patience(in_a_row, timedelta(hours=hours), timedelta(days=1))
    found, states = play(windows, patience)
    kinds = [kind for _, kind in found if kind != "reminder"]
    assert kinds == ["raised", "over"] * (len(kinds) // 2) + ["raised"] * (len(kinds) % 2)
    raised = [number for number, kind in found if kind == "raised"]
    assert all((b - a) * QUARTER >= patience.cool_down for a, b in itertools.pairwise(raised))
    assert len(states) <= 1


@given(st.lists(st.sampled_from([True, False, None]), max_size=40))
def test_nothing_is_remembered_of_a_cause_that_is_long_over(windows):
    _, states = play([*windows, *[False] * 97])
    assert states == {}
