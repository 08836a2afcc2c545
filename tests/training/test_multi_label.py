"""Several labels per sample: the metrics agree with scikit-learn, labels are matched by name, and a softmax is found out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from pipelines.workers.comparison import compare
from training.metrics import Names, Wanted, graded, join, ranked, summary, take, value
from training.multi_label import decided, exclusive

LABELS = ("rain", "wind", "fog")
RANKING = ("roc_auc", "average_precision", 'roc_auc(positive="fog")')


def of(p, y, own=LABELS, threshold=0.5, wanted=()):
    return graded("multi-label", np.asarray(p), np.asarray(y), Names(own, LABELS, threshold), Wanted(tuple(wanted)))


def some(samples=200, seed=0):
    random = np.random.default_rng(seed)
    y = (random.random((samples, 3)) < (0.6, 0.3, 0.1)).astype(np.float32)
    return np.clip(0.5 * y + random.random((samples, 3)) * 0.6, 0, 1).astype(np.float32), y


@pytest.mark.parametrize("seed", range(3))
def test_every_metric_agrees_with_scikit_learn(seed):
    p, y = some(seed=seed)
    found = summary(of(p, y, wanted=RANKING), LABELS, RANKING)
    said = p >= 0.5
    assert found.values == pytest.approx(
        {
            "accuracy": reference.accuracy_score(y, said),
            "loss": np.mean([reference.log_loss(y[:, i], p[:, i].astype(np.float64)) for i in range(3)]),
            "macro_f1": reference.f1_score(y, said, average="macro"),
            "micro_f1": reference.f1_score(y, said, average="micro"),
            "hamming_loss": reference.hamming_loss(y, said),
            "roc_auc": reference.roc_auc_score(y, p),
            "average_precision": reference.average_precision_score(y, p),
            'roc_auc(positive="fog")': reference.roc_auc_score(y[:, 2], p[:, 2]),
        },
        rel=1e-5,
    )
    table = reference.precision_recall_fscore_support(y, said, average=None)
    assert list(found.classes) == list(LABELS)
    for each, wanted in zip(found.classes.values(), zip(*table, strict=True), strict=True):
        assert (each.precision, each.recall, each.f1, each.support) == pytest.approx(wanted)
    assert (found.task, found.samples, found.confusion) == ("multi-label", 200, ())


def test_a_label_applies_from_the_threshold_on():
    p, y = [[0.3, 0.29, np.float32(0.3)]], [[1, 0, 1]]
    assert of(p, y, threshold=0.3).right.tolist() == [True]
    assert of(p, y).predicted.tolist() == [[False] * 3]
    assert decided(np.array([0.1], np.float32), 0.1).tolist() == [True]  # a float32 of 0.1 is not the float64 of 0.1


def test_labels_are_matched_by_name_and_one_that_the_model_lacks_is_never_given():
    p, y = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0, 1, 1], [1, 0, 0]])
    found = of(p, y, own=("wind", "rain"))
    assert found.predicted.tolist() == [[False, True, False], [True, False, False]]
    assert found.right.tolist() == [False, True]
    assert found.losses.tolist() == pytest.approx([1 / 3, 0])


def test_a_sample_with_a_probability_that_is_not_finite_has_no_label_and_no_loss():
    found = summary(of([[math.nan, 0.9, 0.9], [0.9, 0.9, 0.1]], [[0, 1, 1], [1, 1, 0]]), LABELS)
    assert math.isnan(found.values["loss"])
    assert found.values["accuracy"] == 0.5


def test_where_no_label_is_there_and_none_is_given_nothing_is_wrong():
    found = summary(of(np.zeros((4, 3)), np.zeros((4, 3))), LABELS)
    assert (found.values["micro_f1"], found.values["macro_f1"], found.values["hamming_loss"]) == (1, 1, 0)
    assert math.isnan(found.classes["rain"].f1)


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_batches_resamples_and_ranks_change_no_metric(cut, seed):
    p, y = some(61, seed=seed % 1000)
    whole = of(p, y, wanted=RANKING)
    parts = join([of(p[:cut], y[:cut], wanted=RANKING), of(p[cut:], y[cut:], wanted=RANKING)])
    order = np.random.default_rng(seed).permutation(61)
    for metric in ("accuracy", "micro_f1", "macro_f1", "hamming_loss", "loss", *RANKING):
        expected = pytest.approx(value(metric, whole), nan_ok=True)
        assert value(metric, parts) == expected
        assert value(metric, take(ranked(whole), order)) == expected


def test_a_better_model_is_better_in_each_metric_with_its_interval():
    p, y = some()
    worse = of(np.clip(p + np.random.default_rng(5).normal(0, 0.4, p.shape), 0, 1), y)
    for metric in ("accuracy", "micro_f1", "hamming_loss"):
        found = compare(of(p, y), worse, metric, 3, seed=1)
        assert 0 < found.low < found.difference < found.high
        assert (found.live_version, found.samples) == (3, 200)


def test_a_metric_of_classes_alone_is_not_one_of_labels():
    with pytest.raises(KeyError):
        value("mcc", of(*some()))


def test_answers_that_add_up_to_1_are_found_out_only_where_labels_do_not_exclude_each_other():
    p, y = some()
    softmax = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    several = int((y.sum(axis=1) != 1).sum())
    assert f"{several} of the samples have several labels or none" in exclusive(softmax, y)
    assert exclusive(p, y) == ""
    assert exclusive(softmax, np.eye(3)[np.arange(200) % 3]) == ""  # one label each: they do exclude each other
    assert exclusive(np.full((200, 2), 0.5), y[:, :2]) == ""  # a model that has learned nothing
