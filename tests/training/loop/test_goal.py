"""The metrics that decide when training stops, against scikit-learn's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from registry.errors import ConfigError
from training.loop.goal import beats, best_index, check_metric, from_logs, measure, reached
from training.metric_table import METRICS, better


@given(st.integers(2, 60), st.integers(2, 5), st.integers(0, 1000))
def test_classification_agrees_with_scikit_learn(samples, classes, seed):
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(classes), samples)
    y = random.integers(0, classes, samples)
    found = measure("classification", p, y)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y, p.argmax(axis=1)))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(y, p.argmax(axis=1), average="macro"))
    assert found["loss"] == pytest.approx(metrics.log_loss(y, p.clip(1.2e-7), labels=range(classes)), rel=1e-3)
    assert 0 <= found["ece"] <= 1
    assert 0 <= found["brier"] <= 2


@given(st.integers(2, 60), st.integers(0, 1000))
def test_regression_agrees_with_scikit_learn(samples, seed):
    random = np.random.default_rng(seed)
    y, f = random.normal(size=samples), random.normal(size=(samples, 1))
    found = measure("regression", f, y)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, f))
    assert found["loss"] == pytest.approx(metrics.mean_squared_error(y, f))
    assert found["rmse"] == pytest.approx(math.sqrt(found["loss"]))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, f))


def test_answers_that_are_not_finite_reach_nothing():
    nan = measure("classification", np.full((4, 2), np.nan), np.array([0, 1, 0, 1]))
    nan |= measure("regression", np.full((4, 1), np.nan), np.arange(4.0))
    for metric, value in nan.items():
        assert math.isnan(value)
        assert not reached(metric, value, 0.5)


def test_less_is_better_for_losses():
    assert reached("loss", 0.1, 0.2)
    assert not reached("loss", 0.3, 0.2)
    assert reached("accuracy", 0.9, 0.9)
    assert not reached("accuracy", 0.89, 0.9)


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=8), st.sampled_from(sorted(METRICS)))
def test_the_first_of_the_best_epochs_is_the_best(values, metric):
    place = best_index(metric, values)
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        assert place == -1
        return
    best = max(numbers) if better(metric) > 0 else min(numbers)
    assert values[place] == best
    assert best not in values[:place]


def test_what_keras_measured_is_not_measured_again():
    assert from_logs("accuracy", "classification", {"val_accuracy": 0.5, "accuracy": 0.9}) == 0.5
    assert from_logs("mae", "regression", {"val_mean_absolute_error": 2}) == 2.0
    assert from_logs("loss", "regression", {"val_loss": 2}) is None  # it has penalties in it
    assert from_logs("macro_f1", "classification", {"val_accuracy": 0.5}) is None
    assert from_logs("accuracy", "multi-label", {"val_accuracy": 0.5}) is None  # of single labels, not of whole answers


@pytest.mark.parametrize(
    ("metric", "task"), [("mae", "classification"), ("accuracy", "regression"), ("luck", "regression")]
)
def test_a_metric_of_the_other_task_is_refused(metric, task):
    check_metric("accuracy", "classification")
    check_metric("mae", "regression")
    with pytest.raises(ConfigError, match=metric):
        check_metric(metric, task)


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        ({"value": 0.9, "val_loss": 0.3}, {"value": 0.9, "val_loss": 0.5}, True),
        ({"value": 0.9, "val_loss": 0.5}, {"value": 0.9, "val_loss": 0.5}, False),
        ({"value": 0.9, "val_loss": math.nan}, {"value": 0.9, "val_loss": 0.5}, False),
        ({"value": 0.9}, {"value": 0.9}, False),
        ({"value": 0.91, "val_loss": 0.9}, {"value": 0.9, "val_loss": 0.5}, True),
        ({"value": 0.89, "val_loss": 0.1}, {"value": 0.9, "val_loss": 0.5}, False),
    ],
)
def test_of_epochs_with_the_same_metric_the_one_with_the_smaller_loss_is_better(new, old, better):
    assert beats("accuracy", new, old) is better


def test_of_epochs_the_one_with_the_smaller_error_is_better():
    assert beats("rmse", {"value": 1.0}, {"value": 2.0})
    assert not beats("rmse", {"value": 2.0}, {"value": 1.0})
    assert not beats("rmse", {"value": math.nan}, {"value": 1.0})
