"""What confidence is worth, and how right a model probably is without labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from retraining.monitoring.calibration import STEPS, calibrate, estimated_accuracy

ANSWERS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=80)


@given(ANSWERS)
def test_the_curve_is_the_one_of_scikit_learn(answers):
    x, y = np.array([each[0] / 20 for each in answers]), np.array([each[1] for each in answers])
    curve = calibrate(x, y)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(x)
    step = np.searchsorted(curve.confidence, x, side="right") - 1
    assert curve.right[step] == pytest.approx(theirs)
    assert curve.samples.sum() == len(answers)
    assert (np.diff(curve.confidence) > 0).all()


def test_the_curve_stays_small():
    random = np.random.default_rng(0)
    x = random.random(200_000)
    curve = calibrate(x, random.random(200_000) < x)
    assert len(curve.right) <= STEPS + 1
    assert (np.diff(curve.right) >= 0).all()


@pytest.mark.parametrize("harder", [1.0, 2.0, 0.5])
def test_the_interval_holds_the_true_accuracy_when_other_cases_come(harder):
    """Other cases, the same rule from a case to what is right: nineteen of twenty intervals hold the truth."""
    random = np.random.default_rng(int(10 * harder))

    def window(rows, power):
        truth = 0.5 + 0.5 * random.random(rows) ** power
        return np.sqrt(truth), random.random(rows) < truth  # the model is too sure of itself

    held = 0
    for _ in range(100):
        curve = calibrate(*window(2000, 1.0))
        confidence, right = window(500, harder)
        found = estimated_accuracy(curve, confidence)
        held += found.low <= right.mean() <= found.high
    assert held >= 90


def test_where_the_right_answers_change_the_estimate_knows_nothing_of_it():
    random = np.random.default_rng(1)
    confidence = np.full(2000, 0.9)
    curve = calibrate(confidence, random.random(2000) < 0.9)
    assert estimated_accuracy(curve, confidence[:500]).value == pytest.approx(0.9, abs=0.02)  # also when all are wrong


def test_a_step_with_right_answers_only_is_not_certain():
    found = estimated_accuracy(calibrate([0.9] * 20, [True] * 20), [0.9] * 500)
    assert found.value == 1
    assert found.low < 0.95


def test_nothing_is_known_without_answers_and_confidences_that_are_missing_do_not_count():
    assert estimated_accuracy(calibrate([], []), [0.5]) is None
    curve = calibrate([0.5, np.nan], [True, False])
    assert estimated_accuracy(curve, [np.nan]) is None
    assert estimated_accuracy(curve, [np.nan, 0.2]).rows == 1
