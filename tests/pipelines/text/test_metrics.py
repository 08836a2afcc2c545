"""Differences in words: for an error, too, nobody has to know what a sign means."""

import math
from dataclasses import replace

import pytest

from pipelines.text.metrics import blocks, gap, in_words
from registry.records import ClassMetrics, Comparison, Evaluation, Metrics, TargetMetrics


@pytest.mark.parametrize(
    ("difference", "low", "high", "said"),
    [
        (3.15, 1.0, 5.25, "3.15 better (95 % interval: 1 better to 5.25 better)"),
        (-0.0123, -0.02, 0.004, "0.0123 worse (95 % interval: 0.02 worse to 0.004 better)"),
        (0.0, 0.0, 0.0, "0 different (95 % interval: 0 different to 0 different)"),
        (0.1, math.nan, math.inf, "0.1 better (95 % interval: unknown to unknown)"),
    ],
)
def test_which_side_is_better_is_said(difference, low, high, said):
    assert gap(Comparison(2, "rmse", difference, low, high, 99)) == said


def test_a_long_name_of_a_class_leaves_its_table_narrow_and_two_of_them_different():
    names = [f"{'class ' * 50}{i}" for i in range(2)]
    metrics = Metrics("classification", 2, {"accuracy": 1.0}, {name: ClassMetrics(1.0, 1.0, 1.0, 1) for name in names})
    table = list(blocks(Evaluation(metrics), "accuracy", "version 1", "none"))[-1]
    shown = [row[0] for row in table.rows]
    assert len(set(shown)) == 2
    assert max(map(len, shown)) == 48


def test_what_is_left_out_as_the_live_release_knows_it_is_said():
    metrics = Metrics("classification", 48, {"accuracy": 0.9})
    comparison = Comparison(1, "accuracy", 0.0, -0.1, 0.1, 48)
    found = Evaluation(metrics, metrics, comparison, learned=1200)
    said = in_words(found, "accuracy", "version 2", "version 1")
    assert "(1,200 more are left out: version 1 has learned from them)" in said
    (note,) = [each.text for each in blocks(found, "accuracy", "version 2", "version 1") if hasattr(each, "text")]
    assert note.startswith("Measured without 1,200 more samples of the holdout: version 1 has learned from them")


def test_each_of_several_targets_has_its_errors_beside_the_live_releases():
    new, old = (
        Metrics(
            "regression",
            9,
            {"mae": mae},
            targets={"wing": TargetMetrics(mae, 2.0, 0.5), "g": TargetMetrics(9.0, 9.5, 0.9)},
        )
        for mae in (1.0, 3.0)
    )
    *_, table, note = blocks(Evaluation(new, old), "mae", "version 2", "version 1")
    assert table.rows == (("wing", "0.500", "1.000", "3", "2"), ("g", "0.900", "9", "9", "9.5"))
    assert note.text == "A metric that names no target is the mean over all 2. Each target is in units of its own."
    assert "has mean absolute error (less is better) 1.000 (mean over 2 targets)" in in_words(
        Evaluation(new), "mae", "it", ""
    )
    one = Evaluation(replace(new, values={'mae(target="g")': 9.0}))
    assert "mean absolute error of g (less is better) 9." in in_words(one, 'mae(target="g")', "it", "")


def test_of_many_targets_the_weakest_are_shown_in_the_order_of_the_dataset():
    targets = {f"+{i} h": TargetMetrics(1.0, 1.0, 1 - i / 100) for i in range(50)}
    *_, table, note = blocks(Evaluation(Metrics("regression", 9, {"mae": 1.0}, targets=targets)), "mae", "it", "none")
    assert [row[0] for row in table.rows] == [f"+{i} h" for i in range(30, 50)]
    assert "These have the lowest R2." in note.text
