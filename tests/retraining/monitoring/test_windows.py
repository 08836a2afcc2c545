"""Windows tile the time, however often somebody asks, and each line is in one of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.monitoring.windows import NOTHING, Cut, Lines, Rules, cut

MINUTE = 60_000
RULES = Rules(15 * MINUTE, 24 * 60 * MINUTE, 50)
NO_LINES = Lines.of([], [], [])


def lines_of(*groups):
    """Groups of (release, minutes of its lines)."""
    found = [(minute * MINUTE, release) for release, minutes in groups for minute in minutes]
    return Lines.of([at for at, _ in found], [release for _, release in found], [True] * len(found))


def cuts(lines, until, rules=RULES, released=((1, 0),), since=0, **more):
    found = cut(lines, since, round(until * MINUTE), rules, released, **more)
    return [(each.since / MINUTE, each.until / MINUTE, each.release) for each in found]


def test_a_window_with_rows_enough_is_as_long_as_the_settings_say():
    lines = lines_of((1, np.arange(0, 60, 0.1)))
    assert cuts(lines, 44) == [(0, 15, 1), (15, 30, 1)]
    assert cuts(lines, 45) == [(0, 15, 1), (15, 30, 1), (30, 45, 1)]


def test_a_window_grows_until_it_has_rows_enough():
    lines = lines_of((1, np.arange(0, 600, 1)))
    assert cuts(lines, 59) == []
    assert cuts(lines, 119) == [(0, 60, 1)]  # 50 rows after 50 minutes


def test_a_window_grows_no_longer_than_the_settings_say():
    rules = Rules(15 * MINUTE, 40 * MINUTE, 50)
    assert cuts(NO_LINES, 100, rules) == [(0, 45, 1), (45, 90, 1)]


def test_a_refused_request_is_not_a_row():
    lines = Lines.of(np.arange(0, 60) * MINUTE // 4, [1] * 60, [False] * 60)
    assert cuts(lines, 60) == []


def test_the_first_line_of_a_later_release_ends_a_window():
    lines = lines_of((1, np.arange(0, 22, 0.1)), (2, np.arange(22, 60, 0.1)))
    assert cuts(lines, 40, released=((1, 0), (2, 21 * MINUTE))) == [(0, 15, 1), (15, 22, 1), (22, 37, 2)]


def test_a_line_of_an_earlier_release_ends_nothing():
    """Of a server process that follows a second later, or of a caller who asks for an earlier version."""
    lines = lines_of((1, np.arange(0, 30, 0.1)), (2, np.arange(10, 60, 0.1)))
    found = cuts(lines, 41, released=((1, 0), (2, 9.9 * MINUTE)))
    assert found == [(0, 10, 1), (10, 25, 2), (25, 40, 2)]


@pytest.mark.parametrize("released", [9, 11.5])
def test_the_clocks_of_registry_and_api_need_not_agree(released):
    lines = lines_of((1, np.arange(0, 10, 0.1)), (2, np.arange(10, 60, 0.1)))
    found = cuts(lines, 41, released=((1, 0), (2, released * MINUTE)))
    assert found == [(0, 10, 1), (10, 25, 2), (25, 40, 2)]


def test_a_release_that_nobody_asks_is_what_windows_are_about_all_the_same():
    assert cuts(NO_LINES, 24 * 60 * 2, released=((1, 0), (2, 60 * MINUTE)))[1] == (24 * 60, 48 * 60, 2)


def test_lines_of_a_release_that_the_registry_does_not_have_end_nothing():
    lines = lines_of((1, np.arange(0, 30, 0.1)), (7, np.arange(5, 60, 1)))
    assert cuts(lines, 30) == [(0, 15, 1), (15, 30, 1)]


def test_with_silence_a_window_does_not_grow():
    rules = Rules(15 * MINUTE, 24 * 60 * MINUTE, 50, silence=120 * MINUTE)
    lines = lines_of((1, np.arange(0, 40, 1)))
    assert cuts(lines, 200, rules) == [(0, 165, 1), (165, 180, 1), (180, 195, 1)]
    assert cuts(NO_LINES, 200, rules, before=-100 * MINUTE)[0] == (0, 30, 1)
    assert cuts(NO_LINES, 200, rules, before=NOTHING) == []


def test_a_clock_that_was_set_back_gives_no_windows():
    assert cuts(lines_of((1, [1, 2])), 30, since=60 * MINUTE) == []


def test_before_anything_was_released_there_is_nothing_to_say_whom_a_window_is_about():
    assert cuts(NO_LINES, 24 * 60, released=()) == [(0, 24 * 60, 0)]


times = st.lists(st.integers(0, 300), max_size=80)
"""In minutes, also the same ones several times."""


@settings(deadline=None, max_examples=150)
@given(
    minutes=times,
    releases=st.lists(st.integers(0, 4), min_size=80, max_size=80),
    released=st.lists(st.integers(-20, 320), min_size=1, max_size=3),
    asked=st.lists(st.integers(0, 330), min_size=1, max_size=8),
    rows=st.integers(1, 20),
    silence=st.sampled_from([0, 40]),
)
def test_however_the_calls_are_cut_windows_tile_the_time_and_have_each_line_once(
    minutes, releases, released, asked, rows, silence
):
    lines = Lines.of([each * MINUTE for each in minutes], releases[: len(minutes)], [True] * len(minutes))
    known = [(number + 1, at * MINUTE) for number, at in enumerate(sorted(released))]
    rules = Rules(10 * MINUTE, 60 * MINUTE, rows, silence * MINUTE)
    at_once = list(cut(lines, 0, 330 * MINUTE, rules, known))
    found: list[Cut] = []
    for until in [*sorted(asked), 330]:  # only lines before it are there when it is asked
        position = found[-1].until if found else 0
        there = lines.times < until * MINUTE
        seen = Lines(lines.times[there], lines.releases[there], lines.rows[there])
        earlier = seen.times[seen.times < position]
        rest = Lines(*(each[seen.times >= position] for each in (seen.times, seen.releases, seen.rows)))
        before = int(earlier[-1]) if len(earlier) else NOTHING
        found += cut(rest, position, until * MINUTE, rules, known, before)
    assert found == at_once
    assert [each.since for each in found] == [0, *(each.until for each in found[:-1])][: len(found)]
    assert all(each.since < each.until for each in found)
    end = found[-1].until if found else 0
    counted = [sum(each.since <= at < each.until for each in found) for at in lines.times.tolist()]
    assert counted == [int(at < end) for at in lines.times.tolist()]
    assert 330 * MINUTE - end < 60 * MINUTE
