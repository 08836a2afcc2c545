"""What happens around a request over gRPC: access, ids, traces, the log, metrics, the prediction log, and slow clients."""

import threading
from dataclasses import replace

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")

from certificates import write_certificate  # noqa: E402
from echo_model import echo_model  # noqa: E402
from grpc_parts import GrpcClient, grpc_here, refused  # noqa: E402

from serving.access.control import AccessControl  # noqa: E402
from serving.access.policy import Rules  # noqa: E402
from serving.access.rate import RateLimit  # noqa: E402
from serving.access.tls import TlsContext  # noqa: E402
from serving.access.tokens import Token  # noqa: E402
from serving.grpc_port.credentials import credentials  # noqa: E402
from serving.metrics.page import MetricsPage  # noqa: E402
from serving.proxies import Networks  # noqa: E402
from serving.traces import trace_of  # noqa: E402

INFER = "/inference.GRPCInferenceService/ModelInfer"
ONE = np.array([[1.5, 2.5]], np.float32)
ASKED = {
    "model_name": "m",
    "inputs": [{"name": "in_float32", "datatype": "FP32", "shape": [1, 2]}],
    "raw_input_contents": [ONE.tobytes()],
}
TRACE = "0af7651916cd43dd8448eb211c80319c"


def small(**more):
    return grpc_here(echo_model(("float32",), (2,)), **more)


def test_a_request_is_counted_and_logged_as_over_http_and_its_ids_come_back(until):
    metadata = (("x-request-id", "mine-1"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
    with small() as here:
        _, behind = here.call.full("ModelInfer", metadata, **ASKED)
        refused(here.call, "ModelInfer", **ASKED | {"model_version": "8"})
        until(lambda: len(here.lines) == 2)
    first, second = here.lines
    assert behind["x-request-id"] == "mine-1"
    assert behind["traceparent"].startswith(f"00-{TRACE}-")
    counted = first["environ"]["trainyard.counted"]
    assert (first["status"], second["status"]) == (200, 404)
    assert (first["environ"]["trainyard.version"], first["environ"]["REMOTE_ADDR"]) == (7, "127.0.0.1")
    assert (counted.rows, counted.trace_id, counted.size > 8, first["sent"] > 8) == (1, TRACE, True, True)
    assert counted.queue_seconds > 0 < counted.write_seconds
    assert here.requests() == {("ModelInfer", "200"): 1, ("ModelInfer", "404"): 1}
    assert here.table.totals().in_flight == 0


def test_the_prediction_log_gets_what_was_answered_and_refused_but_not_who_may_not_ask():
    kept = []

    class Log:
        def offer(self, answered):
            kept.append(answered)

    with small(prediction_log=Log(), access=_tokens()) as here:
        allowed = (("authorization", "Bearer good"),)
        here.call("ModelInfer", allowed, **ASKED)
        refused(here.call, "ModelInfer", allowed, **ASKED | {"inputs": []})
        refused(here.call, "ModelInfer", **ASKED)
        here.call("ModelMetadata", allowed, name="m")
    assert [(each.status, each.protocol, each.caller) for each in kept] == [
        (200, "grpc", "shop"),
        (400, "grpc", "shop"),
    ]
    assert kept[0].outputs["out_float32"].tolist() == ONE.tolist()


def _tokens(rate=None, role="predict"):
    token = Token("shop", (role,), "0" * 64, "2026-01-01T00:00:00Z")
    return AccessControl(Rules(role="predict"), lambda given: token if given == "good" else None, rate)


@pytest.mark.parametrize(
    ("role", "sent", "code"),
    [
        ("predict", (), "UNAUTHENTICATED"),
        ("predict", (("authorization", "Bearer wrong"),), "UNAUTHENTICATED"),
        ("operate", (("authorization", "Bearer good"),), "PERMISSION_DENIED"),
    ],
)
def test_a_token_is_asked_for_by_the_rules_of_http_but_not_for_the_health_check(role, sent, code):
    with small(access=_tokens(role=role)) as here:
        assert refused(here.call, "ModelInfer", sent, **ASKED)[0].name == code
        assert refused(here.call, "ServerLive", sent)[0].name == code
        assert here.call.raw("/grpc.health.v1.Health/Check", b"")[0] == b"\x08\x01"


def test_who_may_not_ask_is_refused_before_the_message_is_read():
    with small(access=_tokens()) as here:
        sent = threading.Event()

        def never():
            sent.wait(20)
            yield b""

        try:
            with pytest.raises(grpc.RpcError) as caught:
                here.call.channel.stream_unary(INFER)(never(), timeout=10)
        finally:
            sent.set()
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_the_rate_is_shared_with_http_and_says_when_to_retry():
    with small(access=AccessControl(Rules(), rate=RateLimit(1))) as here:
        here.call("ServerLive")
        with pytest.raises(grpc.RpcError) as caught:
            here.call("ServerLive")
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(caught.value.trailing_metadata())["retry-after"]) >= 1


def test_clients_that_send_slowly_keep_nobody_waiting_and_are_given_up(until):
    with small(seconds=2.0) as here:
        go = threading.Event()

        def slowly():
            go.wait(20)
            yield b""

        slow = [here.call.channel.stream_unary(INFER).future(slowly()) for _ in range(8)]  # there are 2 threads
        until(lambda: here.table.totals().in_flight == 8)
        assert here.call("ModelInfer", **ASKED).outputs
        assert not any(each.done() for each in slow)
        codes = {each.exception(10).code() for each in slow}
        go.set()
    assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert here.requests()["ModelInfer", "504"] == 8


def test_the_slowest_message_goes_when_others_wait_to_be_read(until):
    with small(reading={"most": 1}) as here:
        go = threading.Event()

        def slowly():
            go.wait(20)
            yield b""

        slow = here.call.channel.stream_unary(INFER).future(slowly())
        until(lambda: here.table.totals().in_flight == 1)
        assert here.call("ModelInfer", **ASKED).outputs
        assert slow.exception(10).code() == grpc.StatusCode.UNAVAILABLE
        go.set()


class Gate:
    """Holds a model's answers back until `go`."""

    def __init__(self):
        self.go, self.started, self.calls = threading.Event(), threading.Event(), 0
        model = echo_model(("float32",), (2,))
        run = model.engine

        def engine(inputs):
            self.calls += 1
            self.started.set()
            self.go.wait(20)
            return run(inputs)

        self.model = replace(model, engine=engine)


def test_a_deadline_that_is_over_is_answered_as_such_and_counted(until):
    gate = Gate()
    with grpc_here(gate.model) as here:
        code, _ = refused(here.call, "ModelInfer", timeout=1.0, **ASKED)
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: here.requests().get(("ModelInfer", "504")))
        gate.go.set()


