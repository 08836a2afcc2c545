"""`GET /metrics`: the numbers of all workers, whichever answers, and whatever becomes of one."""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from serving_parts import ask

from serving.metrics.counters import FEW, CountedRequest, CounterTable
from serving.metrics.layout import STATUSES
from serving.metrics.routes import ROUTES
from serving.server import control

IMAGE = [[0] * 8] * 8
BODY = json.dumps({"instances": [IMAGE]})


def numbers(text, parse=parse_text):
    """Every sample by its name and labels: `found["trainyard_requests_total", "/predict", "200"]`.

    Without `code`, which says the same as `status`, `protocol`, which follows from `route`, and the caller that is nobody.
    """
    return {
        (
            sample.name,
            *(value for name, value in sample.labels.items() if name not in {"code", "protocol"} and value),
        ): (sample.value)
        for family in parse(text)
        for sample in family.samples
        if family.name != "trainyard_phase_seconds"
    }


def scrape(folder):
    status, headers, body = ask(control.admin(folder), "GET", "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    return numbers(body.decode())


def counted(found):
    """What may never go back."""
    return {key: value for key, value in found.items() if key[0].endswith(("_total", "_count", "_bucket", "_sum"))}


@pytest.fixture
def api(clients):
    return clients("digits")


def page(api, **headers):
    return api.admin.get("/metrics", headers=headers)


class TestPage:
    def test_what_was_asked_and_answered_is_counted_by_route_and_status(self, api):
        api.post("/predict", data=BODY)
        api.post("/predict", data=BODY)
        api.post("/predict", data="{")
        api.get("/health/live")
        api.get("/predict")
        found = numbers(page(api).text)
        requests = {key[1:]: value for key, value in found.items() if key[0] == "trainyard_requests_total"}
        assert requests == {
            ("/predict", "200"): 2,
            ("/predict", "400"): 1,
            ("/predict", "405"): 1,
            ("/health/live", "200"): 1,
        }
        assert found["trainyard_request_seconds_count", "/predict"] == 4
        assert found["trainyard_requests_in_flight",] == 0

    def test_size_number_of_samples_and_confidence_are_those_of_the_predictions(self, api):
        body = json.dumps({"instances": [IMAGE] * 3})
        answer = api.post("/predict", data=body).get_json()
        api.post("/predict", data="{")
        found = numbers(page(api).text)
        assert found["trainyard_predict_body_bytes_count",] == 1
        assert found["trainyard_predict_body_bytes_sum",] == len(body)
        assert found["trainyard_predict_instances_sum",] == 3
        assert found["trainyard_predict_instances_bucket", "2.0"] == 0
        assert found["trainyard_predict_instances_bucket", "5.0"] == 1
        assert found["trainyard_confidence_count",] == 3
        expected = sum(each["probability"] for each in answer["predictions"])
        assert found["trainyard_confidence_sum",] == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("recurrent", [[[0, 0]] * 5]),
            ("price", [{"size": 1, "floors": 1}]),
            ("pair", [{"left": [0] * 2, "right": [0] * 3}]),
        ],
    )
    def test_models_without_probabilities_have_no_confidence(self, clients, kind, body):
        api = clients(kind)
        assert api.post("/predict", json={"instances": body}).status_code == 200
        assert numbers(page(api).text)["trainyard_confidence_count",] == 0

    def test_a_body_in_chunks_has_no_size_that_is_known(self, api):
        sent = {
            "headers": {"Transfer-Encoding": "chunked"},
            "environ_overrides": {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
        }
        assert api.post("/predict", input_stream=BytesIO(BODY.encode()), **sent).status_code == 200
        found = numbers(page(api).text)
        assert (found["trainyard_predict_instances_count",], found["trainyard_predict_body_bytes_count",]) == (1, 0)

    def test_no_client_can_make_more_series(self, api):
        before = len(numbers(page(api).text))
        for i in range(50):
            api.get(f"/{i}")
            api.open(f"/{i}", method=f"M{i}")
            api.post("/predict", data=BODY, headers={"X-Request-Id": f"id-{i}"})
        after = numbers(page(api).text)
        assert after["trainyard_requests_total", "other", "404"] == 100
        assert len(after) - before <= 1 + 18  # 404 is one series more, with its histogram

    def test_openmetrics_is_spoken_to_those_who_ask_for_it(self, api):
        api.post("/predict", data=BODY)
        answer = page(api, Accept="application/openmetrics-text; version=1.0.0")
        assert answer.content_type.startswith("application/openmetrics-text")
        assert numbers(answer.text, parse_openmetrics)["trainyard_requests_total", "/predict", "200"] == 1


def count(counters, answer):
    counters.start(answer)
    counters.finish(answer)


class TestCounterTable:
    def test_threads_of_one_worker_lose_nothing(self):
        table = CounterTable(2)
        counters = table.counters(1)

        def work():
            for _ in range(2000):
                count(counters, CountedRequest("/predict", "200", 0.003, size=10, rows=1, confidence=[0.5]))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        totals = table.totals()
        assert totals.in_flight == 0
        assert totals.requests()["/predict", "200", ""] == 8000
        assert sum(totals.seconds()["/predict"][0]) == sum(totals.confidence[0]) == 8000
        assert totals.bytes[1] == 80000

    @given(some.lists(some.sampled_from([0.0, 0.05, 0.1, 0.3, 0.95, 0.97, 1.0, 1.0000001]), min_size=FEW + 1))
    def test_confidence_of_many_rows_is_counted_as_that_of_one_after_the_other(self, confidence):
        table = CounterTable(2)
        count(table.counters(0), CountedRequest("/predict", "200", 1, rows=len(confidence), confidence=confidence))
        at_once = table.totals().confidence
        other = CounterTable(2)
        for each in confidence:
            count(other.counters(0), CountedRequest("/predict", "200", 1, rows=1, confidence=[each]))
        assert at_once[0] == other.totals().confidence[0]
        assert at_once[1] == pytest.approx(other.totals().confidence[1])

    def test_what_a_dead_worker_was_answering_is_not_in_flight_and_its_counts_stay(self):
        table = CounterTable(1)
        counters = table.counters(0)
        count(counters, CountedRequest("/predict", "200", 1))
        counters.start(CountedRequest("/predict"))
        table.worker_ended(0)
        assert table.totals().in_flight == 0
        successor = table.counters(0)
        count(successor, CountedRequest("/predict", "200", 1))
        assert table.totals().requests()["/predict", "200", ""] == 2

    def test_every_route_and_status_has_a_cell_of_its_own(self):
        table = CounterTable()
        counters = table.counters(0)
        for i, route in enumerate(ROUTES, start=1):
            for _ in range(i):
                for status in STATUSES:
                    count(counters, CountedRequest(route, status, 99))
        totals = table.totals()
        assert totals.requests() == {
            (route, status, ""): i for i, route in enumerate(ROUTES, start=1) for status in STATUSES
        }
        assert totals.seconds() == {
            route: ([0] * 15 + [i * len(STATUSES)], i * len(STATUSES) * 99) for i, route in enumerate(ROUTES, start=1)
        }
        assert (sum(totals.bytes[0]), sum(totals.confidence[0])) == (0, 0)

    def test_a_worker_without_a_row_changes_no_count(self):
        table = CounterTable(1)
        table.counters(5).start(CountedRequest("/"))
        table.worker_ended(5)
        assert table.totals().in_flight == 0

    def test_what_became_of_the_prediction_log_and_of_a_process_is_counted(self):
        table = CounterTable(2)
        for row in range(2):
            counters = table.counters(row)
            counters.predictions_dropped()
            counters.predictions_dropped(3)
            counters.publish_process()
        first = table.totals()
        assert first.predictions_dropped == 8
        assert first.memory > 20e6
        assert first.files >= 6
        assert first.files_limit > first.files
        table.worker_ended(0)
        table.worker_ended(1)
        last = table.totals()
        assert (last.memory, last.files) == (0, 0)
        assert last.cpu_seconds >= first.cpu_seconds > 0

    def test_the_first_twenty_names_of_tokens_are_labels_and_all_others_are_one(self):
        table = CounterTable(2)
        for i in range(50):
            count(table.counters(i % 2), CountedRequest("/predict", "200", caller=f"team-{i}"))
        count(table.counters(1), CountedRequest("/predict", "200", caller="team-0"))
        found = {caller: value for (_, _, caller), value in table.totals().requests().items()}
        assert found == {f"team-{i}": 1 for i in range(1, 20)} | {"team-0": 2, "other": 30}

    def test_what_waits_is_shown_until_it_does_not(self):
        table = CounterTable(2)
        first, second = table.counters(0), table.counters(1)
        first.queue("thread", 1)
        second.queue("thread", 1)
        second.queue("engine", 7)
        assert table.totals().queued == {"thread": 2, "engine": 7}
        first.queue("thread", 0)
        table.worker_ended(1)
        assert table.totals().queued == {"thread": 0, "engine": 0}


def test_all_workers_are_in_every_answer_and_no_count_goes_back_when_one_is_killed(registry, start, until):
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=2)
    control.await_release(folder, 1, 20)
    for _ in range(20):  # on connections of their own, so that both workers have some
        ask(url, "POST", "/predict", BODY)
    found = scrape(folder)
    assert found["trainyard_requests_total", "/predict", "200"] == 20
    assert found["trainyard_model_info", "m", "1", "1"] == 2
    assert found["trainyard_workers", "ready"] == found["trainyard_workers_expected",] == 2

    before, pids = counted(found), {each["pid"] for each in control.status(folder)["workers"]}
    for _ in range(2):  # each of the two, and what came in its place
        os.kill(control.status(folder)["workers"][0]["pid"], signal.SIGKILL)
        for _ in range(20):
            try:
                found = scrape(folder)
            except OSError:  # it went to the dead one
                continue
            assert all(counted(found)[key] >= value for key, value in before.items())
            before = counted(found)
        until(lambda: len(control.status(folder)["workers"]) == 2)
    control.await_release(folder, 1, 20)
    assert {each["pid"] for each in control.status(folder)["workers"]} != pids
    for _ in range(20):
        ask(url, "POST", "/predict", BODY)
    found = scrape(folder)
    assert found["trainyard_requests_total", "/predict", "200"] == 40
    assert found["trainyard_requests_in_flight",] == 0

    registry.release(registry.put("digits2"))
    control.await_release(folder, 2, 20)
    assert scrape(folder)["trainyard_model_info", "m", "2", "2"] == 2


def test_a_worker_that_dies_in_the_middle_of_a_request_leaves_none_in_flight(registry, start, until):
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=2)
    control.await_release(folder, 1, 20)
    pid = control.status(folder)["workers"][0]["pid"]
    asking = True

    def keep_asking():
        while asking:
            with suppress(OSError, HTTPException):  # the one that dies cuts them off
                ask(url, "POST", "/predict", BODY)

    def in_flight():
        with suppress(OSError, HTTPException):
            return scrape(folder)["trainyard_requests_in_flight",]

    def stopped_in_the_middle():
        """Stop it, perhaps while it answers; the other one shows what is then in flight for good."""
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.3)
        if in_flight() is not None and min(in_flight() for _ in range(10)) > 0:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    threads = [threading.Thread(target=keep_asking) for _ in range(8)]
    for each in threads:
        each.start()
    try:
        until(stopped_in_the_middle)
    finally:
        asking = False
        os.kill(pid, signal.SIGKILL)
        for each in threads:
            each.join()
    until(lambda: in_flight() == 0)
