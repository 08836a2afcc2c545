"""The accuracy that is estimated without labels is near the true one when other cases come, and not when what is right changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def among_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize(("data", "splits"), [("digits", 3), ("breast cancer", 8)])
def test_on_real_data_the_mean_of_a_few_splits_is_within_two_percent_for_most_shifts(data, splits):
    """`make bench` holds it for every shift, of 40 splits and three models."""
    import cbpe

    results = cbpe.results_of(data, "logistic regression", list(cbpe.splits_of(data, "logistic regression", splits)))
    assert len(results) == 13
    assert np.median([abs(each.difference) for each in results]) <= 2.0
    assert np.mean([each.held for each in results]) >= 0.85
    true = [np.mean(each.true) for each in results]
    assert max(true) - min(true) > 0.05  # the shifts matter


def test_it_fails_where_what_is_right_changes():
    import cbpe

    (split,) = cbpe.splits_of("digits", "logistic regression", 1)
    assert split.estimate(split.windows["none"]).value > 0.85
    assert cbpe.changed(split) < 0.6


def test_the_table_has_a_line_per_shift():
    import cbpe

    results = [cbpe.Result("digits", "forest", "more ink", [0.9, 0.92], [0.9, 0.9], [True, False], [0.9, 0.9])]
    assert cbpe.table(results).splitlines()[-1] == (
        "| digits | forest | more ink | 0.900 | 0.910 | +1.0 % | 1.0 % | 50% |"
    )
