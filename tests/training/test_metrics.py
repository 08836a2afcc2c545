"""Measures against scikit-learn's, and the paired difference."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from pipelines.workers import comparison
from pipelines.workers.comparison import _student, compare
from registry.errors import ConfigError
from training.metrics import (
    MOST_SCORES,
    Answers,
    Estimates,
    Wanted,
    calibration,
    classification,
    grade,
    join,
    must_be_possible,
    ranked,
    regression,
    take,
    value,
)

CLASSES = ("cat", "dog", "owl", "pig")


def softmax(scores):
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@st.composite
def answers(draw, classes=CLASSES):
    seed, samples = draw(st.integers(0, 10_000)), draw(st.integers(1, 60))
    present = draw(st.lists(st.integers(0, len(classes) - 1), min_size=1, max_size=4))  # a class may be absent
    random = np.random.default_rng(seed)
    truth = random.choice(present, samples)
    return truth, softmax(random.normal(size=(samples, len(classes))) * draw(st.floats(0.1, 30)))


def graded(truth, probabilities, own=CLASSES, classes=CLASSES):
    return grade(probabilities, truth, own, classes)


@given(answers())
def test_a_classifier_is_measured_as_scikit_learn_measures_it(case):
    truth, p = case
    found, labels = classification(graded(truth, p), CLASSES), range(len(CLASSES))
    guess = p.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of absent classes; we say NaN
        per_class = reference.precision_recall_fscore_support(truth, guess, labels=labels, zero_division=np.nan)
        macro = reference.f1_score(truth, guess, labels=labels, average="macro", zero_division=np.nan)
        loss = reference.log_loss(truth, p, labels=labels)
    assert found.values["accuracy"] == pytest.approx(reference.accuracy_score(truth, guess))
    assert found.values["macro_f1"] == pytest.approx(macro)
    assert found.values["loss"] == pytest.approx(loss, rel=1e-5, abs=2e-7)  # it clips at 1 - eps, too
    brier = reference.brier_score_loss(truth, p, labels=labels, scale_by_half=False)
    assert found.values["brier"] == pytest.approx(brier, abs=1e-6)
    assert np.array_equal(found.confusion, reference.confusion_matrix(truth, guess, labels=labels))
    for i, name in enumerate(CLASSES):
        each = found.classes[name]
        wanted = [column[i] for column in per_class]
        assert [each.precision, each.recall, each.f1, each.support] == pytest.approx(wanted, nan_ok=True)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32)), min_size=2, max_size=40),
)
def test_a_regression_is_measured_as_scikit_learn_measures_it(pairs):
    truth, guess = np.array(pairs).T
    assume(truth.std() == 0 or truth.std() > 1e-3)
    found = regression(Estimates(truth, guess)).values
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(truth, guess))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, guess))
    assert found["loss"] == pytest.approx(reference.mean_squared_error(truth, guess))
    assert found["r2"] == pytest.approx(reference.r2_score(truth, guess))


@given(answers())
def test_calibration_bins_hold_every_sample_once_and_make_the_error(case):
    found = classification(graded(*case), CLASSES)
    assert sum(samples for _, _, samples in found.calibration) == found.samples
    gaps = sum(samples * abs(mean - hits) for mean, hits, samples in found.calibration)
    assert found.values["ece"] == pytest.approx(gaps / found.samples)
    assert all(low[0] < high[0] for low, high in zip(found.calibration, found.calibration[1:], strict=False))


@given(answers())
def test_distances_in_ranks_are_measured_as_scikit_learn_measures_them(case):
    of = graded(*case)
    truth, guess = of.truth, of.predicted
    kappa = value("quadratic_kappa", of)
    assert value("rank_mae", of) == pytest.approx(reference.mean_absolute_error(truth, guess))
    assert value("within_one", of) == (abs(truth - guess) <= 1).mean()
    if len({*truth.tolist(), *guess.tolist()}) == 1:
        assert kappa == 0
    else:
        assert kappa == pytest.approx(reference.cohen_kappa_score(truth, guess, weights="quadratic"), abs=1e-9)


def test_an_answer_of_no_class_is_as_far_off_as_can_be():
    nothing = np.full((4, 4), np.nan)
    of = graded(np.array([0, 1, 2, 3]), nothing)
    assert value("rank_mae", of) == (3 + 2 + 2 + 3) / 4
    assert value("within_one", of) == 0


def test_a_perfect_model_is_perfect():
    truth = np.array([0, 1, 2, 3] * 5)
    found = classification(graded(truth, np.eye(4)[truth]), CLASSES)
    assert found.values == pytest.approx({"accuracy": 1, "loss": 0, "macro_f1": 1, "brier": 0, "ece": 0})
    assert found.calibration == ((1.0, 1.0, 20),)


def test_a_class_without_samples_has_no_recall_but_keeps_its_place():
    truth = np.array([0, 0, 1])
    found = classification(graded(truth, np.eye(4)[[0, 2, 1]]), CLASSES)
    assert found.classes["owl"].support == 0
    assert math.isnan(found.classes["owl"].recall)
    assert found.classes["owl"].precision == 0
    assert math.isnan(found.classes["pig"].f1)
    assert found.values["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)  # pig: neither in truth nor predicted


def test_an_answer_that_is_not_finite_is_wrong_and_makes_the_loss_nan():
    truth, p = np.array([0, 1, 2]), np.eye(4)[[0, 1, 2]]
    p[1, 3] = math.nan
    assert graded(truth, p).predicted.tolist() == [0, -1, 2]
    found = classification(graded(truth, p), CLASSES)
    assert found.values["accuracy"] == pytest.approx(2 / 3)
    assert all(math.isnan(found.values[name]) for name in ("loss", "brier", "ece"))
    assert found.classes["dog"].recall == 0
    assert math.isnan(regression(Estimates(np.array([1.0, 2.0]), np.array([1.0, math.nan]))).values["r2"])


def test_no_samples_give_nan():
    none = graded(np.array([], dtype=int), np.empty((0, 4)))
    assert all(math.isnan(each) for each in classification(none, CLASSES).values.values())
    assert all(math.isnan(each) for each in regression(Estimates(np.array([]), np.array([]))).values.values())


def test_classes_are_matched_by_name():
    truth = np.array([0, 1, 2, 3])  # cat dog owl pig; the model knows pig, emu, cat
    p = np.array([[0, 0, 1], [0.5, 0.1, 0.4], [0.1, 0.9, 0], [1, 0, 0]])
    found = graded(truth, p, own=("pig", "emu", "cat"))
    assert found.predicted.tolist() == [0, 3, -1, 3]
    assert (found.truth == found.predicted).tolist() == [True, False, False, True]
    assert found.brier[1] == pytest.approx(0.25 + 0.01 + 0.16 + 1)  # nothing on dog
    assert found.log_loss[1] == pytest.approx(-math.log(np.finfo(np.float32).eps))


@given(answers(), st.integers(1, 7))
def test_batches_make_no_difference(case, size):
    truth, p = case
    parts = [graded(truth[i : i + size], p[i : i + size]) for i in range(0, len(truth), size)]
    whole, joined = graded(truth, p), join(parts)
    assert all(np.array_equal(getattr(whole, name), getattr(joined, name)) for name in Answers.__slots__)


def right(*flags):
    flags = np.array(flags)
    return Answers(np.zeros(len(flags), int), np.where(flags, 0, 1), *[np.full(len(flags), 0.5)] * 3)


def test_the_accuracy_interval_is_that_of_agresti_and_min():
    """Their rule by hand: 5 won, 1 lost of 20; half a sample more in each of the four cells."""
    new = right(*[True] * 15, *[False] * 5)
    live = right(*[True] * 10, *[False] * 5, True, *[False] * 4)
    found = compare(new, live, "accuracy", 7, seed=1)
    middle, width = (5.5 - 1.5) / 22, 1.959964 * math.sqrt(5.5 + 1.5 - (5.5 - 1.5) ** 2 / 22) / 22
    assert (found.low, found.high) == pytest.approx((middle - width, middle + width), abs=1e-6)
    assert (found.difference, found.live_version, found.samples) == (pytest.approx(0.2), 7, 20)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_the_accuracy_interval_holds_the_difference_and_mirrors(pairs):
    new, live = right(*[a for a, _ in pairs]), right(*[b for _, b in pairs])
    found, mirrored = compare(new, live, "accuracy", 1, 1), compare(live, new, "accuracy", 1, 1)
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_the_mae_interval_is_students_and_positive_is_better():
    random = np.random.default_rng(3)
    truth = random.normal(size=25)
    new, live = (Estimates(truth, truth + random.normal(0, spread, 25)) for spread in (0.1, 1.0))
    found = compare(new, live, "mae", 1, seed=1)
    errors = np.abs(live.truth - live.predicted) - np.abs(new.truth - new.predicted)
    width = 2.063899 * errors.std(ddof=1) / 5  # t(24)
    assert found.difference == pytest.approx(errors.mean())
    assert found.difference > 0
    assert (found.low, found.high) == pytest.approx((errors.mean() - width, errors.mean() + width), rel=1e-5)


@pytest.mark.parametrize(("freedom", "wanted"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (29, 2.0452)])
def test_students_quantile(freedom, wanted):
    assert _student(freedom) == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("metric", ["loss", "macro_f1", "brier", "ece"])
def test_other_metrics_are_resampled_in_pairs_and_repeatably(metric):
    random = np.random.default_rng(5)
    truth = random.integers(4, size=80)
    good, poor = (graded(truth, softmax(random.normal(size=(80, 4)) + skill * np.eye(4)[truth])) for skill in (4, 0.5))
    found = compare(good, poor, metric, 1, seed=1)
    assert found == compare(good, poor, metric, 1, seed=1)
    assert found.low < found.difference < found.high
    same = compare(good, good, metric, 1, seed=1)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert found.difference > 0
    assert compare(poor, good, metric, 1, seed=1).difference < 0


def test_the_bootstrap_agrees_with_the_formula_for_a_mean():
    random = np.random.default_rng(9)
    truth = random.normal(size=400)
    new, live = (Estimates(truth, truth + random.normal(0, spread, 400)) for spread in (1.0, 1.2))
    found = compare(new, live, "loss", 1, seed=2)
    squares = (live.truth - live.predicted) ** 2 - (new.truth - new.predicted) ** 2
    width = 1.96 * squares.std(ddof=1) / 20
    assert (found.low, found.high) == pytest.approx((squares.mean() - width, squares.mean() + width), abs=0.04)


def test_nothing_is_compared_with_nan():
    found = compare(Estimates(np.ones(3), np.array([1, 2, math.nan])), Estimates(np.ones(3), np.ones(3)), "r2", 1, 1)
    assert math.isnan(found.difference)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("side", ["new", "live", "both"])
def test_a_difference_from_nan_has_no_interval_in_any_metric(side):
    lost, whole = (Estimates(np.ones(3), np.array([1.0, 2.0, last])) for last in (math.nan, 4.0))
    new, live = (lost if side in {name, "both"} else whole for name in ("new", "live"))
    for metric in ("mae", "loss", "r2"):
        found = compare(new, live, metric, 1, 1)
        assert all(map(math.isnan, (found.difference, found.low, found.high)))


def test_two_sides_without_samples_have_nothing_to_compare():
    for each in (Estimates(np.array([]), np.array([])), graded(np.array([], dtype=int), np.empty((0, 4)))):
        metric = "mae" if isinstance(each, Estimates) else "accuracy"
        found = compare(each, each, metric, 1, 1)
        assert found.samples == 0
        assert all(map(math.isnan, (found.difference, found.low, found.high)))


def test_the_interval_of_a_mean_needs_two_samples():
    one = compare(Estimates(np.array([1.0]), np.array([1.5])), Estimates(np.array([1.0]), np.array([3.0])), "mae", 1, 1)
    assert one.difference == pytest.approx(1.5)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    new, live = (Estimates(np.array([1.0, 1.0]), np.array(guess)) for guess in ([1.5, 1.5], [3.0, 4.0]))
    two = compare(new, live, "mae", 1, 1)  # better by 1.5 and by 2.5
    width = 12.706204736 * math.sqrt(0.5) / math.sqrt(2)
    assert (two.difference, two.low, two.high) == pytest.approx((2.0, 2.0 - width, 2.0 + width))


def test_the_interval_of_a_mean_is_students():
    random = np.random.default_rng(3)
    truth = random.normal(size=6)
    new, live = (Estimates(truth, truth + random.normal(0, spread, 6)) for spread in (1.0, 2.0))
    found = compare(new, live, "mae", 1, 1)
    better = np.abs(live.truth - live.predicted) - np.abs(new.truth - new.predicted)
    width = 2.5705818 * better.std(ddof=1) / math.sqrt(6)
    assert (found.low, found.high) == pytest.approx((better.mean() - width, better.mean() + width), rel=2e-4)


def test_an_interval_of_accuracies_stays_between_minus_one_and_one():
    best = compare(right(True), right(False), "accuracy", 1, 1)
    worst = compare(right(False), right(True), "accuracy", 1, 1)
    assert (best.high, worst.low) == (1.0, -1.0)
    assert -1 < best.low < best.high
    assert worst.low < worst.high < 1


class Draws:
    """A generator of random numbers that counts what is asked of it."""

    def __init__(self, _seed):
        Draws.asked = []

    def integers(self, high, size):
        Draws.asked.append((high, size))
        return np.zeros(0, int)


@pytest.mark.parametrize(("samples", "resamples"), [(100, 2000), (20_000, 2000), (25_000, 1600), (1_000_000, 200)])
def test_a_large_holdout_is_resampled_less_often(samples, resamples, monkeypatch):
    monkeypatch.setattr(comparison.np.random, "default_rng", Draws)
    monkeypatch.setattr(comparison, "take", lambda of, index: of)
    monkeypatch.setattr(comparison, "value", lambda metric, of: 0.0)
    each = Estimates(np.zeros(samples), np.zeros(samples))
    compare(each, each, "loss", 1, 1)
    assert Draws.asked == [(samples, samples)] * resamples


def test_the_bootstrap_is_that_of_its_seed():
    truth = np.arange(30.0)
    new, live = (Estimates(truth, truth + np.sin(np.arange(30) * speed)) for speed in (1, 2))
    found = [compare(new, live, "loss", 1, seed) for seed in (1, 2)]
    assert (found[0].low, found[0].high) != (found[1].low, found[1].high)
    index = np.random.default_rng(1)
    each = [index.integers(30, size=30) for _ in range(2000)]
    better = [value("loss", take(live, one)) - value("loss", take(new, one)) for one in each]
    assert (found[0].low, found[0].high) == pytest.approx(tuple(np.quantile(better, (0.025, 0.975))))


@pytest.mark.parametrize(("freedom", "wanted"), [(3, 3.182446), (4, 2.776445), (6, 2.446912), (10, 2.228139)])
def test_students_quantile_to_half_a_percent_or_better(freedom, wanted):
    assert _student(freedom) == pytest.approx(wanted, rel=5e-3 if freedom == 3 else 2e-3)
    assert _student(50) == pytest.approx(2.0085591, rel=1e-6)
    assert _student(10) == pytest.approx(2.2281389, rel=2e-5)


EXPANSION = {4: (1, 1), 96: (3, 16, 5), 384: (-15, 17, 19, 3), 92160: (-945, -1920, 1482, 776, 79)}
"""Abramowitz and Stegun 26.7.5: what each term is divided by, and its coefficients of z, z^3, z^5, …"""


@pytest.mark.parametrize("freedom", [3, 4, 10, 100])
def test_students_quantile_is_the_expansion_of_abramowitz_and_stegun(freedom):
    terms = [sum(each * comparison.Z ** (2 * i + 1) for i, each in enumerate(of)) / by for by, of in EXPANSION.items()]
    wanted = comparison.Z + sum(term / freedom ** (i + 1) for i, term in enumerate(terms))
    assert _student(freedom) == pytest.approx(wanted, rel=1e-12)


def test_bins_of_calibration_are_fifteen_of_equal_width():
    confidence = np.array([0.0, 1 / 15, 1.01 / 15, 2 / 15, 0.5, 14 / 15, 14.1 / 15, 1.0])
    flags = np.array([True, False, True, True, False, True, True, True])
    given = Answers(np.zeros(8, int), np.where(flags, 0, 1), confidence, *[np.zeros(8)] * 2)
    found = calibration(given)
    assert [samples for _, _, samples in found] == [2, 2, 1, 1, 2]
    assert [share for _, share, _ in found] == pytest.approx([0.5, 1.0, 0.0, 1.0, 1.0])
    assert found[0][0] == pytest.approx(1 / 30)
    assert found[-1][0] == pytest.approx((14.1 / 15 + 1) / 2)


def test_a_confidence_that_is_not_finite_is_in_no_bin():
    given = Answers(np.zeros(2, int), np.zeros(2, int), np.array([math.nan, 0.5]), *[np.zeros(2)] * 2)
    assert calibration(given) == ((0.5, 1.0, 1),)


def test_a_probability_that_is_rounded_above_one_counts_as_one():
    given = graded(np.array([0, 1]), np.array([[1 + 1e-6, 0, 0, 0], [0, 0.99, 0.01, 0]]))
    assert given.log_loss[0] == 0
    assert calibration(given) == ((pytest.approx(0.995, abs=1e-6), 1.0, 2),)


def test_metrics_say_of_which_task_they_are():
    assert classification(graded(np.array([0]), np.eye(4)[[0]]), CLASSES).task == "classification"
    found = regression(Estimates(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert (found.task, found.samples) == ("regression", 2)


def test_of_a_constant_target_and_of_one_sample_r2_differs():
    def r2(truth, guess):
        return regression(Estimates(np.array(truth), np.array(guess))).values["r2"]

    assert r2([2.0, 2.0], [2.0, 2.0]) == 1
    assert r2([2.0, 2.0], [2.0, 3.0]) == 0
    assert math.isnan(r2([2.0, 2.0], [2.0, math.nan]))
    assert math.isnan(r2([2.0], [2.0]))
    assert r2([1.0, 3.0], [1.0, 2.0]) == pytest.approx(0.5)


def test_a_metric_of_the_other_task_is_a_key_error():
    with pytest.raises(KeyError):
        value("accuracy", Estimates(np.ones(2), np.ones(2)))


def test_answers_of_no_class_are_counted_as_wrong_but_in_no_column():
    given = Answers(np.array([0, 1, 1]), np.array([-1, 1, -1]), *[np.full(3, 0.5)] * 3)
    found = classification(given, ("a", "b"))
    assert found.confusion == ((0, 0), (0, 1))
    assert found.values["accuracy"] == pytest.approx(1 / 3)
    assert found.classes["b"].support == 2
    assert found.classes["b"].f1 == pytest.approx(2 / 3)
    assert found.values["macro_f1"] == pytest.approx((0 + 2 / 3) / 2)


def test_samples_may_be_taken_twice():
    each = take(Estimates(np.array([1.0, 2.0]), np.array([1.0, 5.0])), np.array([1, 1, 0]))
    assert value("mae", each) == pytest.approx(2.0)


NAMED = {
    **{f'{name}(positive="{each}")': (name, each) for name in ("roc_auc", "average_precision") for each in CLASSES},
    **{f'{name}(positive="{each}")': (name, each) for name in ("precision", "recall") for each in CLASSES},
}


def measured(truth, p, *measures, costs=None, own=CLASSES):
    given = grade(p, truth, own, CLASSES, Wanted(measures, costs or {}))
    return classification(given, CLASSES, measures).values


@given(answers())
def test_rankings_and_classes_are_measured_as_scikit_learn_measures_them(case):
    truth, p = case
    guess = p.argmax(axis=1)
    found = measured(truth, p, *NAMED, "roc_auc", "average_precision", "precision", "recall", "f_beta(beta=2)", "mcc")
    ranked = {"roc_auc": reference.roc_auc_score, "average_precision": reference.average_precision_score}
    per_class = {name: [] for name in ranked}
    for measure, (name, positive) in NAMED.items():
        own = truth == CLASSES.index(positive)
        if not own.any():
            assert math.isnan(found[measure])
        elif name in ranked and (name == "average_precision" or not own.all()):
            wanted = ranked[name](own, p[:, CLASSES.index(positive)])
            per_class[name].append(wanted)
            assert found[measure] == pytest.approx(wanted)
    present = np.union1d(truth, guess)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, score in (("precision", reference.precision_score), ("recall", reference.recall_score)):
            wanted = score(truth, guess, labels=present, average="macro", zero_division=0)
            assert found[name] == pytest.approx(wanted)
        wanted = reference.fbeta_score(truth, guess, beta=2, labels=present, average="macro", zero_division=0)
        assert found["f_beta(beta=2)"] == pytest.approx(wanted)
        assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(truth, guess))
    if len(set(truth)) > 1:
        for name, wanted in per_class.items():
            assert found[name] == pytest.approx(np.mean(wanted))


@given(answers(), st.integers(1, 3))
def test_top_k_is_that_of_scikit_learn(case, k):
    truth, p = case
    assume(all(len(set(row)) == len(row) for row in p.tolist()))  # ties are broken another way there
    found = measured(truth, p, f"top_k(k={k})")[f"top_k(k={k})"]
    assert found == pytest.approx(reference.top_k_accuracy_score(truth, p, k=k, labels=range(len(CLASSES))))


@given(answers())
def test_the_first_k_begin_with_the_answer_and_f1_is_f_beta_of_one(case):
    found = measured(*case, "top_k(k=1)", "top_k(k=2)", "f_beta(beta=1)", "cost")
    assert found["top_k(k=1)"] == found["accuracy"] <= found["top_k(k=2)"]
    assert found["f_beta(beta=1)"] == pytest.approx(found["macro_f1"])
    assert found["cost"] == pytest.approx(1 - found["accuracy"]), "without costs, every mistake costs 1"


def test_a_mistake_costs_what_the_matrix_says():
    truth, p = np.array([0, 0, 1, 2]), np.eye(4)[[1, 0, 1, 3]]
    costs = {"cat": {"dog": 10}, "dog": {"dog": -2}}
    assert measured(truth, p, "cost", costs=costs)["cost"] == pytest.approx((10 + 0 - 2 + 1) / 4)
    other = measured(np.array([0, 1]), np.eye(4)[[0, 0]], "cost", costs=costs, own=("emu", "dog", "owl", "pig"))
    assert other["cost"] == pytest.approx((10 + 1) / 2), (
        "a class that the dataset does not have costs as the dearest one"
    )


def test_of_a_model_that_does_not_know_a_class_it_is_never_among_the_first():
    found = measured(np.array([0, 1]), np.eye(3)[[0, 1]], "top_k(k=3)", 'roc_auc(positive="cat")', own=CLASSES[1:])
    assert found["top_k(k=3)"] == 0.5
    assert found['roc_auc(positive="cat")'] == 0.5, "its probability is 0 for all"


def test_an_answer_that_is_not_finite_makes_every_metric_of_probabilities_nan():
    p = np.array([[math.nan, 0, 0, 0], [0, 1, 0, 0]])
    found = measured(np.array([0, 1]), p, "roc_auc", "average_precision", "cost", "top_k(k=2)")
    assert all(math.isnan(found[name]) for name in ("loss", "roc_auc", "average_precision", "cost"))
    assert found["top_k(k=2)"] == 0.5


@given(answers(), st.data())
def test_ranks_in_place_of_probabilities_change_nothing(case, data):
    truth, p = case
    wanted = ("roc_auc", "average_precision", 'roc_auc(positive="owl")')
    given_ = grade(p, truth, CLASSES, CLASSES, Wanted(wanted))
    index = np.array(data.draw(st.lists(st.integers(0, len(truth) - 1), min_size=1, max_size=60)))
    for each in wanted:
        one, other = value(each, take(ranked(given_), index)), value(each, take(given_, index))
        assert one == pytest.approx(other, nan_ok=True)


@given(st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_shares_and_quantiles_are_those_of_scikit_learn(pairs, quantile):
    truth, guess = np.array(pairs).T
    measure = f"pinball(quantile={quantile!r})"
    found = regression(Estimates(truth, guess), ("mape", measure)).values
    assert found["mape"] == pytest.approx(reference.mean_absolute_percentage_error(truth, guess))
    assert found[measure] == pytest.approx(reference.mean_pinball_loss(truth, guess, alpha=quantile))
    assert math.isnan(value("mape", Estimates(np.array([0.0, 1.0]), np.array([1.0, 1.0]))))


@pytest.mark.parametrize(
    "measure", ["roc_auc", 'average_precision(positive="owl")', 'recall(positive="dog")', "mcc", "cost", "top_k(k=2)"]
)
def test_each_metric_of_classes_has_a_paired_interval(measure):
    random = np.random.default_rng(5)
    truth, noise = random.integers(0, 4, 400), random.normal(size=(400, 4))
    good, bad = (softmax(strength * np.eye(4)[truth] + noise) for strength in (3.0, 1.0))
    new, live = (grade(each, truth, CLASSES, CLASSES, Wanted((measure,))) for each in (good, bad))
    found, same = compare(new, live, measure, 1, 1), compare(new, new, measure, 1, 1)
    assert 0 < found.low < found.difference < found.high
    assert (same.low, same.difference, same.high) == (0, 0, 0)


def test_resamples_without_a_rare_class_count_only_when_they_are_few():
    truth = np.array([0] * 200 + [2] * 6)  # one resample in 400 has none of them
    p = softmax(np.random.default_rng(1).normal(size=(206, 4)))
    often = grade(p, truth, CLASSES, CLASSES, Wanted(('recall(positive="owl")',)))
    assert math.isfinite(compare(often, often, 'recall(positive="owl")', 1, 1).low)
    rare = take(often, np.arange(201))  # one sample of it: a third of the resamples have none
    assert math.isnan(compare(rare, rare, 'recall(positive="owl")', 1, 1).low)


def test_what_is_not_kept_is_not_measured_by_accident():
    plain = graded(np.array([0, 1]), np.eye(4)[[0, 1]])
    for measure in ("roc_auc", "top_k(k=2)", "cost"):
        with pytest.raises(ValueError, match="not kept"):
            value(measure, plain)
    some = grade(np.eye(4)[[0, 1]], np.array([0, 1]), CLASSES, CLASSES, Wanted(('roc_auc(positive="owl")',)))
    assert some.scores.shape == (2, 1)
    with pytest.raises(ValueError, match="not kept"):
        value("roc_auc", some)


def test_too_many_probabilities_are_refused_before_anything_is_measured():
    must_be_possible(Wanted(("roc_auc",)), "classification", CLASSES, MOST_SCORES // 4)
    must_be_possible(Wanted(('roc_auc(positive="owl")',)), "classification", CLASSES, MOST_SCORES)
    with pytest.raises(ConfigError, match="needs 100,000,004 numbers, 100,000,000 are kept"):
        must_be_possible(Wanted(("roc_auc",)), "classification", CLASSES, MOST_SCORES // 4 + 1)
    with pytest.raises(ConfigError, match="has no class 'emu'"):
        must_be_possible(Wanted(('recall(positive="emu")',)), "classification", CLASSES, 10)


TARGETS = ("wing", "weight", "bill")


@st.composite
def several(draw):
    seed, samples = draw(st.integers(0, 10_000)), draw(st.integers(2, 50))
    random = np.random.default_rng(seed)
    truth = random.normal(size=(samples, 3)) * (1, 1000, 0.01) + (2, 5000, 1)
    return Estimates(truth, truth + random.normal(size=(samples, 3)) * draw(st.floats(0.01, 10)), TARGETS)


@given(several())
def test_of_several_targets_each_metric_is_scikit_learns_uniform_average(of):
    found = regression(of, ("mape", "pinball(quantile=0.9)"))
    pair, average = (of.truth, of.predicted), {"multioutput": "uniform_average"}
    assert found.values["mae"] == pytest.approx(reference.mean_absolute_error(*pair, **average))
    assert found.values["loss"] == pytest.approx(reference.mean_squared_error(*pair, **average))
    assert found.values["rmse"] == pytest.approx(reference.root_mean_squared_error(*pair, **average))
    assert found.values["r2"] == pytest.approx(reference.r2_score(*pair, **average))
    assert found.values["mape"] == pytest.approx(reference.mean_absolute_percentage_error(*pair, **average))
    pinball = reference.mean_pinball_loss(*pair, alpha=0.9, **average)
    assert found.values["pinball(quantile=0.9)"] == pytest.approx(pinball)


@given(several())
def test_a_metric_that_names_a_target_is_that_of_its_column_alone(of):
    names = (
        'mae(target="weight")',
        'rmse(target="weight")',
        'r2(target="weight")',
        'pinball(quantile=0.1, target="weight")',
    )
    found = regression(of, names)
    alone = regression(Estimates(of.truth[:, 1], of.predicted[:, 1]), ("pinball(quantile=0.1)",))
    assert list(found.targets) == list(TARGETS)
    for name in ("mae", "rmse", "r2"):
        assert found.values[f'{name}(target="weight")'] == alone.values[name] == getattr(found.targets["weight"], name)
    assert found.values['pinball(quantile=0.1, target="weight")'] == alone.values["pinball(quantile=0.1)"]


@given(several(), st.data())
def test_some_samples_of_several_targets_are_those_samples(of, data):
    rows = np.array(data.draw(st.lists(st.integers(0, len(of.truth) - 1), min_size=1, max_size=20)))
    assert take(of, rows).targets == TARGETS
    assert np.array_equal(take(of, rows).truth, of.truth[rows])
    assert np.array_equal(join([take(of, rows), of]).predicted, np.concatenate([of.predicted[rows], of.predicted]))


def test_a_constant_target_among_others_counts_as_it_does_alone():
    truth = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    assert value("r2", Estimates(truth, truth, ("a", "b"))) == 1
    assert value("r2", Estimates(truth, truth + np.array([0, 1]), ("a", "b"))) == 0.5
    assert math.isnan(value("r2", Estimates(truth, np.full((3, 2), np.nan), ("a", "b"))))


def test_the_interval_of_the_mean_over_targets_is_students_over_samples():
    random = np.random.default_rng(2)
    truth = random.normal(size=(50, 3))
    new, live = (Estimates(truth, truth + random.normal(size=(50, 3)) * size, TARGETS) for size in (0.5, 1))
    found = compare(new, live, "mae", 4, 1)
    errors = (np.abs(live.truth - live.predicted) - np.abs(new.truth - new.predicted)).mean(axis=1)
    half = _student(49) * errors.std(ddof=1) / math.sqrt(50)
    assert found.difference == pytest.approx(errors.mean())
    assert (found.low, found.high) == pytest.approx((errors.mean() - half, errors.mean() + half))


@pytest.mark.parametrize("measure", ["r2", "rmse", 'mae(target="bill")'])
def test_each_metric_of_several_targets_has_a_paired_interval(measure):
    random = np.random.default_rng(3)
    truth = random.normal(size=(80, 3))
    new, live = (Estimates(truth, truth + random.normal(size=(80, 3)) * size, TARGETS) for size in (0.3, 1))
    found = compare(new, live, measure, 4, 1)
    assert 0 < found.low < found.difference < found.high


def test_a_target_that_the_dataset_has_not_is_refused_before_anything_is_measured():
    must_be_possible(Wanted(('mae(target="wing")',), targets=TARGETS), "regression", (), 10)
    for targets, why in ((TARGETS, "the dataset has 'wing', 'weight', 'bill'"), ((), "one number per sample")):
        with pytest.raises(ConfigError, match=why):
            must_be_possible(Wanted(('mae(target="tail")',), targets=targets), "regression", (), 10)
