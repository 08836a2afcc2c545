"""What the schedule makes due: each time once, over restarts, pauses and clocks that are set."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.monitoring_sections import Schedule
from pipelines.config.schema import Config, Repositories
from pipelines.schedule import Clock, Entry, find_due
from registry.errors import ConfigError

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAILY = Entry("retrain", "0 3 * * *", "UTC")
HOUR = timedelta(hours=1)


@pytest.fixture
def clock(tmp_path):
    """A new process with these settings, and what is due in it at a time; what is due is done."""

    def clock(now, retrain="0 3 * * *", timezone="UTC", finish=True):
        config = Config("digits", Repositories("a", "b", "c"), home=str(tmp_path))
        clock = Clock(replace(config, schedule=Schedule(retrain, "", timezone)))
        found = clock.due(now)
        for each in found if finish else ():
            clock.done(each)
        return [f"{each.at:%d %H:%M}" for each in found]

    return clock


def test_a_schedule_begins_with_the_present(clock):
    assert clock(NOON) == []
    assert clock(NOON + 14 * HOUR) == []
    assert clock(NOON + 15 * HOUR) == ["01 03:00"]
    assert clock(NOON + 15 * HOUR) == []


def test_times_that_passed_while_nobody_watched_are_one(clock):
    clock(NOON)
    assert clock(NOON + 100 * HOUR) == ["01 03:00"]
    assert clock(NOON + 101 * HOUR) == []
    assert clock(NOON + 120 * HOUR) == ["05 03:00"]


def test_what_was_not_finished_stays_due_under_its_own_time(clock):
    clock(NOON)
    assert clock(NOON + 15 * HOUR, finish=False) == ["01 03:00"]
    assert clock(NOON + 50 * HOUR) == ["01 03:00"]
    assert clock(NOON + 50 * HOUR) == []


def test_a_clock_that_is_set_back_makes_nothing_due_again(clock):
    clock(NOON)
    assert clock(NOON + 15 * HOUR) == ["01 03:00"]
    assert clock(NOON + 14 * HOUR) == []
    assert clock(NOON + 15 * HOUR) == []
    assert clock(NOON + 39 * HOUR) == ["02 03:00"]


def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule(clock):
    clock(NOON.replace(year=2099))
    assert clock(NOON) == []
    assert clock(NOON + 15 * HOUR) == ["01 03:00"]


def test_another_expression_or_time_zone_begins_with_the_present(clock):
    clock(NOON)
    assert clock(NOON + 16 * HOUR, "0 1 * * *") == []
    assert clock(NOON + 40 * HOUR, "0 1 * * *") == ["02 01:00"]
    assert clock(NOON + 40 * HOUR, "0 1 * * *", "Europe/Berlin") == []


def test_without_a_schedule_no_file_is_written(clock, tmp_path):
    assert clock(NOON, "") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"done": 1}', '{"done": {"retrain": {"cron": "0 3 * * *"}}}'])
def test_a_damaged_file_is_reported_with_what_to_do(clock, tmp_path, text):
    (tmp_path / "schedule.json").write_text(text)
    with pytest.raises(ConfigError, match=r"schedule\.json is not readable") as error:
        clock(NOON)
    assert error.value.hint == "delete it: the schedule then begins with the present"


def test_a_time_that_cannot_be_read_is_damage_too(clock, tmp_path):
    clock(NOON)
    kept = json.loads((tmp_path / "schedule.json").read_text())
    kept["done"]["retrain"]["until"] = "yesterday"
    (tmp_path / "schedule.json").write_text(json.dumps(kept))
    with pytest.raises(ConfigError):
        clock(NOON)


@given(st.lists(st.floats(0.01, 80), min_size=1, max_size=30))
def test_every_day_that_somebody_watched_has_its_run_and_none_has_two(pauses):
    """Whenever polls come: after each, nothing is due up to then, and what was due had not been done."""
    until, now, seen = NOON, NOON, []
    for pause in pauses:
        now += pause * HOUR
        passed = {f"{NOON + day * timedelta(days=1):%d.%m}" for day in range(120) if until < _three(day) <= now}
        due = find_due(DAILY, until, now)
        assert bool(due) == bool(passed)
        if due:
            seen.append(due.occasion)
            until = due.seen
    assert len(seen) == len(set(seen))


def _three(day):
    return NOON.replace(hour=3) + day * timedelta(days=1)
