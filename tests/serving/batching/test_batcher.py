"""Requests of several threads go through the model together, and each gets its own answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from registry.records import Signature, TensorSpec
from serving.batching.batcher import Batcher
from serving.batching.rules import Costs
from serving.engines.base import BadInput, EngineError
from serving.engines.meter import METER, QUEUE

SIGNATURE = Signature(
    "regression", "array", (TensorSpec("x", (None, None), "float32"),), (TensorSpec("y", (None, None), "float32"),)
)
COSTS = Costs(((1, 10.0), (32, 20.0)))
"""So slow that patience is whatever is set."""
MOST = 8


class Engine:
    """Doubles; takes no negative number; notes the rows of its calls, and how many run at once."""

    def __init__(self, seconds=0.002):
        self.rows, self.widths, self.together, self._now = [], [], 0, 0
        self._seconds, self._lock = seconds, threading.Lock()

    def __call__(self, inputs):
        x = inputs["x"]
        with self._lock:
            self.rows.append(len(x))
            self.widths.append(x.shape[1])
            self._now += 1
            self.together = max(self.together, self._now)
        time.sleep(self._seconds)
        with self._lock:
            self._now -= 1
        if (x < 0).any():
            raise EngineError("negative")
        if (x > 1e6).any():
            raise MemoryError("too much")
        return {"y": x * 2}


def batcher(engine, seconds=0.05, **more):
    return Batcher(engine, SIGNATURE, COSTS, rows=MOST, seconds=seconds, **more)


def ask(batched, rows):
    """What comes back for rows of numbers: the outputs, or the error."""
    try:
        return batched({"x": np.asarray(rows, "float32")})["y"].tolist()
    except (EngineError, MemoryError) as error:
        return type(error)


def at_once(batched, bodies, threads=24):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda rows: ask(batched, rows), bodies))


def doubled(rows):
    return [[2 * each for each in row] for row in rows]


def test_each_request_gets_the_answers_to_its_own_rows_in_batches_that_are_never_too_large():
    engine = Engine()
    batched = batcher(engine)
    bodies = [[[float(100 * i + j)] * (1 + i % 2) for j in range(1 + i % 4)] for i in range(400)]
    assert at_once(batched, bodies) == [doubled(each) for each in bodies]
    assert sum(engine.rows) == sum(map(len, bodies))
    assert max(engine.rows) <= MOST
    assert len(engine.rows) < len(bodies) / 2  # most of them had company


def test_a_bad_row_fails_alone_and_so_does_one_that_takes_too_much_memory():
    batched = batcher(Engine())
    bodies = [[[-1.0]] if i % 10 == 3 else [[1e9]] if i % 10 == 7 else [[float(i)]] for i in range(100)]
    expected = [
        EngineError if each[0][0] < 0 else MemoryError if each[0][0] > 1e6 else doubled(each) for each in bodies
    ]
    assert at_once(batched, bodies) == expected


def test_a_request_that_does_not_fit_the_signature_is_in_no_batch():
    engine = Engine()
    with pytest.raises(BadInput):
        batcher(engine)({"x": np.zeros((1, 2), "float64")})
    assert not engine.rows


def test_a_request_with_as_many_rows_as_a_batch_runs_alone_and_at_once():
    engine = Engine()
    batched = batcher(engine, seconds=30)
    assert ask(batched, [[1.0]] * 20) == [[2.0]] * 20
    assert engine.rows == [20]


def test_a_request_without_company_waits_for_nobody():
    batched, start = batcher(Engine(), seconds=30), time.perf_counter()
    for _ in range(5):
        ask(batched, [[1.0]])
    assert time.perf_counter() - start < 10


def test_after_company_one_request_waits_once_and_no_longer_than_is_set():
    engine = Engine(seconds=0.02)
    batched = batcher(engine, seconds=0.2)
    at_once(batched, [[[1.0]]] * 6, threads=6)
    took = []
    for _ in range(2):
        start = time.perf_counter()
        ask(batched, [[1.0]])
        took.append(time.perf_counter() - start)
    assert took[0] < 5
    assert took[1] < 0.2  # by now it is known that there is no company


def test_those_who_come_back_after_each_answer_are_awaited_and_go_together():
    engine = Engine(seconds=0.005)
    batched = batcher(engine, seconds=1)

    def keep_asking(_):
        for _ in range(20):
            ask(batched, [[1.0]])
            time.sleep(0.001)  # what a client takes

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(keep_asking, range(6)))
    together = [rows for rows in engine.rows if rows == 6]
    assert len(together) >= 10  # not one first, and five in the next call


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_batches_run_at_the_same_time_than_are_allowed(most):
    engine = Engine(seconds=0.003)
    at_once(batcher(engine, at_once=most), [[[1.0]]] * 200)
    assert engine.together == most


def test_different_shapes_are_never_in_one_batch():
    engine = Engine()
    bodies = [[[1.0] * (1 + i % 3)] for i in range(120)]
    assert at_once(batcher(engine), bodies) == [doubled(each) for each in bodies]
    assert set(engine.widths) == {1, 2, 3}


def test_texts_of_any_length_go_together():
    text = TensorSpec("x", (None, 1), "string")
    signature = Signature("regression", "table", (text,), (TensorSpec("y", (None, 1), "string"),))
    rows = []

    def engine(inputs):
        rows.append(len(inputs["x"]))
        time.sleep(0.002)
        return {"y": inputs["x"]}

    batched = Batcher(engine, signature, COSTS, rows=MOST, seconds=0.05)
    given = ["ü" * (i % 7) for i in range(60)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda each: batched({"x": np.array([[each]], object)})["y"][0, 0], given))
    assert found == given
    assert max(rows) > 1


def test_waiting_is_counted_and_shared_calls_are_counted_once_and_nobody_is_left_waiting(monkeypatch):
    shown, shared, seen = [], [], []
    monkeypatch.setattr(QUEUE, "show", shown.append)
    monkeypatch.setattr(QUEUE, "batched", shared.append)
    engine = Engine(seconds=0.01)
    batched = batcher(engine)

    def request(i):
        METER.shared, before = False, METER.waited
        with suppress(EngineError):
            batched({"x": np.asarray([[-1.0 if i == 30 else 1.0]], "float32")})
        seen.append((METER.shared, METER.waited - before))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(request, range(60)))
    assert sum(shared) == sum(was_shared for was_shared, _ in seen)
    assert 30 < sum(shared) < 60  # whoever was in a batch with the bad row ran alone
    assert max(shared) <= MOST
    assert max(waited for _, waited in seen) >= 0.005
    assert shown[-1] == 0
    assert max(shown) > 1