def test_what_has_begun_is_answered_when_the_server_stops_and_nothing_new_is_taken(until):
    gate = Gate()
    with grpc_here(gate.model) as here:
        pending = here.call.channel.unary_unary(INFER).future(_message())
        gate.started.wait(10)
        here.server.begin_stop()
        new = GrpcClient(here.target)
        until(lambda: _code(new) == grpc.StatusCode.UNAVAILABLE)
        assert not pending.done()
        gate.go.set()
        assert pending.result(10)
        here.server.close()
        new.close()


def _code(call):
    try:
        call("ServerLive", timeout=5)
    except grpc.RpcError as error:
        return error.code()
    return None


def _message():
    from serving.grpc_port import inference_pb2 as pb

    return pb.ModelInferRequest(**ASKED).SerializeToString()


def test_too_many_requests_at_once_are_refused_as_unavailable(until):
    gate = Gate()
    with grpc_here(gate.model, most=2, exempt=Networks(["127.0.0.0/8"])) as here:
        pending = [here.call.channel.unary_unary(INFER).future(_message()) for _ in range(2)]
        until(lambda: here.table.totals().in_flight == 2)
        code, text = refused(here.call, "ServerLive")
        assert (code.name, "at once" in text) == ("UNAVAILABLE", True)
        gate.go.set()
        assert all(each.result(10) for each in pending)
        assert here.call("ServerLive").live


def test_half_of_all_requests_may_come_from_one_address():
    gate = Gate()
    with grpc_here(gate.model, most=2) as here:
        pending = here.call.channel.unary_unary(INFER).future(_message())
        gate.started.wait(10)
        assert refused(here.call, "ServerLive")[0].name == "UNAVAILABLE"
        gate.go.set()
        assert pending.result(10)


