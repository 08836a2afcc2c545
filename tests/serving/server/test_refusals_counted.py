"""What is refused before the app sees it is in the metrics, by status and reason; and so is what is closed without a word."""

import json
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from gunicorn.http import errors
from prometheus_client.parser import text_string_to_metric_families as parse
from serving_parts import ask

from serving.metrics.counters import CounterTable
from serving.metrics.layout import CLOSED, REFUSALS
from serving.server import control
from serving.server.gunicorn_errors import refusal_for

HOST = b"Host: localhost\r\n"
REFUSED = {
    ("400", "malformed"): b"GET\r\n\r\n",
    ("408", "slow_head"): b"GET / HTTP/1.1\r\n",
    ("408", "slow_body"): b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n{",
    ("414", "request_line"): b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ("417", "expectation"): b"GET / HTTP/1.1\r\n" + HOST + b"Expect: the best\r\n\r\n",
    ("431", "head_too_large"): b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 9000 + b"\r\n\r\n",
    ("501", "transfer_coding"): b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: br\r\n\r\n",
}


def metric(folder, name):
    """The metric's samples above 0 by status and reason, or by reason."""
    text = ask(control.admin(folder), "GET", "/metrics")[2].decode()
    samples = [each for family in parse(text) for each in family.samples if each.name == name]
    return {
        tuple(each.labels[label] for label in ("status", "reason") if label in each.labels): each.value
        for each in samples
        if each.value
    }


def connect(url):
    where = urlsplit(url)
    return socket.create_connection((where.hostname, where.port), timeout=20)


@pytest.fixture
def api(registry, start):
    registry.release(registry.put("price"))
    url, folder = start(registry, workers=1, timeout_seconds=1, max_connections=20)
    control.await_release(folder, 1, 20)
    return url, folder


def test_each_refusal_is_counted_once_under_its_status_and_reason(api):
    url, folder = api
    for (status, reason), said in REFUSED.items():
        with connect(url) as client:
            client.sendall(said)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), reason
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["request_id"]
    assert metric(folder, "trainyard_requests_refused_total") == dict.fromkeys(REFUSED, 1)
    assert metric(folder, "trainyard_connections_closed_total") == {}


def test_a_connection_that_has_to_go_is_counted(api, until):
    url, folder = api
    with ExitStack() as held:
        for number in range(30):
            client = held.enter_context(connect(url))
            if number % 2:
                client.sendall(b"GET ")
        assert ask(url, "GET", "/health/live")[0] == 200
        refused = until(lambda: metric(folder, "trainyard_requests_refused_total").get(("503", "connections")))
        assert refused + metric(folder, "trainyard_connections_closed_total")["connections",] == 11
        until(lambda: metric(folder, "trainyard_connections_closed_total").get(("silent",)))


def test_there_is_a_fixed_set_of_series_and_each_is_there_from_the_start(clients):
    text = clients("price").admin.get("/metrics").text
    for status, reason in REFUSALS:
        assert f'trainyard_requests_refused_total{{code="{status}",reason="{reason}",status="{status}"}} 0.0' in text
    for reason in CLOSED:
        assert f'trainyard_connections_closed_total{{reason="{reason}"}} 0.0' in text


@pytest.mark.parametrize("error", [errors.NoMoreData(), errors.InvalidHeader("x"), errors.ParseException(), KeyError()])
def test_whatever_the_error_there_is_a_series_for_it(error):
    counters = CounterTable().counters(0)
    refusal = refusal_for(error)
    counters.refused(refusal.status, refusal.reason)
    assert counters.table.totals().refused()[str(refusal.status), refusal.reason] == 1


def test_what_ends_with_a_worker_is_not_forgotten():
    table = CounterTable(2)
    table.counters(0).closed("silent")
    table.worker_ended(0)
    table.counters(1).closed("silent")
    assert table.totals().closed()["silent"] == 2
