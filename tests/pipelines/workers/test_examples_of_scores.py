"""Which answers about anomalies people are shown: wrong ones, and those that another model gives otherwise."""

import json

import numpy as np
import pytest

from pipelines.workers.examples import ExampleMaker
from registry.records import Signature, TensorSpec
from training.anomaly import grade_scores

TRUTH = np.array([0.0, 1.0, np.nan, 0.0])
SIGNATURE = Signature("anomaly", "table", (TensorSpec("flow", (None, 1), "float32"),), ())


@pytest.fixture
def maker(tmp_path):
    (tmp_path / "holdout").mkdir()
    (tmp_path / "holdout" / "names.json").write_text(json.dumps([f"line {i}" for i in range(4)]))
    x = {"flow": np.arange(4, dtype=np.float32)[:, None]}
    return ExampleMaker(tmp_path, SIGNATURE, x, (), np.arange(4))


def test_the_wrong_ones_and_those_that_the_live_release_decides_otherwise(maker):
    new, live = (grade_scores(np.array(scores), TRUTH, 1.0) for scores in ([0.2, 0.4, 3.0, 0.1], [5.0, 6.0, 0.3, 0.1]))
    found = maker.make(new, live, 3, None)
    assert [(each.sample, each.truth, each.candidate.said, each.candidate.right) for each in found.worst] == [
        ("line 2", "not marked", "anomalous, score 3", None),
        ("line 1", "anomalous", "not anomalous, score 0.4", False),
    ]
    assert [each.sample for each in found.changed] == ["line 1", "line 0", "line 2"]
    assert (found.differ, found.fixed, found.broken) == (3, 1, 2)
    assert found.changed[1].live.said == "anomalous, score 5"
    assert found.changed[1].cells == (("flow", "0"),)
