"""Charts then and now are made of a few shares that add up to all values that are there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.records.monitoring import OTHERS
from retraining.monitoring.histograms import BARS, VALUES, histogram
from retraining.monitoring.sketches import categories, numbers

FLOATS = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60)


def test_the_same_sample_has_the_same_bars():
    sample = np.random.default_rng(1).normal(size=4000)
    found = histogram("inputs.mass", numbers(sample), sample)
    assert len(found.then) == len(found.now) == BARS == len(found.edges) - 1
    assert np.allclose(found.then, found.now, atol=0.01)


def test_a_shift_moves_the_bars_and_far_values_are_in_the_outermost_ones():
    old = np.random.default_rng(1).normal(size=4000)
    found = histogram("x", numbers(old), np.append(old + 3, 1e9))
    mean_then, mean_now = (np.average(np.arange(BARS), weights=each) for each in (found.then, found.now))
    assert mean_now - mean_then > 5
    assert found.edges[-1] < 10
    assert found.now[-1] > 1 / 4001


def test_few_whole_numbers_have_a_bar_each():
    found = histogram("x", numbers([0, 0, 1, 3]), np.array([1.0, 3.0]))
    assert found.edges == (-0.5, 0.5, 1.5, 2.5, 3.5)
    assert (found.then, found.now) == ((0.5, 0.25, 0, 0.25), (0, 0.5, 0, 0.5))


def test_missing_values_are_a_share_of_their_own():
    found = histogram("x", numbers([1, 2, np.nan, 4]), np.array([np.nan, np.nan, 1.0]))
    assert (found.missing_then, found.missing_now, found.rows) == (0.25, pytest.approx(2 / 3), 3)


def test_only_the_most_frequent_values_have_bars_and_the_others_share_one():
    old = [f"v{each:02}" for each in range(40) for _ in range(40 - each)]
    found = histogram("x", categories(old), categories(["new"] * 5))
    assert len(found.values) == VALUES + 1
    assert found.values[-1] == OTHERS
    assert found.values[0] == "v00"
    assert found.now[found.values.index("new")] == 1.0


def test_tenths_stay_in_their_own_order():
    found = histogram("x", categories(["9", "0", "10", "9"]), categories(["10"]))
    assert found.values == ("0", "9", "10")


def test_numbers_are_not_drawn_beside_other_values():
    with pytest.raises(TypeError, match="x"):
        histogram("x", numbers([1.0]), categories(["1"]))


@given(FLOATS, FLOATS)
def test_shares_of_numbers_add_up_whatever_they_are(old, new):
    found = histogram("x", numbers(old), np.array(new, dtype=float))
    assert len(found.then) == len(found.now) == max(len(found.edges) - 1, 0)
    for shares, sample in ((found.then, old), (found.now, new)):
        there = bool(np.isfinite(sample).any())
        assert sum(shares) == pytest.approx(float(there))
        assert min(shares, default=0) >= -1e-12
    assert list(found.edges) == sorted(set(found.edges))


@given(st.lists(st.text(max_size=2) | st.none()), st.lists(st.text(max_size=2) | st.none()))
def test_shares_of_other_values_add_up_whatever_they_are(old, new):
    found = histogram("x", categories(old), categories(new))
    for shares, sample in ((found.then, old), (found.now, new)):
        assert sum(shares) == pytest.approx(float(any(each is not None for each in sample)))
    assert len(found.values) == len(found.then) <= VALUES + 1
