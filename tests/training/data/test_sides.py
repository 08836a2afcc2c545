"""Splits by time and by hash in strata: what holds whatever the samples are."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset_toml import Fractions
from training.data.sides import boundaries, in_strata, newest
from training.data.split import hashes, split_of
from training.data.times import NotTimesError, Times, future, parse

FRACTIONS = st.builds(Fractions, st.floats(0.05, 0.4), st.floats(0.05, 0.4))
TIMES = st.lists(st.integers(0, 200).map(float), min_size=1, max_size=120)
STRATA = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from("abcde"), min_size=1, max_size=60)
RANK = {"train": 0, "validation": 1, "holdout": 2}


@given(TIMES, FRACTIONS)
def test_what_is_newer_is_never_in_an_earlier_split(times, fractions):
    begin = boundaries(times, fractions)
    sides = [RANK[begin.side(time)] for time in sorted(times)]
    assert sides == sorted(sides)


@given(TIMES, FRACTIONS)
def test_the_holdout_has_at_least_its_share_and_only_one_time_more_than_needed(times, fractions):
    begin = boundaries(times, fractions)
    held = [time for time in times if begin.side(time) == "holdout"]
    wanted = max(1, round(fractions.holdout * len(times)))
    assert len(held) >= wanted
    assert len([time for time in held if time > min(held)]) < wanted


@given(TIMES, st.lists(st.integers(0, 50), min_size=1, max_size=50), FRACTIONS)
def test_with_newer_samples_the_holdout_only_moves_on(times, more, fractions):
    newer = [max(times) + 1 + each for each in more]
    before, after = boundaries(times, fractions), boundaries([*times, *newer], fractions)
    assert after.holdout >= before.holdout


@given(TIMES, FRACTIONS, st.data())
def test_a_group_is_as_new_as_its_newest_sample(times, fractions, data):
    groups = data.draw(st.lists(st.sampled_from("pqrs"), min_size=len(times), max_size=len(times)))
    counted = newest(times, groups)
    begin = boundaries(counted, fractions)
    sides = {(group, begin.side(time)) for group, time in zip(groups, counted, strict=True)}
    assert len(sides) == len(set(groups))
    train = [time for time, counts in zip(times, counted, strict=True) if begin.side(counts) == "train"]
    assert all(time < begin.holdout for time in train)


@given(STRATA, FRACTIONS)
def test_every_stratum_is_in_the_holdout(strata, fractions):
    keys, of = list(strata), list(strata.values())
    sides = in_strata(hashes(keys), of, fractions)
    for stratum, count in Counter(of).items():
        found = {side for side, each in zip(sides, of, strict=True) if each == stratum}
        assert "holdout" in found
        hashed = [split_of(key, fractions) for key in keys if strata[key] == stratum]
        assert count == 1 or "validation" in found or set(hashed) == {"holdout"}


@given(STRATA, STRATA, FRACTIONS)
def test_no_training_sample_comes_into_another_split_when_others_are_added(old, new, fractions):
    both = {**new, **old}
    before = dict(zip(old, in_strata(hashes(old), list(old.values()), fractions), strict=True))
    after = dict(zip(both, in_strata(hashes(both), list(both.values()), fractions), strict=True))
    assert all(after[key] == "train" for key, side in before.items() if side == "train")
    assert all(after[key] != "holdout" for key, side in before.items() if side == "validation")


@given(st.lists(st.text(min_size=1), unique=True, min_size=200, max_size=300), FRACTIONS)
def test_where_every_stratum_has_its_share_nothing_moves(keys, fractions):
    hashed = [split_of(key, fractions) for key in keys]
    if {"holdout", "validation"} <= set(hashed):
        assert in_strata(hashes(keys), ["one"] * len(keys), fractions) == hashed


@pytest.mark.parametrize(
    ("texts", "kind", "shown"),
    [
        (["3", "1.5"], "number", "1.5"),
        (["2026-01-05", "2025-12-31"], "date", "2025-12-31"),
        (["2026-01-05", "2025-12-31T10:30"], "time", "2025-12-31T10:30:00"),
        (["2026-01-05T00:00:00Z", "2025-12-31T23:30:00-01:00"], "zoned", "2026-01-01T00:30:00+00:00"),
    ],
)
def test_times_are_numbers_dates_or_moments(texts, kind, shown):
    found = parse(texts)
    assert found.kind == kind
    assert found.shown(found.values[1]) == shown


@pytest.mark.parametrize(
    ("texts", "index", "said"),
    [
        (["2026-01-05", "05.01.2026"], 1, "'05.01.2026' is neither a time nor a number"),
        (["2026-01-05", "20260105"], 1, "is a number, and the first one is a date"),
        (["2026-01-05T10:00", "2026-01-05T10:00Z"], 1, "is a time with its offset from UTC"),
        (["nan"], 0, "neither"),
    ],
)
def test_what_is_not_a_time_like_the_others_is_named(texts, index, said):
    with pytest.raises(NotTimesError, match=said) as error:
        parse(texts)
    assert error.value.index == index


def test_the_future_begins_a_day_from_now_and_numbers_have_none():
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert future(parse(["2026-11-30", "2026-12-01", "2026-12-02"]), now) == [2]
    assert future(Times("number", (1e12,)), now) == []