def test_behind_a_trusted_proxy_the_client_is_the_one_that_it_names(until):
    sent = (("x-forwarded-for", "10.9.9.9, 203.0.113.5"),)
    for trusted, address in (["127.0.0.1"], "203.0.113.5"), ([], "127.0.0.1"):
        with small(trusted=Networks(trusted)) as here:
            here.call("ServerLive", sent)
            until(lambda: here.lines)
            assert here.lines[0]["environ"]["REMOTE_ADDR"] == address


def test_an_error_inside_is_internal_without_its_text_and_is_counted():
    def broken(_inputs):
        raise RuntimeError("secret")

    with grpc_here(replace(echo_model(("float32",), (2,)), engine=broken)) as here:
        code, text = refused(here.call, "ModelInfer", **ASKED)
    assert (code, "secret" in text) == (grpc.StatusCode.INTERNAL, False)
    assert here.requests() == {("ModelInfer", "500"): 1}


def test_tls_takes_a_renewed_certificate_without_a_restart(tmp_path, until):
    write_certificate(tmp_path)
    files = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    with small(credentials=credentials(TlsContext(*files), *files)) as here:

        def asks():
            trusted = grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())
            client = GrpcClient(here.target, trusted)
            try:
                return client("ServerLive", timeout=5).live
            except grpc.RpcError:
                return False
            finally:
                client.close()

        assert asks()
        write_certificate(tmp_path)
        assert until(asks)
        assert refused(here.call, "ServerLive", timeout=5)[0] == grpc.StatusCode.UNAVAILABLE  # without TLS


def test_metrics_have_the_protocol(until):
    with small() as here:
        here.call("ModelInfer", **ASKED)
        until(lambda: here.lines)
        text = MetricsPage(here.table, "m", lambda: {"workers": [], "expected": 1}).page("")[0].decode()
    found = [line for line in text.splitlines() if 'protocol="grpc"' in line and not line.endswith(" 0.0")]
    assert any("ModelInfer" in line and 'code="200"' in line for line in found), text
    assert any("infer" in line and "_seconds_count" in line for line in found), text


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_what_is_larger_than_a_body_may_be_is_exhausted_also_when_it_is_compressed(until, compression):
    with small() as here:
        code, text = refused(here.call.raw, INFER, bytes((1 << 16) + 1), compression=compression)
        assert (code.name, text.partition(";")[0]) == (
            "RESOURCE_EXHAUSTED",
            "the message has 65537 bytes, 65536 are allowed",
        )
        until(lambda: here.lines)
        assert here.requests() == {("ModelInfer", "413"): 1}
        bomb = refused(here.call.raw, INFER, bytes(64 << 20), compression=compression)
    assert bomb[0].name == "RESOURCE_EXHAUSTED"


def test_there_are_more_threads_when_the_live_model_profits_and_nothing_is_lost(until):
    gate = Gate()
    with grpc_here(gate.model) as here:
        ask = here.call.channel.unary_unary(INFER).future
        pending = [ask(_message()) for _ in range(2)]
        until(lambda: gate.calls == 2)
        here.threads = 4
        pending += [ask(_message()) for _ in range(4)]
        until(lambda: gate.calls == 6)  # two of them in the threads from before
        gate.go.set()
        assert all(each.result(10) for each in pending)


def test_a_span_is_begun_in_the_clients_trace_and_ended_with_what_was_counted(until):
    seen = []

    class Recording:
        """In place of serving.spans.Spans."""

        def begin(self, environ, waited):
            seen.append((environ["HTTP_TRACEPARENT"], environ["HTTP_TRACESTATE"], waited))
            return "span", trace_of(environ["HTTP_TRACEPARENT"])

        def end(self, span, counted, environ, request_id):
            seen.append((span, counted.route, counted.status, environ["REQUEST_METHOD"], request_id))

    given = f"00-{TRACE}-b7ad6b7169203331-01"
    metadata = (("traceparent", given), ("tracestate", "a=1"), ("x-request-id", "mine-2"))
    with small(spans=Recording()) as here:
        _, behind = here.call.full("ModelInfer", metadata, **ASKED)
        until(lambda: here.lines)
    assert seen == [(given, "a=1", 0.0), ("span", INFER, "200", "POST", "mine-2")]
    assert behind["traceparent"].startswith(f"00-{TRACE}-")
