"""A sketch is a few kilobytes, and no test against it differs by more than was promised from one against the column itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from retraining.monitoring.sketches import KNOTS, categories, numbers
from retraining.monitoring.two_samples import kolmogorov_smirnov

COLUMNS = {
    "a bell curve": lambda r, n: r.normal(size=n),
    "a long tail": lambda r, n: r.lognormal(0, 3, size=n),
    "a spike at zero": lambda r, n: np.where(r.random(n) < 0.7, 0.0, r.normal(size=n)),
    "two values": lambda r, n: r.integers(0, 2, n).astype(float),
    "a hundred values": lambda r, n: r.integers(0, 100, n).astype(float),
    "thousands of whole numbers": lambda r, n: r.integers(0, 5000, n).astype(float),
    "one value": lambda r, n: np.full(n, 3.5),
}


@pytest.mark.parametrize("size", [1, 7, 300, 5000])
@pytest.mark.parametrize("make", COLUMNS.values(), ids=COLUMNS)
def test_a_test_against_a_sketch_is_near_one_against_the_column(make, size):
    random = np.random.default_rng(size)
    then = make(random, size)
    for shift in (0.0, 0.3):
        now = make(random, 400) + shift
        of_sketch = kolmogorov_smirnov(numbers(then), now).statistic
        assert of_sketch == pytest.approx(stats.ks_2samp(then, now).statistic, abs=0.005)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
def test_shares_are_exact_where_the_column_has_few_values(values):
    sketch = numbers(values)
    finite = np.array([each for each in values if np.isfinite(each)])
    assert (sketch.count, sketch.missing) == (len(finite), len(values) - len(finite))
    if len(finite):
        below, upto = sketch.shares(finite)
        assert below == pytest.approx([(finite < each).mean() for each in finite])
        assert upto == pytest.approx([(finite <= each).mean() for each in finite])


def test_between_two_knots_the_distribution_is_a_line_however_far_apart_they_are():
    sketch = numbers([-1.5e308, 1.5e308])
    below, upto = sketch.shares(np.array([-1.7e308, -1.5e308, 0.0, 1.5e308, 1.7e308]))
    assert below.tolist() == [0, 0, 0.5, 0.5, 1]
    assert upto.tolist() == [0, 0.5, 0.5, 1, 1]


def test_a_sketch_has_a_bounded_size():
    sketch = numbers(np.random.default_rng(0).normal(size=100_000))
    assert len(sketch.knots) <= KNOTS
    assert sum(each.nbytes for each in (sketch.knots, sketch.below, sketch.upto)) <= 10_000


def test_rare_categories_beyond_the_bound_are_counted_together():
    found = categories(["a"] * 3 + ["b"] * 2 + ["c", "d", None, float("nan")], most=2)
    assert (dict(found.counts), found.rest, found.missing, found.count) == ({"a": 3, "b": 2}, 2, 2, 7)


def test_values_far_beyond_knots_that_are_next_to_each_other_overflow_nothing():
    sketch = numbers(np.array([0.0, 1.1125369292536007e-308]))
    with np.errstate(all="raise"):
        below, upto = sketch.shares(np.array([-2.0, 0.0, 1e-308, 2.0]))
    assert below.tolist()[0] == upto.tolist()[0] == 0.0
    assert below.tolist()[-1] == upto.tolist()[-1] == 1.0
