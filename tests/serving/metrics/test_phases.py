"""Where the time of a request goes: waiting for a thread and for the engine, reading, the model, writing the answer."""

import json
import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from serving_parts import Client, ask

from serving.engines.meter import METER, QUEUE
from serving.server import control

IMAGE = [[0] * 8] * 8
CLIENTS = 12


def phases(text):
    """Sum and count of each phase, and the depth of each queue."""
    found = {}
    for family in parse_text(text):
        for sample in family.samples:
            if sample.name in {"trainyard_phase_seconds_sum", "trainyard_phase_seconds_count"}:
                found[sample.labels["phase"], sample.name.rpartition("_")[2]] = sample.value
            elif sample.name == "trainyard_queue_depth":
                found[sample.labels["queue"]] = sample.value
    return found


def test_the_phases_of_every_prediction_are_counted_and_those_of_nothing_else(clients):
    api = clients("digits")
    api.post("/predict", json={"instances": [IMAGE] * 3})
    api.post("/predict", json={"instances": [IMAGE] * 3})
    api.post("/predict", data="{")
    api.get("/example")
    found = phases(api.admin.get("/metrics").text)
    assert {found[phase, "count"] for phase in ("queue", "read", "infer", "write")} == {2}
    assert min(found[phase, "sum"] for phase in ("read", "infer", "write")) > 0


@pytest.mark.parametrize(("rows", "batches"), [(1, [1]), (10, [10])])
def test_the_rows_of_each_call_of_the_engine_are_counted(clients, rows, batches):
    api = clients("digits")
    api.post("/predict", json={"instances": [IMAGE] * rows})
    found = {
        sample.name: sample.value
        for family in parse_text(api.admin.get("/metrics").text)
        for sample in family.samples
        if family.name == "trainyard_batch_rows"
    }
    assert found["trainyard_batch_rows_count"] == len(batches)
    assert found["trainyard_batch_rows_sum"] == sum(batches)


def test_a_model_says_in_which_batches_it_runs(loaded):
    model = loaded("digits")
    assert model.batches(70) == (32, 32, 6)
    assert model.batches(1) == (1,)


def test_a_batcher_counts_what_it_runs_for_several_requests(clients):
    api = clients("digits")
    api.table.counters(0).batch(7)
    assert "trainyard_batch_rows_sum 7.0" in api.admin.get("/metrics").text


def test_who_waits_for_the_engine_is_counted_and_for_how_long(loaded, monkeypatch):
    model, shown, waited = loaded("digits"), [], []
    monkeypatch.setattr(QUEUE, "show", shown.append)
    idle = model.engine._idle
    taken = [idle.get() for _ in range(idle.qsize())]

    def run():
        model.run({name: array[:1] for name, array in model.warm_inputs.items()}, 1)
        waited.append(METER.waited)

    thread = threading.Thread(target=run)
    start = time.perf_counter()
    thread.start()
    while not shown:
        time.sleep(0.001)
    time.sleep(0.05)
    for each in taken:
        idle.put(each)
    thread.join()
    assert shown == [1, 0]
    assert 0.05 <= waited[0] <= time.perf_counter() - start


def test_an_engine_that_is_free_is_not_waited_for(loaded):
    model, before = loaded("digits"), METER.waited
    model.run({name: array[:1] for name, array in model.warm_inputs.items()}, 1)
    assert METER.waited == before


def test_requests_that_wait_for_a_thread_are_shown_and_their_wait_is_counted_and_logged(registry, start, until):
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=1, threads=1)
    control.await_release(folder, 1, 20)
    body, ends = json.dumps({"instances": [IMAGE] * 100}), threading.Event()

    def keep_asking():
        with Client(url) as client:
            while not ends.is_set():
                client.ask("POST", "/predict", body)

    threads = [threading.Thread(target=keep_asking) for _ in range(CLIENTS)]
    for each in threads:
        each.start()
    try:
        until(lambda: phases(ask(control.admin(folder), "GET", "/metrics")[2].decode())["thread"] >= CLIENTS // 2)
    finally:
        ends.set()
        for each in threads:
            each.join()
    found = phases(ask(control.admin(folder), "GET", "/metrics")[2].decode())
    assert found["queue", "sum"] > found["infer", "sum"]  # twelve at once, and one thread
    until(lambda: phases(ask(control.admin(folder), "GET", "/metrics")[2].decode())["thread"] == 0)
    lines = [json.loads(line) for line in (folder / "api.log").read_text().splitlines() if '"/predict"' in line]
    logged = sum(line["queue_ms"] for line in lines) / 1000
    assert len(lines) == found["queue", "count"]
    assert logged == pytest.approx(found["queue", "sum"], rel=0.01)
