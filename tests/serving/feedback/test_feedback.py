"""`POST /feedback` over HTTP, of a real API behind its fence; and what it does under load, to the store's errors, and to its files."""

import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from echo_model import Held, echo_model
from prediction_log_parts import log_job, refused, table_answer, table_model
from serving_parts import ask, samples

from registry.label_store import LabelStore
from serving.access import tokens
from serving.app import create_app
from serving.calls import Limits
from serving.feedback import taker as taking
from serving.feedback.items import MOST_ITEMS
from serving.feedback.taker import FeedbackTaker
from serving.metrics.counters import CounterTable
from serving.metrics.page import MetricsPage
from serving.prediction_log import purge as purging
from serving.prediction_log.key import read_key
from serving.prediction_log.writer import PredictionLog


def post(url, body, **headers):
    return ask(url, "POST", "/feedback", json.dumps(body), {"Content-Type": "application/json", **headers})


def metrics(table):
    page = MetricsPage(table, "m", lambda: {"workers": [], "expected": 0}).page("")[0].decode()
    lines = [each.split(" ") for each in page.splitlines() if each.startswith("trainyard_feedback_total")]
    return {name.split('"')[1]: float(value) for name, value in lines if float(value)}


@pytest.fixture
def labels(tmp_path):
    return tmp_path / "labels" / "m" / "labels.sqlite"


def kept(labels):
    with LabelStore(labels) as store:
        return list(store.all())


@pytest.fixture
def table():
    return CounterTable()


@pytest.fixture
def taker(tmp_path, labels, table):
    """Of a log with r-1 (2 instances), r-2 (1), and one that was refused."""
    job, model = log_job(tmp_path / "log"), table_model()
    log = PredictionLog(job, lambda _: None)
    log.start()
    for each in (table_answer(model, "r-1", 2), table_answer(model, "r-2", 1), refused("bad")):
        log.offer(each)
    log.close()
    taker = FeedbackTaker(job, labels, 2, table.counters(0).feedback)
    yield taker
    taker.close()


@pytest.fixture
def client(taker, table):
    model = echo_model(("float32",))
    return create_app(Held(model), "m", Limits(1 << 21, 8), table.counters(0), feedback=taker).test_client()


def test_a_label_of_a_real_api_is_kept_at_once_and_again_changes_nothing(
    start, registry, served_models, tmp_path, labels
):
    registry.release(registry.put("table"))
    token_file = tmp_path / "access" / "tokens.json"
    shop, people = (
        tokens.make(token_file, name, [role]) for name, role in (("shop", "predict"), ("people", "feedback"))
    )
    job = log_job(tmp_path / "log")
    settings = {"auth": "tokens", "tokens": str(token_file), "workers": 2, "threads": 4}
    url, _ = start(registry, prediction_log=job, labels=str(labels), **settings)
    x, _ = samples(served_models / "table")
    instance = {name: x[name][0].reshape(-1).tolist()[0] for name in x}
    as_shop, as_people = ({"Authorization": f"Bearer {each}"} for each in (shop, people))
    status, _, answer = ask(url, "POST", "/predict", json.dumps({"instances": [instance]}), as_shop)
    assert status == 200, answer
    label = answer["predictions"][0]["class"]
    report = {"request_id": answer["request_id"], "label": label}
    assert post(url, report, **as_shop)[0] == 403
    assert ask(url, "GET", "/version", headers=as_people)[0] == 403
    for expected in ("added", "same", "same"):  # whichever process takes it, at once
        status, headers, found = post(url, report, **as_people)
        assert (status, found["feedback"][0]["outcome"]) == (200, expected), found
    assert headers["X-Request-Id"] == found["request_id"]
    assert post(url, report | {"label": "never a class"}, **as_people)[0] == 422
    (only,) = kept(labels)
    assert (only.request, only.row, only.value, only.by, only.source) == (
        answer["request_id"],
        0,
        label,
        "people",
        "feedback",
    )
    assert (labels.stat().st_mode & 0o777, labels.parent.stat().st_mode & 0o777) == (0o640, 0o750)


def test_several_reports_have_a_result_each_and_the_good_ones_are_kept(client, labels, table):
    reports = [
        {"request_id": "r-1", "row": 0, "label": "yes"},
        {"request_id": "r-1", "row": 1, "correct": False, "by": "bo"},
        {"request_id": "r-1", "label": "yes"},
        {"request_id": "r-1", "row": 2, "label": "yes"},
        {"request_id": "r-2", "label": "maybe"},
        {"request_id": "never", "label": "yes"},
        {"request_id": "bad", "label": "yes"},
        {"request_id": "r-2", "label": "yes", "at": "2999-01-01T00:00:00Z"},
        7,
        {"request_id": "r-1", "row": 0, "label": "yes"},
    ]
    answer = client.post("/feedback", json={"feedback": reports})
    body = answer.get_json()
    assert (answer.status_code, body["added"], body["same"], body["refused"]) == (207, 2, 1, 7)
    assert [each.get("status", 200) for each in body["feedback"]] == [200, 200, 400, 422, 422, 404, 409, 422, 400, 200]
    assert [(each["request_id"], each["row"]) for each in body["feedback"][:2]] == [("r-1", 0), ("r-1", 1)]
    assert [(each.row, each.value, each.correct, each.by) for each in kept(labels)] == [
        (0, "yes", None, "anonymous"), (1, "", False, "bo"),
    ]  # fmt: skip
    assert metrics(table) == {"added": 2, "same": 1, "invalid": 6, "unknown": 1}
    assert client.post("/feedback", json=reports[:1]).status_code == 200


