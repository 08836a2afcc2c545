"""Errors that become more frequent are noticed early, and hardly ever where they do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.monitoring.sequences import follow, page_hinkley


@pytest.mark.parametrize("usual", [0.02, 0.1, 0.3])
def test_ten_thousand_answers_as_good_as_the_holdout_raise_no_alarm(usual):
    random = np.random.default_rng(3)
    alarms = sum(
        page_hinkley(random.binomial(1000, usual), 1000).after(random.random(10_000) < usual).found for _ in range(20)
    )
    assert alarms <= 1


@pytest.mark.parametrize(("usual", "now", "within"), [(0.02, 0.12, 300), (0.1, 0.2, 1000), (0.1, 0.3, 400)])
def test_more_errors_are_found_soon_and_since_when_is_about_right(usual, now, within):
    random, delays, starts = np.random.default_rng(4), [], []
    for _ in range(20):
        test = page_hinkley(random.binomial(1000, usual), 1000).after(random.random(2000) < usual)
        test = test.after(random.random(within * 2) < now)
        assert test.found
        delays.append(test.seen - 2000)
        starts.append(test.since - 2000)
    assert np.median(delays) <= within / 2
    assert abs(np.median(starts)) <= within / 5


@given(st.lists(st.booleans(), max_size=200), st.integers(0, 200), st.integers(0, 50), st.integers(1, 500))
def test_how_answers_are_cut_into_windows_makes_no_difference(errors, cut, wrong, samples):
    start = page_hinkley(min(wrong, samples), samples)
    whole, parts = start.after(errors), start.after(errors[:cut]).after(errors[cut:])
    assert whole == parts
    assert 0 < start.usual < start.risen < 1
    assert whole.evidence >= 0
    assert whole.since <= whole.seen <= len(errors)


def test_errors_that_are_as_rare_as_on_the_holdout_again_end_the_decay():
    random = np.random.default_rng(5)
    start = page_hinkley(50, 1000)
    good, bad = (lambda n: random.random(n) < 0.05), (lambda n: random.random(n) < 0.25)
    decayed = np.concatenate([good(1000), bad(300)])
    assert follow(start, decayed).last.found
    again_good = np.concatenate([decayed, good(800)])
    found = follow(start, again_good)
    assert not found.last.found
    assert 1300 < found.recovered <= 2100
    assert follow(start, np.concatenate([again_good, bad(300)])).last.since == pytest.approx(2100, abs=60)


def test_a_decay_that_lasts_is_not_taken_for_over():
    random = np.random.default_rng(6)
    start = page_hinkley(50, 1000)
    ends = [follow(start, random.random(5000) < start.risen) for _ in range(10)]
    assert sum(each.last.found for each in ends) >= 9


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 5), st.integers(0, 100))
def test_without_a_recovery_a_sequence_comes_to_what_the_test_alone_says(errors, wrong, rights):
    start = page_hinkley(wrong, 20)
    found = follow(start, [*errors, *[False] * rights])
    assert found.recovered <= len(errors) + rights
    assert found.recovered <= found.last.since <= found.last.seen
    if not found.recovered:
        assert found.last == start.after([*errors, *[False] * rights])


def test_a_holdout_without_samples_says_nothing():
    with pytest.raises(ValueError, match="samples in the holdout"):
        page_hinkley(0, 0)
