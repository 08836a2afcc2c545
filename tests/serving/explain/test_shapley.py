"""Shapley values: on games whose values are known, and what holds for every game."""

import itertools
import math

import numpy as np
import pytest
from explain_parts import Clock, network, values_of
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.explain.target import CannotExplain


def by_definition(function, row, background):
    """The mean over all orders, of what each column adds in it: another way than that of the code."""
    total = np.zeros(len(row))
    orders = list(itertools.permutations(range(len(row))))
    for other in background:
        for order in orders:
            now, before = other.copy(), function(other[None])[0]
            for column in order:
                now[column] = row[column]
                after = function(now[None])[0]
                total[column] += after - before
                before = after
    return total / len(orders) / len(background)


def crossed(table):
    return table[:, 0] * table[:, 1] + np.sin(table[:, 2]) * table[:, 0] + np.abs(table[:, 3])


def some(columns, draws=40, seed=3):
    random = np.random.default_rng(seed)
    return random.normal(size=columns), random.normal(size=(draws, columns))


@pytest.mark.parametrize("columns", [1, 2, 5, 10, 11, 40])
def test_in_a_linear_model_each_column_counts_its_weight_times_its_distance_from_the_mean(columns):
    row, background = some(columns)
    weights = np.arange(1.0, columns + 1)
    found = values_of(lambda table: table @ weights + 5, row, background)
    assert found.method == ("exact" if columns <= 10 else "permutation")
    assert found.values == pytest.approx(weights * (row - background.mean(axis=0)))
    assert found.base == pytest.approx(5 + background.mean(axis=0) @ weights)


def test_exact_values_are_those_of_the_definition():
    row, background = some(4, draws=3)
    found = values_of(crossed, row, background)
    assert found.method == "exact"
    assert found.values == pytest.approx(by_definition(crossed, row, background))


@given(st.integers(1, 14), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_base_and_values_sum_to_the_output_whatever_the_model(columns, seed, quick):
    row, background = some(columns, seed=seed)
    function, clock = network(columns, seed)[2], Clock(0.001)
    found = values_of(function, row, background, 0.05 if quick else 100, clock=clock)
    assert found.base + math.fsum(found.values) == pytest.approx(found.output, abs=1e-9)
    assert found.output == pytest.approx(function(row[None])[0])
    assert 2 <= found.draws <= found.of == 40


@pytest.mark.parametrize("columns", [4, 13])
def test_a_column_that_the_model_ignores_counts_nothing(columns):
    row, background = some(columns)
    found = values_of(lambda table: np.exp(table[:, 0]) * table[:, 2], row, background)
    assert np.abs([found.values[[1, 3]], found.errors[[1, 3]]]).max() < 1e-12
    assert abs(found.values[0]) > 0.01


def test_two_columns_that_do_the_same_count_the_same():
    background = some(4)[1]
    background[:, 1] = background[:, 0]
    row = np.array([0.7, 0.7, -1.0, 0.3])
    found = values_of(lambda table: np.maximum(table[:, 0], table[:, 1]) * table[:, 2], row, background)
    assert found.values[0] == pytest.approx(found.values[1])


def test_values_of_two_models_add():
    row, background = some(5)
    first, second = (values_of(each, row, background).values for each in (crossed, lambda t: t[:, 4] ** 2 * t[:, 0]))
    both = values_of(lambda t: crossed(t) + t[:, 4] ** 2 * t[:, 0], row, background).values
    assert both == pytest.approx(first + second)


def test_the_true_value_is_within_two_standard_errors_in_19_of_20_cases():
    random, function = np.random.default_rng(8), network(12)[2]
    row = random.normal(size=12)
    true = values_of(function, row, random.normal(size=(20_000, 12)), seconds=300).values
    inside = []
    for seed in range(40):
        found = values_of(function, row, np.random.default_rng(seed).normal(size=(100, 12)), seed=seed)
        assert found.method == "permutation"
        assert (found.errors > 0).all()
        inside += (np.abs(found.values - true) <= 2 * found.errors).tolist()
    assert np.mean(inside) >= 0.92  # 480 cases: 0.95 ± 0.02
    assert np.mean(inside) < 1, "the errors say nothing when they are far too large"


@pytest.mark.parametrize(("per_row", "budget"), [(1e-3, 0.5), (1e-4, 0.05), (5e-3, 0.5)])
def test_a_slow_model_gets_fewer_draws_and_the_budget_holds(per_row, budget):
    clock = Clock()

    def slow(table):
        clock.now += per_row * len(table) + per_row
        return table.sum(axis=1)

    row, background = some(12, draws=100)
    found = values_of(slow, row, background, budget, clock=clock)
    assert 2 <= found.draws < found.of
    assert clock.now <= 1.5 * budget
    assert found.base + math.fsum(found.values) == pytest.approx(found.output)


def test_a_model_that_is_too_slow_for_two_draws_is_refused_before_they_are_tried():
    clock = Clock()

    def slow(table):
        clock.now += 0.2 * len(table)
        return table.sum(axis=1)

    row, background = some(12)
    with pytest.raises(CannotExplain, match="needs about") as caught:
        values_of(slow, row, background, 0.5, clock=clock)
    assert "budget_ms" in caught.value.hint
    assert clock.now <= 1
