"""The table of metrics: every row can be measured, is listed in the documentation, and says what is wrong with its arguments."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.records.measure import read_measure, written
from training import metric_functions
from training.metric_table import (
    METRICS,
    always_measured,
    better,
    needs_probabilities,
    problems,
    row_of,
    title,
    unsuitable,
)
from training.metrics import Estimates, Names, Wanted, grade, graded, value

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "gate.md").read_text(encoding="utf-8")
ARGUMENTS = {"beta": 2.0, "k": 2, "quantile": 0.9, "positive": "owl", "target": "wing"}
CLASSES = ("cat", "dog", "owl")
TARGETS = ("weight", "wing")
EXAMPLES = [
    each
    for name, row in METRICS.items()
    for given_too in ((), (row.about,) if row.about else ())
    for each in [written(name, {key: ARGUMENTS[key] for key in (*row.arguments, *given_too)})]
]


WORDS = {"classification": "classes", "regression": "numbers", "multi-label": "labels", "anomaly": "anomalies"}


def rows_of_page():
    return dict(re.findall(r"^\| `(\w+)` \| ((?:classes|numbers|labels|anomalies).*) \|$", PAGE, re.MULTILINE))


def test_the_page_lists_exactly_the_metrics_with_what_the_table_says_of_them():
    found = rows_of_page()
    assert found.keys() == METRICS.keys()
    for name, row in METRICS.items():
        tasks, way, _, arguments, _ = (each.strip() for each in found[name].split(" |", 4))
        called = WORDS | ({"classification": "classes in order"} if row.ordered else {})
        assert tasks == ", ".join(called[each] for each in row.tasks)
        assert way == ("more" if row.better > 0 else "less")
        assert re.findall(r"`(\w+)`", arguments) == [*row.arguments, *filter(None, [row.about])]


@pytest.mark.parametrize("measure", dict.fromkeys(EXAMPLES))
def test_each_can_be_measured_and_is_within_its_bounds(measure):
    row, random = row_of(measure), np.random.default_rng(1)
    assert callable(getattr(metric_functions, row.function))
    assert list(problems(measure)) == []
    if "classification" in row.tasks:
        p = random.dirichlet(np.ones(3), 60).astype(np.float32)
        found = value(measure, grade(p, random.integers(0, 3, 60), CLASSES, CLASSES, Wanted((measure,))))
    elif "multi-label" in row.tasks:
        y, p = random.integers(0, 2, (60, 3)), random.random((60, 3))
        found = value(measure, graded("multi-label", p, y, Names(CLASSES, CLASSES), Wanted((measure,))))
    elif "anomaly" in row.tasks:
        found = value(measure, graded("anomaly", random.random((60, 1)), random.integers(0, 2, 60), Names()))
    else:
        found = value(measure, Estimates(random.normal(5, 1, (60, 2)), random.normal(5, 1, (60, 2)), TARGETS))
    assert row.low <= found <= row.high
    assert better(measure) == row.better
    assert "{" not in title(measure)
    assert unsuitable(measure, row.tasks[0], CLASSES, TARGETS) == ""


@given(st.dictionaries(st.sampled_from(["beta", "quantile"]), st.floats(allow_nan=False, allow_infinity=False)),
       st.text(), st.integers(1, 10**9) | st.none())  # fmt: skip
def test_what_is_written_is_read_again(numbers, positive, k):
    arguments = numbers | {"positive": positive, "k": k}
    metric, found = read_measure(written("f_beta", arguments))
    assert metric == "f_beta"
    assert found == {name: each for name, each in arguments.items() if each is not None and each != ""}


@pytest.mark.parametrize("text", ["", "a b", "recall(", "recall(positive)", "recall(positive=owl)", "recall) "])
def test_another_text_is_no_metric(text):
    with pytest.raises(ValueError):
        read_measure(text)
    assert row_of(text) is None
    with pytest.raises(KeyError):
        better(text)
    assert title(text) == text


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("luck", "'luck' is not one of accuracy, loss, macro_f1"),
        ("f_beta", "f_beta needs beta"),
        ("f_beta(beta=0)", "beta 0 is not between 0.01 and 100"),
        ("top_k(k=0)", "k 0 is not between 1 and 1e+06"),
        ("pinball(quantile=1)", "quantile 1 is not between 0.001 and 0.999"),
        ("accuracy(k=2)", "accuracy takes no k"),
        ('mcc(positive="owl")', "mcc takes no positive"),
        ('mae(positive="owl")', "mae takes no positive"),
        ('recall(target="wing")', "recall takes no target"),
    ],
)
def test_what_is_wrong_with_a_metric_is_said(measure, words):
    (problem,) = problems(measure)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    ("measure", "task", "why"),
    [
        ("mape", "classification", "mape is not measured for classification"),
        ("roc_auc", "regression", "roc_auc is not measured for regression"),
        ('recall(positive="pig")', "classification", "the dataset has no class 'pig'; it has 'cat', 'dog', 'owl'"),
        ("top_k(k=3)", "classification", "there are 3 classes, so that it is 1 for every model"),
        ("luck", "classification", "luck is not known"),
    ],
)
def test_what_does_not_suit_the_data_is_said(measure, task, why):
    assert why in unsuitable(measure, task, CLASSES if task == "classification" else ())


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    ("measure", "source", "sign", "called"),
    [
        ('own:profit(better="more")', "own", 1, "profit (by metrics.py of the tests repository)"),
        ('own:cost(better="less")', "own", -1, "cost (by metrics.py of the tests repository)"),
        ('script:val {AUC} 1.0(better="less")', "script", -1, "val {AUC} 1.0 (as the training script says)"),
    ],
)
def test_a_number_of_the_teams_says_which_way_is_better(measure, source, sign, called, task):
    row = row_of(measure)
    assert (row.source, row.better, better(measure), title(measure)) == (source, sign, sign, called)
    assert (row.low, row.high) == (-math.inf, math.inf)
    assert list(problems(measure)) == []
    assert unsuitable(measure, task, CLASSES if task == "classification" else ()) == ""
    assert not needs_probabilities(measure)


def test_metrics_of_an_order_are_for_classes_that_have_one():
    assert unsuitable("rank_mae", "classification", CLASSES) == ""
    assert "with ordered = true in dataset.toml" in unsuitable("rank_mae", "classification", CLASSES, ordered=False)
    more = set(always_measured("classification", ordered=True)) - set(always_measured("classification"))
    assert more == {"rank_mae", "quadratic_kappa", "within_one"}


def test_metrics_of_classes_alone_need_no_probabilities():
    assert {name for name in METRICS if needs_probabilities(name)} == {
        *("loss", "brier", "roc_auc", "average_precision", "top_k")
    }
    assert not needs_probabilities("luck")


def test_a_class_is_named_in_what_people_read():
    assert title('recall(positive="owl {x}")') == "recall of owl {x} (share that is found)"
    assert title("f_beta(beta=0.5)") == "F-0.5 (mean over the classes)"
    assert math.isinf(METRICS["cost"].high)
