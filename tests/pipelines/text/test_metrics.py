"""Differences in words: for an error, too, nobody has to know what a sign means."""

import math

import pytest

from pipelines.text.metrics import blocks, gap, in_words
from registry.records import ClassMetrics, Comparison, Evaluation, Metrics


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
