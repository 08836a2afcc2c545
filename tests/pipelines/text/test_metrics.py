"""Differences in words: for an error, too, nobody has to know what a sign means."""

import math

import pytest

from pipelines.text.metrics import blocks, gap
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
