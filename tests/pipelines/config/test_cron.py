"""When a cron expression is due, over daylight saving too, and what is said of one that is wrong."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.cron import check, next_after, problems, zone
from pipelines.config.monitoring_sections import Schedule

BERLIN = ZoneInfo("Europe/Berlin")


def at(text, fold=0):
    """A time of the clocks in Berlin."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=BERLIN, fold=fold)


def due(expression, since, until):
    """All times that are due in Berlin in (since, until], as its clocks show them."""
    found, moment = [], at(since)
    while (moment := next_after(expression, BERLIN, moment)) and moment <= at(until):
        found.append(f"{moment.astimezone(BERLIN):%d %H:%M %Z}")
    return found


def test_a_time_that_does_not_exist_on_a_day_is_due_when_the_clock_has_jumped_over_it():
    assert due("30 2 * * *", "2026-03-28 12:00", "2026-03-30 12:00") == ["29 03:00 CEST", "30 02:30 CEST"]


def test_a_time_that_exists_twice_is_due_once():
    assert due("30 2 * * *", "2026-10-24 12:00", "2026-10-26 12:00") == ["25 02:30 CEST", "26 02:30 CET"]


def test_it_is_not_due_again_when_asked_within_the_repeated_hour():
    assert next_after("30 2 * * *", BERLIN, at("2026-10-25 02:31")) == at("2026-10-26 02:30")
    assert next_after("30 2 * * *", BERLIN, at("2026-10-25 02:10", fold=1)) == at("2026-10-26 02:30")


def test_a_quarter_of_an_hour_is_one_whatever_the_clocks_say():
    found = due("*/15 * * * *", "2026-10-25 01:50", "2026-10-25 03:00")
    names = [f"25 02:{minute:02} {name}" for name in ("CEST", "CET") for minute in (0, 15, 30, 45)]
    assert found == [*names, "25 03:00 CET"]


@given(
    moment=st.integers(0, 15 * 366 * 86400).map(
        lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    where=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Santiago", "Asia/Beirut"]
    ),
)
def test_a_daily_time_is_due_once_a_day_of_the_calendar(moment, minute, hour, where):
    """From any moment on, also one in a repeated hour: fifteen days have fifteen such times, each on its own day."""
    expression, days = f"{minute} {hour} * * *", []
    for _ in range(15):
        found = next_after(expression, zone(where), moment)
        assert found
        assert moment < found <= moment + timedelta(hours=25, minutes=30)
        moment = found
        days.append(found.astimezone(zone(where)).date())
    assert days == [days[0] + timedelta(days=each) for each in range(15)]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "does not have five fields"),
        ("@daily", "does not have five fields"),
        ("* * * * * *", "does not have five fields"),
        ("61 * * * *", "bad minute; it has five fields"),
        ("0 3 * * MON#6", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("* * */20 * 1L", "does not come true in 50 years"),
        ("H 3 * * 0", "holds H, which only Jenkins knows; write a number"),
        ("0 H(1-3) * * 0", "holds H, which only Jenkins knows"),
    ],
)
def test_a_wrong_expression_is_refused_with_what_to_write(expression, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        check(expression)


@pytest.mark.parametrize("expression", ["0 3 * * 0", "*/15 * * * *", "0 3 * * THU", "30 1,2 1-7 MAR MON", "0 3 L * *"])
def test_what_cron_takes_is_taken(expression):
    assert check(expression).year >= 2024


@pytest.mark.parametrize("name", ["", "Europe", "Mars/Base", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 400, "Ä"])
def test_a_time_zone_that_does_not_exist_is_refused_with_how_one_is_written(name):
    with pytest.raises(ValueError, match='is not in the IANA database; a name is written as "Europe/Berlin"'):
        zone(name)


def test_utc_needs_no_database():
    assert zone("UTC") is UTC


def test_every_wrong_setting_is_named():
    found = list(problems(Schedule("x", "61 * * * *", "Mars/Base")))
    assert [each.partition(":")[0] for each in found] == ["schedule.retrain", "schedule.monitor", "schedule.timezone"]
    assert list(problems(Schedule())) == []
    assert list(problems(Schedule("0 3 * * 0", "*/15 * * * *", "Europe/Berlin"))) == []
