"""Batches seen from outside: a real API with a model whose weights are large, and many clients."""

import json
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from serving_parts import Client, ask, card, samples, version_folder

from registry import codec
from serving import model, worker_status
from serving.batching.measure import Bounds
from serving.job import ServeJob
from serving.server import control

CLIENTS, EACH = 24, 12
BAD = [1, 2, 3, 99]
"""Valid by the signature; the model has no such word."""


@pytest.fixture
def wide(registry, start):
    """An API with one server process for the model: its URL and folder."""
    registry.release(registry.put("wide"))
    url, folder = start(registry, workers=1, batch_ms=20.0)
    control.await_release(folder, 1, 20)
    return url, folder


def metric(folder, name):
    text = ask(control.admin(folder), "GET", "/metrics")[2].decode()
    return {s.name: s.value for family in parse_text(text) for s in family.samples if family.name == name}


def ask_all(url, x, ends=None):
    """Each client asks one row after the other; every tenth is a bad one. Gives (row, status, answer) for all."""
    found, rows = [], list(range(len(x)))

    def client(number):
        with Client(url) as connection:
            for i in range(EACH):
                row = rows[(number + i) % len(rows)]
                bad = (number + i) % 10 == 0
                status, answer = connection.predict([BAD if bad else x[row].tolist()])
                found.append((None if bad else row, status, answer))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for each in threads:
        each.start()
    if ends:
        ends()
    for each in threads:
        each.join()
    return found


def test_many_clients_get_their_own_answers_in_batches_and_a_bad_row_fails_alone(wide, served_models):
    url, folder = wide
    x, y = samples(served_models / "wide")
    found = ask_all(url, x["words"])
    assert len(found) == CLIENTS * EACH
    for row, status, answer in found:
        if row is None:
            assert status == 400
            assert answer["error"].startswith("instances[0]: the model cannot take this")
        else:
            assert status == 200
            probability = answer["predictions"][0]["probabilities"]
            assert list(probability.values()) == pytest.approx(y["probabilities"][row], abs=1e-4)
    rows = metric(folder, "trainyard_batch_rows")
    assert rows["trainyard_batch_rows_sum"] == sum(row is not None for row, _, _ in found)
    assert rows["trainyard_batch_rows_count"] < rows["trainyard_batch_rows_sum"]
    assert metric(folder, "trainyard_queue_depth")


@pytest.mark.slow
def test_whether_requests_are_batched_and_why_is_said_by_the_page_the_status_and_the_log(wide):
    url, folder = wide
    said = ask(url, "GET", "/")[2]["batching"]
    assert said["on"]
    assert said["rows"] > 1
    assert said["wait_ms"] == 20
    assert said["call_ms"]["1"] > 0
    (worker,) = worker_status.read_all(folder / "workers")
    assert worker["batching"] == f"requests are batched up to {said['rows']} rows: {said['why']}"
    lines = [json.loads(line) for line in (folder / "api.log").read_text().splitlines() if line.startswith("{")]
    assert worker["batching"] in [each.get("message") for each in lines]


@pytest.mark.slow
def test_a_model_that_gains_nothing_is_not_batched_and_a_release_of_it_ends_batches(wide, registry):
    url, folder = wide
    control.await_release(folder, registry.release(registry.put("lookup")), 20)
    said = ask(url, "GET", "/")[2]["batching"]
    assert not said["on"]
    assert "there is nothing to gain" in said["why"]


@pytest.mark.slow
def test_a_server_that_is_stopped_answers_those_that_wait_in_a_batch(wide, served_models):
    url, folder = wide
    x, _ = samples(served_models / "wide")
    threads, answers = [], []

    def client(row):
        with Client(url) as connection:
            answers.append(connection.predict([x["words"][row].tolist()])[0])

    ask_all(url, x["words"])
    for row in range(16):
        threads.append(threading.Thread(target=client, args=(row,)))
        threads[-1].start()
    control.stop(folder, 10.0)
    for each in threads:
        each.join()
    assert codec.read(ServeJob, folder / "job.json").batch_ms == 20
    assert answers == [200] * 16


@pytest.mark.parametrize(("small", "cores", "interpreters"), [(0, 1, 1), (0, 2, 2), (model.SMALL_FILE, 1, 4)])
def test_a_large_model_has_an_interpreter_per_core_of_its_process_and_a_small_one_per_thread(
    served_models, tmp_path, monkeypatch, small, cores, interpreters
):
    """Each holds a copy of the weights; for a call of a few microseconds no thread should wait for another one."""
    monkeypatch.setattr(model, "SMALL_FILE", small)
    folder = version_folder(served_models / "digits", tmp_path / "digits")
    (folder / "card.json").write_bytes(codec.with_checksum(card(folder)))
    monkeypatch.setattr("serving.engines.litert.cores", lambda: 8)
    loaded = model.load(folder, 1, 4, tmp_path / "copies", bounds=Bounds(seconds=0.0, rows=32, at_once=cores))
    assert loaded.engine._idle.qsize() == interpreters


@pytest.mark.parametrize(
    ("cores", "limit", "quick"), [(1, "QUICK_ALONE", True), (1, "QUICK", False), (2, "QUICK", True)]
)
def test_a_model_is_quick_by_what_a_row_takes_and_whether_threads_could_ask_it_at_the_same_time(
    served_models, tmp_path, monkeypatch, cores, limit, quick
):
    for name in ("QUICK_ALONE", "QUICK"):
        monkeypatch.setattr(model, name, 10.0 if name == limit else 0.0)
    folder = version_folder(served_models / "digits", tmp_path / "digits")
    (folder / "card.json").write_bytes(codec.with_checksum(card(folder)))
    loaded = model.load(folder, 1, 4, tmp_path / "copies", bounds=Bounds(seconds=0.0, rows=32, at_once=cores))
    assert loaded.is_quick is quick


def test_a_model_that_is_batched_is_not_quick(served_models, tmp_path, monkeypatch):
    """A request that waits for others would keep them from coming."""
    monkeypatch.setattr(model, "QUICK_ALONE", 10.0)
    folder = version_folder(served_models / "wide", tmp_path / "wide")
    (folder / "card.json").write_bytes(codec.with_checksum(card(folder)))
    loaded = model.load(folder, 1, 4, tmp_path / "copies", bounds=Bounds(seconds=0.02, rows=32, at_once=1))
    assert loaded.batcher is not None
    assert not loaded.is_quick
