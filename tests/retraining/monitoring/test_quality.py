"""How good labelled answers were: the gate's metrics, with intervals, and when that is a decay."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.monitoring.quality import Labelled, Measured, has_dropped, measure, proportion, wrong
from training.metric_table import always_measured
from training.metrics import Estimates, Wanted, grade, value

CLASSES = ("cat", "dog")


def labelled(pairs, *, correct=None, probabilities=None):
    predicted, truth = [each[0] for each in pairs], [each[1] for each in pairs]
    return Labelled(predicted, truth, correct or [None] * len(pairs), np.full(len(pairs), 0.9), probabilities)


def test_a_label_counts_more_than_whether_somebody_said_it_was_right():
    some = labelled([("cat", "cat"), ("cat", "dog"), ("cat", ""), ("cat", "")], correct=[False, True, True, False])
    assert wrong(some).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    "metric",
    [
        *always_measured("classification"),
        "roc_auc",
        'recall(positive="dog")',
        "mcc",
        "cost",
        'average_precision(positive="cat")',
    ],
)
def test_metrics_are_those_of_the_gate(metric):
    random = np.random.default_rng(1)
    shares = random.dirichlet([1, 1], 200)
    predicted = [CLASSES[each] for each in shares.argmax(axis=1)]
    indices = random.integers(0, 2, 200)
    some = Labelled(predicted, [CLASSES[each] for each in indices], [None] * 200, shares.max(axis=1), shares)
    found = measure(metric, some, CLASSES)
    assert isinstance(found, Measured)
    assert found.value == pytest.approx(value(metric, grade(shares, indices, CLASSES, CLASSES, Wanted((metric,)))))
    assert found.low <= found.value <= found.high
    assert found.rows == 200


def test_metrics_of_a_regression_are_those_of_the_gate():
    random = np.random.default_rng(1)
    truth = random.normal(size=100)
    predicted = truth + random.normal(0, 0.1, 100)
    some = Labelled(predicted, [repr(float(each)) for each in truth], [None] * 100, np.full(100, np.nan))
    for metric in ("mae", "rmse", "r2", "loss"):
        found = measure(metric, some, ())
        assert found.value == pytest.approx(value(metric, Estimates(truth, predicted)))
        assert found.low < found.value < found.high


def test_what_cannot_be_measured_says_why():
    assert "cannot be measured" in measure("mae", labelled([("cat", "cat")]), CLASSES)
    assert "no label is known yet" in measure("accuracy", labelled([]), CLASSES)
    assert "no label says what was right" in measure("macro_f1", labelled([("cat", "")], correct=[True]), CLASSES)
    assert "needs probabilities" in measure("brier", labelled([("cat", "cat")]), CLASSES)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilsons_interval_holds_the_share_and_stays_a_share(hits, rows):
    hits = min(hits, rows)
    found = proportion(hits, rows)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_wilsons_interval_has_the_values_of_the_literature():
    found = proportion(81, 263)  # Newcombe 1998, table I
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(1)
    held = [
        found.low <= 0.9 <= found.high
        for found in (proportion(int(each), 200) for each in random.binomial(200, 0.9, 2000))
    ]
    assert 0.93 < np.mean(held) < 0.975


DROPS = {
    "as good": (0.9, 0.88, 0.92, "accuracy", False),
    "worse, and not surely": (0.84, 0.80, 0.88, "accuracy", False),
    "surely worse by less than allowed": (0.87, 0.86, 0.88, "accuracy", False),
    "surely worse than allowed": (0.80, 0.78, 0.82, "accuracy", True),
    "better": (0.99, 0.98, 1.0, "accuracy", False),
    "an error that grew": (0.99, 0.97, 1.0, "mae", True),
    "an error that fell": (0.5, 0.4, 0.6, "mae", False),
}


@pytest.mark.parametrize(("now", "low", "high", "metric", "dropped"), DROPS.values(), ids=DROPS)
def test_quality_has_dropped_when_it_is_surely_worse_than_allowed(now, low, high, metric, dropped):
    assert has_dropped(metric, Measured(now, low, high, 100), 0.9, 10**6, 0.05) is dropped


def test_a_small_holdout_widens_what_is_not_sure():
    now = Measured(0.8, 0.77, 0.83, 700)
    assert has_dropped("accuracy", now, 0.9, 10_000, 0.05)
    assert not has_dropped("accuracy", now, 0.9, 100, 0.05)


@settings(deadline=None, max_examples=100)
@given(st.floats(0.5, 1), st.floats(0.5, 1), st.integers(1, 1000), st.floats(0, 0.3))
def test_what_is_not_below_what_is_allowed_never_fails(then, now, rows, max_drop):
    found = proportion(round(now * rows), rows)
    if found.value >= then - max_drop:
        assert not has_dropped("accuracy", found, then, 1000, max_drop)


def test_looked_at_for_a_month_quality_that_holds_raises_no_alarm():
    """Fifty new labels a time, 2,880 times; then a drop by 15 points is found within a few of them."""
    random = np.random.default_rng(1)
    counts = random.binomial(100, 0.9, 2880)
    assert sum(has_dropped("accuracy", proportion(int(each), 100), 0.9, 2000, 0.05) for each in counts) <= 2
    dropped = random.binomial(100, 0.75, 500)
    assert np.mean([has_dropped("accuracy", proportion(int(each), 100), 0.9, 2000, 0.05) for each in dropped]) > 0.5
    assert not math.isnan(proportion(0, 1).low)
