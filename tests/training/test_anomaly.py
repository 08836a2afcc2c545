"""What scores come to: the threshold, who counts for which metric, and that the metrics are those of scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.workers.comparison import compare
from registry.errors import ConfigError
from registry.records import Signature, TensorSpec
from training.anomaly import grade_scores, is_anomalous, threshold_of
from training.loop.goal import check_metric, measure
from training.metric_table import OF_LABELLED, always_measured, title, unsuitable
from training.metrics import Names, Wanted, graded, join, ranked, summary, take, value

finite = st.floats(-1e6, 1e6, width=32)
marks = st.sampled_from([0.0, 1.0, math.nan])


def scores_of(pairs, threshold=0.5):
    return grade_scores(np.array([each[0] for each in pairs]), np.array([each[1] for each in pairs]), threshold)


@given(st.lists(finite, min_size=1), st.floats(0.01, 0.999))
def test_no_more_of_the_train_split_is_anomalous_than_the_quantile_leaves(scores, quantile):
    threshold = threshold_of(np.array(scores, np.float32), quantile)
    assert np.float32(threshold) in np.array(scores, np.float32)
    assert is_anomalous(scores, threshold).mean() <= 1 - quantile + 1e-9
    assert threshold_of(np.array(scores, np.float32)[:, None], quantile) == threshold


def test_a_score_at_the_threshold_is_usual_and_nan_is_not_anomalous():
    assert is_anomalous([0.1, np.nextafter(np.float32(0.1), np.float32(1)), math.nan], 0.1).tolist() == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ConfigError, match=r"gives 1 of 3 samples of the train split a score that is NaN or infinite"):
        threshold_of(np.array([1.0, bad, 2.0]), 0.9)


@given(st.lists(st.tuples(finite, marks), min_size=1))
def test_who_counts_follows_from_the_marks(pairs):
    found = scores_of(pairs)
    values = summary(found, ()).values
    usual = [score for score, mark in pairs if mark != 1]
    assert values["mean_score"] == pytest.approx(np.mean(np.float32(usual)) if usual else math.nan, nan_ok=True)
    assert values["false_alarms"] == pytest.approx(np.mean(np.float32(usual) > 0.5) if usual else math.nan, nan_ok=True)
    both = {mark for _, mark in pairs} >= {0.0, 1.0}
    assert (values.keys() >= set(OF_LABELLED)) is both
    if not both:
        assert math.isnan(value("roc_auc", found))
        assert math.isnan(value("f_beta(beta=2)", found))


def test_metrics_of_marks_are_those_of_scikit_learn_over_what_is_marked():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    truth = random.choice([0.0, 1.0, math.nan], 400, p=[0.5, 0.1, 0.4])
    score = random.normal(size=400).astype(np.float32) + (truth == 1)
    found, known = grade_scores(score, truth, 0.8), np.isfinite(truth)
    said, wanted = score[known] > np.float32(0.8), truth[known] == 1
    assert value("roc_auc", found) == pytest.approx(metrics.roc_auc_score(wanted, score[known]))
    assert value("average_precision", found) == pytest.approx(metrics.average_precision_score(wanted, score[known]))
    assert value("precision", found) == pytest.approx(metrics.precision_score(wanted, said))
    assert value("recall", found) == pytest.approx(metrics.recall_score(wanted, said))
    assert value("f_beta(beta=2)", found) == pytest.approx(metrics.fbeta_score(wanted, said, beta=2))


def test_batches_are_joined_and_resampled_without_changing_scores_to_ranks():
    whole = scores_of([(3.0, 0.0), (9.0, 1.0), (1.0, math.nan), (8.0, 0.0)])
    parts = [take(whole, np.array([0, 1])), take(whole, np.array([2, 3]))]
    again = ranked(join(parts))
    for measure_ in ("mean_score", "false_alarms", "roc_auc", "recall"):
        assert value(measure_, again) == value(measure_, whole)
    better = scores_of([(0.1, 0.0), (9.0, 1.0), (0.2, math.nan), (0.3, 0.0)])
    found = compare(better, whole, "mean_score", 3, 1)
    assert (found.difference, found.live_version) == (pytest.approx(4.0 - 0.2), 3)
    assert found.low > 0


def test_training_goes_by_the_mean_score_where_nothing_is_marked():
    answers, wanted = np.array([[0.5], [1.5]]), Wanted(("mean_score",))
    assert measure("anomaly", answers, np.zeros(2), wanted)["mean_score"] == 1.0
    assert math.isnan(measure("anomaly", np.array([[math.nan]]), np.zeros(1), wanted)["mean_score"])
    assert always_measured("anomaly") == ("mean_score", "false_alarms")
    check_metric("roc_auc", "anomaly")
    with pytest.raises(ConfigError, match="'accuracy' is not measured for anomaly"):
        check_metric("accuracy", "anomaly")


def test_metrics_of_classes_say_what_they_are_of_anomalies():
    assert title("recall", "anomaly") == "recall (share of the anomalies that is found)"
    assert title("f_beta(beta=2)", "anomaly") == "F-2 of the anomalies"
    assert title("recall") == "recall (share that is found, mean over the classes)"
    assert "leave positive out" in unsuitable('recall(positive="1")', "anomaly", ())


def test_a_signature_says_all_that_an_answer_holds_once():
    model = Signature("anomaly", "array", (), (TensorSpec("score", (None, 1), "float32"),), threshold=2.0)
    assert [(each.name, each.dtype, each.shape) for each in model.answered.outputs] == [
        ("score", "float32", (None,)), ("anomalous", "bool", (None,)), ("threshold", "float32", (None,)),
    ]  # fmt: skip
    assert model.answered.answered == model.answered
    other = Signature("regression", "array", (), model.outputs)
    assert other.answered == other
    assert graded("anomaly", np.array([[3.0]]), np.array([1.0]), Names(threshold=2.0)).predicted.tolist() == [True]