def test_one_report_is_refused_by_its_status_with_a_hint(client):
    answer = client.post("/feedback", json={"request_id": "never", "label": "yes"})
    assert answer.status_code == 404
    assert set(answer.get_json()) == {"error", "hint", "request_id"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"7", "application/json", 400),
        (b'{"feedback": {}}', "application/json", 400),
        (b"x", "text/csv", 415),
        (json.dumps([{}] * (MOST_ITEMS + 1)).encode(), "application/json", 413),
        (b" " * ((1 << 20) + 1), "application/json", 413),
    ],
)
def test_a_body_that_holds_no_reports_is_refused_as_a_whole(client, body, kind, status):
    assert client.post("/feedback", data=body, content_type=kind).status_code == status


def test_other_methods_and_paths_are_not_there(client):
    assert client.get("/feedback").status_code == 405
    assert client.post("/feedback/r-1", json={}).status_code == 404
    assert client.open("/feedback", method="OPTIONS").headers["Allow"] == "OPTIONS, POST"


def test_without_a_log_there_is_nothing_to_label():
    app = create_app(Held(echo_model(("float32",))), "m", Limits(1000, 1))
    answer = app.test_client().post("/feedback", json={"request_id": "r-1", "correct": True})
    assert answer.status_code == 409
    assert "[prediction_log] enabled" in answer.get_json()["hint"]


def test_an_answer_of_a_moment_ago_is_waited_for(tmp_path, labels):
    job = log_job(tmp_path / "log")
    log, taker = PredictionLog(job, lambda _: None), FeedbackTaker(job, labels, 4, lambda *_: None)
    log.start()
    timer = threading.Timer(0.2, log.offer, [table_answer(table_model(), "r-1", 1)])
    timer.start()
    (found,) = taker.take([{"request_id": "r-1", "correct": True}], "")
    assert found.outcome == "added"
    timer.join()
    log.close()
    taker.close()


def test_who_waits_is_in_nobodys_way_and_more_than_two_are_sent_away(client, taker):
    release, inside = threading.Event(), threading.Semaphore(0)
    real = taker._finder.find

    def slow(requests):
        inside.release()
        release.wait(10)
        return real(requests)

    taker._finder.find = slow
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(client.post("/feedback", json={"request_id": "r-2", "label": "yes"}))
        )
        for _ in range(2)
    ]
    for each in threads:
        each.start()
    assert inside.acquire(timeout=10)
    until = time.monotonic() + 10
    while taker._places._value and time.monotonic() < until:
        time.sleep(0.01)
    refused_now = client.post("/feedback", json={"request_id": "r-2", "label": "yes"})
    assert (refused_now.status_code, refused_now.headers["Retry-After"]) == (503, "1")
    assert client.post("/predict", json={"instances": [[1.0, 2.0, 3.0]]}).status_code == 200
    release.set()
    for each in threads:
        each.join(10)
    assert [each.status_code for each in answers] == [200, 200]


def test_labels_that_cannot_be_kept_are_503_and_not_half_kept(client, taker, labels, table, monkeypatch, caplog):
    monkeypatch.setattr(taking, "BUSY_SECONDS", 0.05)
    with LabelStore(labels) as other, other.transaction():
        answer = client.post(
            "/feedback", json=[{"request_id": "r-2", "label": "yes"}, {"request_id": "r-1", "row": 0, "label": "no"}]
        )
    assert answer.status_code == 503
    assert "in use by another process" in caplog.text
    assert str(labels) not in answer.text
    assert metrics(table) == {"failed": 2}
    assert kept(labels) == []
    taker.close()
    labels.write_bytes(b"no database" * 1000)
    assert client.post("/feedback", json={"request_id": "r-2", "label": "yes"}).status_code == 503
    assert "restore it from a backup, or move it away" in caplog.text


def test_a_store_that_was_moved_away_is_begun_again(client, labels):
    report = {"request_id": "r-2", "label": "yes"}
    assert client.post("/feedback", json=report).get_json()["added"] == 1
    db = sqlite3.connect(labels)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    for each in list(labels.parent.iterdir()):
        each.unlink()
    assert client.post("/feedback", json=report).get_json()["added"] == 1
    assert len(kept(labels)) == 1


def test_a_file_that_is_replaced_while_a_label_is_added_gets_it_too(client, labels, tmp_path, monkeypatch):
    add, moves = LabelStore.add, [tmp_path / "old"]

    def then_moved(store, given):
        found = add(store, given)
        if moves:
            labels.parent.rename(moves.pop())
            labels.parent.mkdir()
        return found

    monkeypatch.setattr(LabelStore, "add", then_moved)
    answer = client.post("/feedback", json={"request_id": "r-2", "label": "yes"})
    assert answer.get_json()["added"] == 1
    assert [each.request for each in kept(labels)] == ["r-2"]


def test_a_request_that_is_purged_while_a_label_of_it_is_on_its_way_keeps_none(client, labels, tmp_path, monkeypatch):
    """Between the look-up in the log and the store: the purge finds no label yet."""
    job, add = log_job(tmp_path / "log"), LabelStore.add
    monkeypatch.setattr(purging, "SETTLE_SECONDS", 0.0)

    def after_a_purge(store, given):
        with LabelStore(labels) as other:
            purging.purge(tmp_path / "log", purging.Purge("request", "r-2", "ada"), read_key(Path(job.key)), other)
        return add(store, given)

    monkeypatch.setattr(LabelStore, "add", after_a_purge)
    reports = [{"request_id": "r-2", "label": "yes"}, {"request_id": "r-1", "row": 0, "label": "yes"}]
    answer = client.post("/feedback", json={"feedback": reports})
    assert answer.status_code == 207
    assert [each.get("status", 200) for each in answer.get_json()["feedback"]] == [410, 200]
    assert [each.request for each in kept(labels)] == ["r-1"]
