"""Statistics and p-values are those of SciPy, which is not loaded where they are needed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from retraining.monitoring.sketches import Categories, categories, numbers
from retraining.monitoring.two_samples import (
    chi_squared,
    chi_squared_tail,
    holm,
    kolmogorov,
    kolmogorov_smirnov,
    rise,
)


@pytest.mark.parametrize("x", [0.05, 0.2, 0.5, 0.9, 1.36, 2.0, 3.0, 6.0])
def test_the_tail_of_kolmogorovs_distribution(x):
    assert kolmogorov(x) == pytest.approx(stats.kstwobign.sf(x), abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 5, 40, 999])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 1.3, 3.0])
def test_the_tail_of_the_chi_squared_distribution(freedom, ratio):
    assert chi_squared_tail(ratio * freedom, freedom) == pytest.approx(
        stats.chi2.sf(ratio * freedom, freedom), rel=1e-9
    )


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.4])
def test_kolmogorov_smirnov(shift):
    random = np.random.default_rng(1)
    then, now = random.normal(size=290), random.normal(shift, size=500)
    theirs = stats.ks_2samp(then, now)
    ours = kolmogorov_smirnov(numbers(then), now)
    assert ours.statistic == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.012)


def test_chi_squared():
    then, now = Categories(0, {"a": 50, "b": 30, "c": 20}), Categories(0, {"a": 80, "b": 90, "c": 40})
    theirs = stats.chi2_contingency([[50, 30, 20], [80, 90, 40]], correction=False)
    ours = chi_squared(then, now)
    assert (ours.statistic, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert ours.effect == pytest.approx((abs(0.5 - 80 / 210) + abs(0.3 - 90 / 210) + abs(0.2 - 40 / 210)) / 2)


def test_rare_categories_count_as_one():
    then = Categories(0, {"a": 500, **{f"rare {i}": 1 for i in range(100)}})
    now = Categories(0, {"a": 500, **{f"other {i}": 1 for i in range(100)}})
    assert chi_squared(then, now).p == pytest.approx(1.0)


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.lists(st.sampled_from("abcde"), max_size=30))
def test_any_two_rows_have_a_probability_and_an_effect(old, new):
    found = chi_squared(categories(old), categories(new))
    assert 0 <= found.p <= 1
    assert 0 <= found.effect <= 1 + 1e-12


@given(*[st.integers(0, 1000)] * 4)
def test_a_share_that_has_not_risen_is_no_finding(then, of_then, now, of_now):
    then, now = min(then, of_then), min(now, of_now)
    found = rise(then, of_then, now, of_now)
    assert 0 <= found.p <= 1
    if of_then and of_now and now / of_now <= then / of_then:
        assert (found.effect, found.p) == (0.0, 1.0)


def test_a_risen_share_has_the_p_value_of_a_corrected_score_test():
    table = [[10, 190], [30, 170]]
    two_sided = stats.chi2_contingency(table, correction=True).pvalue
    assert rise(10, 200, 30, 200).p == pytest.approx(two_sided / 2)


def test_holm():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_nothing_is_known_of_an_empty_sample():
    assert kolmogorov_smirnov(numbers([]), [1.0]).p == 1
    assert kolmogorov_smirnov(numbers([1.0]), [np.nan]).p == 1
    assert chi_squared(categories([]), categories(["a"])).p == 1
