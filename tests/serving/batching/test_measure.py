"""What is measured of a model when it is loaded, and what keeps it from being batched."""

import numpy as np
import pytest

from serving.batching.measure import Bounds, measure
from serving.engines.base import EngineError

SAMPLES = {"x": np.arange(12, dtype="float32").reshape(6, 2)}
BOUNDS = Bounds(seconds=0.005, rows=32)


class Clocked:
    """An engine that takes `fixed + each * rows` seconds of a clock of its own."""

    def __init__(self, fixed, each, answer=lambda x: x * 2):
        self.now, self.calls = 0.0, []
        self._fixed, self._each, self._answer = fixed, each, answer

    def __call__(self, inputs):
        rows = len(inputs["x"])
        self.calls.append(rows)
        self.now += self._fixed + self._each * rows
        return {"y": self._answer(inputs["x"])}

    def clock(self):
        return self.now


def measured(engine, samples=SAMPLES, bounds=BOUNDS):
    return measure(engine, samples, bounds, engine.clock)


def test_a_model_with_large_weights_is_batched():
    found = measured(Clocked(0.004, 0.0001))
    assert found.decision.rows == 32
    assert found.facts() == {
        "on": True,
        "why": "32 rows take 7.2 ms, one 4.1 ms: 18.2 times the rows per second",
        "rows": 32,
        "wait_ms": 5.0,
        "call_ms": {"1": 4.1, "2": 4.2, "4": 4.4, "8": 4.8, "16": 5.6, "32": 7.2},
    }
    assert found.said().startswith("requests are batched up to 32 rows: 32 rows take 7.2 ms")


def test_a_slow_model_that_gains_nothing_is_not_measured_with_many_rows():
    engine = Clocked(0.0, 0.1)
    found = measured(engine)
    assert not found.decision.rows
    assert max(engine.calls) == 4
    assert found.said() == "requests are not batched: 4 rows take 400 ms, one 100 ms: too little to gain"


def test_a_quick_model_is_measured_with_one_row_only():
    engine = Clocked(0.00002, 0.0)
    assert not measured(engine).decision.rows
    assert set(engine.calls) == {1}


def test_measuring_ends_soon_whatever_a_model_takes():
    engine = Clocked(2.0, 0.001)
    measured(engine)
    assert len(engine.calls) <= 10


def test_nothing_is_measured_where_batches_are_off():
    engine = Clocked(0.004, 0.0001)
    found = measured(engine, bounds=Bounds(seconds=0.0, rows=32))
    assert not engine.calls
    assert found.facts() == {"on": False, "why": "[serving] batch_ms is 0"}


def test_a_batch_has_no_more_rows_than_a_request_may_have():
    assert measured(Clocked(0.004, 0.0001), bounds=Bounds(0.005, 7)).decision.rows == 4


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda x: x - x.mean(axis=0), "its answers depend on the rows beside them: output y"),
        (lambda x: x[: len(x) // 2], "its answers depend on the rows beside them: output y"),
    ],
)
def test_a_model_whose_answer_to_a_row_depends_on_other_rows_is_never_batched(answer, reason):
    found = measured(Clocked(0.004, 0.0001, answer))
    assert not found.decision.rows
    assert reason in found.decision.why


@pytest.mark.parametrize("error", [EngineError, MemoryError])
def test_a_model_that_takes_no_batch_is_served_without(error):
    engine = Clocked(0.004, 0.0001)

    def refuses(inputs):
        if len(inputs["x"]) > 8:
            raise error("no room")
        return engine(inputs)

    found = measure(refuses, SAMPLES, BOUNDS, engine.clock)
    assert not found.decision.rows
    assert found.decision.why == "it does not run with many rows: no room"


@pytest.mark.parametrize("count", [1, 4])
def test_without_two_different_samples_nothing_is_batched(count):
    found = measured(Clocked(0.004, 0.0001), {"x": np.ones((count, 2), "float32")})
    assert not found.decision.rows
    assert "no two different samples" in found.decision.why


@pytest.mark.parametrize(
    ("fixed", "each", "rows_per_call", "many"),
    [
        (0.000_010, 0.000_1, 2, 5),  # one row takes 110 µs, two take 105 µs each, and four no less than that by much
        (0.000_000, 0.010, 1, 1),  # a large model for images: more rows at once would only take memory
        (0.000_001, 0.000_002, 32, 167),  # too quick to be measured with more
        (0.004, 0.000_1, 32, 1),  # batched
    ],
)
def test_a_call_has_no_more_rows_than_gain_by_it_and_long_ones_are_known(fixed, each, rows_per_call, many):
    found = measured(Clocked(fixed, each))
    assert (found.rows_per_call, found.many) == (rows_per_call, many)


def test_what_was_not_measured_is_run_as_it_comes():
    found = measured(Clocked(0.0, 0.01), bounds=Bounds(0.0, 32))
    assert (found.rows_per_call, found.many) == (32, 1)
