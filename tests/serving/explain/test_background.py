"""The rows that explanations compare with: like the train split, and nobody's."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from registry.records import TensorSpec
from serving.explain.background import BLOCK, ROWS, background
from training.data.checks import HANDFUL
from training.data.spec import Column
from training.data.table.columns import Feature, categories
from training.data.table.statistics import column_of

AGE, COLOUR = TensorSpec("age", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string")


def of(values, kind="numeric", **changes):
    if kind == "numeric":
        feature = Feature("age", kind, np.asarray(values, np.float64))
    else:
        feature = Feature("colour", kind, *categories(pa.chunked_array([values])))
    column = column_of(feature, np.arange(len(values)))
    tensor = AGE if kind == "numeric" else COLOUR
    return background((tensor,), (dataclasses.replace(column, **changes),))[feature.name]


def test_the_mean_of_each_block_is_the_columns():
    values = np.random.default_rng(1).lognormal(size=4000)
    found = of(values)
    assert found.shape == (ROWS,)
    for block in found.reshape(-1, BLOCK):
        assert block.mean() == pytest.approx(values.mean(), rel=1e-4)
    assert np.quantile(found, 0.5) == pytest.approx(np.quantile(values, 0.5), rel=0.1)


def test_categories_come_as_often_as_in_the_train_split():
    found = of(["red"] * 70 + ["blue"] * 29 + ["puce"], "categorical")
    assert (found == "red").mean() == pytest.approx(0.7)
    assert set(found) == {"red", "blue"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [4, 7, 60, 3000])
def test_no_value_that_only_few_people_have_is_among_them(rows, seed):
    random = np.random.default_rng(seed)
    ages = np.concatenate([random.integers(0, 60, rows), [97.0, 1e6]])
    colours = [*random.choice(["red", "blue", "green"], rows).tolist(), "a name", "another"]
    few = {each for each in ages if (ages == each).sum() < HANDFUL}
    assert not few & set(of(ages).tolist()) or rows < HANDFUL
    counts = {each: colours.count(each) for each in colours}
    assert all(each == "" or counts[each] >= HANDFUL for each in of(colours, "categorical"))


@given(arrays.arrays(np.float32, st.integers(5, 80), elements=st.integers(-9, 9).map(float)))
@settings(max_examples=100, deadline=None)
def test_levels_are_means_of_a_handful_or_more_and_no_rare_value(values):
    column = column_of(Feature("age", "numeric", values.astype(np.float64)), np.arange(len(values)))
    assert 1 <= len(column.levels) <= min(20, len(values) // HANDFUL)
    assert list(column.levels) == sorted(column.levels)
    rare = {each for each in values.tolist() if (values == each).sum() < HANDFUL}
    assert not rare & set(column.levels)
    assert min(values) <= min(column.levels)
    assert max(column.levels) <= max(values) + 1
    assert np.mean(column.levels) == pytest.approx(float(values.mean()), abs=float(np.ptp(values)) * 0.25 + 1e-6)


def test_a_version_from_before_these_statistics_has_a_background_too():
    found = of([1.0, 3.0], levels=(), mean=2.0, variance=4.0)
    assert found.mean() == pytest.approx(2)
    assert found.std() == pytest.approx(2, rel=0.1)
    assert set(of(["a", "b"], "categorical", common=("a", "b"), shares=())) == {"a", "b"}


def test_a_column_whose_values_are_all_rare_is_empty_text():
    assert set(of([f"name {i}" for i in range(50)], "categorical")) == {""}


def test_numbers_stay_within_what_a_request_may_hold():
    column = Column("age", "numeric", mean=5.0, variance=100.0)
    found = background((TensorSpec("age", (None, 1), "int32", low=0, high=9),), (column,))["age"]
    assert found.dtype == np.int32
    assert (found.min(), found.max()) == (0, 9)
