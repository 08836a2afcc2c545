"""What a window says of its columns: a change that matters, and nothing by chance."""

import numpy as np
import pytest

from retraining.monitoring.drift import Limits, check_columns
from retraining.monitoring.sketches import categories, numbers

LIMITS = Limits()
COLUMNS = 20


def reference(random, rows=5000):
    return {f"c{i}": numbers(random.normal(size=rows)) for i in range(COLUMNS)}


def alarmed(random, then, rows, shift=0.0):
    now = {f"c{i}": random.normal(size=rows) + (shift if i == 0 else 0.0) for i in range(COLUMNS)}
    return {(each.column, each.what) for each in check_columns(then, now, LIMITS) if each.failed}


@pytest.mark.parametrize("rows", [50, 200, 500, 1000])
def test_at_most_one_window_in_twenty_without_drift_fails(rows):
    random = np.random.default_rng(rows)
    then = [reference(random) for _ in range(6)]
    failed = sum(bool(alarmed(random, then[i % 6], rows)) for i in range(60))
    assert failed <= 6  # 5 % of 60 are 3; 7 or more come by chance once in thirty times


@pytest.mark.parametrize(("rows", "shift", "share"), [(500, 0.25, 0.75), (500, 0.5, 0.99)])
def test_a_shift_of_one_column_of_twenty_is_found(rows, shift, share):
    random = np.random.default_rng(7)
    then = [reference(random) for _ in range(4)]
    found = sum(("c0", "distribution") in alarmed(random, then[i % 4], rows, shift) for i in range(40))
    assert found >= share * 40


def test_a_trifle_in_a_large_window_does_not_fail():
    random = np.random.default_rng(5)
    (found,) = [
        each
        for each in check_columns(
            {"x": numbers(random.normal(size=50_000))}, {"x": random.normal(0.1, size=50_000)}, LIMITS
        )
        if each.what == "distribution"
    ]
    assert found.p < 1e-9
    assert not found.failed


def failed(then, now):
    return {each.what for each in check_columns({"x": then}, {"x": now}, LIMITS) if each.failed}


def test_gaps_far_values_and_new_categories_are_checks_of_their_own():
    random = np.random.default_rng(2)
    then, usual = numbers(random.normal(size=2000)), random.normal(size=400)
    assert failed(then, usual) == set()
    assert failed(then, np.where(random.random(400) < 0.06, np.nan, usual)) == {"missing"}
    assert failed(then, np.where(random.random(400) < 0.06, 99.0, usual)) == {"out of range"}
    countries = categories(random.choice(list("abc"), 2000))
    assert failed(countries, categories(random.choice(list("abc"), 400))) == set()
    assert failed(countries, categories(random.choice(list("abcd"), 400, p=[0.32, 0.32, 0.3, 0.06]))) == {"new values"}
    assert "distribution" in failed(countries, categories(["a"] * 400))


def test_a_column_of_gaps_only_fails_for_its_gaps_and_nothing_else():
    assert failed(numbers(np.arange(500.0)), np.full(300, np.nan)) == {"missing"}
    assert failed(categories(["a"] * 500), categories([None] * 300)) == {"missing"}


def test_too_few_rows_and_columns_that_only_one_side_has_are_not_checked():
    then = numbers(np.arange(1000.0))
    assert check_columns({"x": then, "gone": then}, {"x": np.zeros(199), "new": np.zeros(500)}, LIMITS) == ()


def test_a_column_that_has_become_text_is_not_checked_as_numbers():
    assert check_columns({"x": numbers(np.arange(500.0))}, {"x": categories(["a"] * 500)}, LIMITS) == ()


def test_the_worst_comes_first():
    random = np.random.default_rng(4)
    then = {name: numbers(random.normal(size=3000)) for name in "ab"}
    found = check_columns(then, {"a": random.normal(size=500), "b": random.normal(2, size=500)}, LIMITS)
    assert (found[0].column, found[0].failed) == ("b", True)
