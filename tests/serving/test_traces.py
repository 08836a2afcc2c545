"""W3C Trace Context in requests, answers, log lines and exemplars; spans, sent by the real SDK to a collector."""

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from serving_parts import ask

from serving.server import control
from serving.spans import spans_for
from serving.traces import trace_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"
BODY = json.dumps({"instances": [{"size": 1, "floors": 1}]})
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_a_trace_is_continued_with_a_span_of_our_own():
    found = trace_of(GIVEN)
    assert (found.trace_id, found.sampled) == (TRACE, True)
    assert found.span_id != PARENT
    assert trace_of(found.header)[::2] == (TRACE, True)
    assert trace_of(GIVEN[:-2] + "00").sampled is False


@pytest.mark.parametrize(
    "header",
    [
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"{GIVEN}-more",
        GIVEN.upper(),
        f"00-{TRACE}-{PARENT}",
        "",
    ],
)
def test_what_is_not_a_trace_begins_a_new_one(header):
    first, second = trace_of(header), trace_of(header)
    assert len({first.trace_id, second.trace_id, TRACE, "0" * 32}) == 4
    assert not first.sampled


def test_a_later_version_may_say_more():
    assert trace_of(f"01-{TRACE}-{PARENT}-01-more").trace_id == TRACE


@given(st.text())
def test_whatever_the_client_says_the_answer_is_valid(text):
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", trace_of(text).header)


def test_the_answer_continues_the_clients_trace_and_the_page_of_metrics_leads_to_it(clients):
    api = clients("price")
    answer = api.post("/predict", data=BODY, headers={"traceparent": GIVEN})
    assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert not answer.headers["traceparent"].startswith(f"00-{TRACE}-{PARENT}")
    assert "traceparent" not in api.post("/predict", data=BODY).headers
    text = api.admin.get("/metrics", headers={"Accept": OPENMETRICS}).text
    buckets = [
        sample
        for family in parse_openmetrics(text)
        for sample in family.samples
        if family.name == "trainyard_request_seconds" and sample.exemplar
    ]
    (found,) = buckets
    assert found.exemplar.labels == {"trace_id": TRACE}
    assert 0 < found.exemplar.value <= float(found.labels["le"])
    assert TRACE not in api.admin.get("/metrics").text


def test_a_trace_that_nobody_keeps_is_no_example(clients):
    api = clients("price")
    api.post("/predict", data=BODY, headers={"traceparent": GIVEN[:-2] + "00"})
    assert TRACE not in api.admin.get("/metrics", headers={"Accept": OPENMETRICS}).text


class Collector(ThreadingHTTPServer):
    """Of OpenTelemetry: keeps what it is sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Received)
        self.spans, self.services = [], set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Received(BaseHTTPRequestHandler):
    def do_POST(self):
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            self.server.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_spans_of_a_fenced_api_reach_the_collector_and_are_of_the_clients_trace(
    registry, start, until, collector, monkeypatch
):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    registry.release(registry.put("price"))
    url, folder = start(registry, workers=1, traces=collector.url)
    control.await_release(folder, 1, 20)
    _, headers, _ = ask(url, "POST", "/predict", BODY, {"traceparent": GIVEN, "X-Request-Id": "mine"})
    until(lambda: len(collector.spans) >= 4)
    by_name = {each.name: each for each in collector.spans}
    root = by_name["POST /predict"]
    assert {"read", "infer", "write"} <= by_name.keys()
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert headers["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    for name in ("read", "infer", "write"):
        child = by_name[name]
        assert child.parent_span_id == root.span_id
        assert root.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
        assert child.end_time_unix_nano <= root.end_time_unix_nano
    assert by_name["read"].end_time_unix_nano <= by_name["infer"].start_time_unix_nano
    said = {each.key: each.value for each in root.attributes}
    assert said["http.route"].string_value == "/predict"
    assert said["http.response.status_code"].int_value == 200
    assert said["trainyard.request_id"].string_value == "mine"
    assert collector.services == {"trainyard-m"}
    lines = [json.loads(line) for line in (folder / "api.log").read_text().splitlines() if '"mine"' in line]
    assert [each["trace_id"] for each in lines] == [TRACE]


@pytest.mark.slow
def test_a_collector_that_is_not_there_delays_no_answer(registry, start):
    registry.release(registry.put("price"))
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # takes connections, and never answers
        url, folder = start(registry, workers=1, traces=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        control.await_release(folder, 1, 20)
        for _ in range(20):
            assert ask(url, "POST", "/predict", BODY)[0] == 200


def test_without_a_collector_there_is_nothing(monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert spans_for("", "m") is None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert spans_for("http://127.0.0.1:4318", "m") is None


def test_without_opentelemetry_a_collector_is_named_in_the_log_alone(monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.resources", None)
    assert spans_for("http://127.0.0.1:4318", "m") is None
    assert "install opentelemetry-exporter-otlp-proto-http" in caplog.text
