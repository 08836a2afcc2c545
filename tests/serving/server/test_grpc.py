"""gRPC beside HTTP with the real server: its port, its workers, its releases, its fence, its end."""

import json
import threading
from contextlib import closing
from socket import create_server

import pytest

grpc = pytest.importorskip("grpc")

from certificates import write_certificate  # noqa: E402
from grpc_parts import GrpcClient, refused  # noqa: E402
from serving_parts import ask, free_port, samples  # noqa: E402

from registry.errors import ConfigError  # noqa: E402
from serving.access import tokens  # noqa: E402
from serving.job import ServeJob  # noqa: E402
from serving.server import control  # noqa: E402


@pytest.fixture
def live(registry):
    registry.release(registry.put("price"))
    return registry


def asked(registry, version, kind="price"):
    """The first sample of a version, and what it answers."""
    x, y = samples(registry._models / kind)
    inputs = [
        {
            "name": name,
            "datatype": "FP32",
            "shape": [1, *each.shape[1:]],
            "contents": {"fp32_contents": each[0].ravel()},
        }
        for name, each in x.items()
    ]
    return {"model_name": "m", "inputs": inputs}, next(iter(y.values()))[0]


def lines(folder):
    text = (folder / "api.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_workers_share_the_port_inside_the_fence_and_follow_a_release(live, start, until):
    port = free_port()
    _, folder = start(live, workers=2, grpc_port=port)
    control.await_release(folder, 1, 30)
    assert control.grpc(folder) == f"127.0.0.1:{port}"
    request, wanted = asked(live, 1)
    pids = set()

    def both_have_answered():
        with closing(GrpcClient(f"127.0.0.1:{port}")) as call:
            found = call("ModelInfer", **request)
        assert found.outputs[0].contents.fp32_contents == pytest.approx(wanted.ravel().tolist(), abs=1e-4)
        assert found.model_version == "1"
        pids.update(each["pid"] for each in lines(folder) if each.get("protocol") == "grpc")
        return len(pids) == 2

    until(both_have_answered)
    (line,) = [each for each in lines(folder) if each.get("protocol") == "grpc"][:1]
    assert (line["path"], line["status"], line["rows"]) == ("/inference.GRPCInferenceService/ModelInfer", 200, 1)
    assert (line["release"], line["version"], line["remote"]) == (1, 1, "127.0.0.1")
    metrics = ask(control.admin(folder), "GET", "/metrics")[2].decode()
    assert [each for each in metrics.splitlines() if "/ModelInfer" in each and 'protocol="grpc"' in each]
    with closing(GrpcClient(f"127.0.0.1:{port}")) as call:  # one connection stays, and follows
        live.release(live.put("price"))
        control.await_release(folder, 2, 30)
        until(lambda: call("ModelInfer", **request).model_version == "2")
        assert call("ModelInfer", **request, model_version="1").model_version == "1"
        assert refused(call, "ModelInfer", **request, model_version="3")[0].name == "NOT_FOUND"
        live.release(None)
        until(lambda: not call("ServerReady").ready)
        assert refused(call, "ModelInfer", **request)[0].name == "UNAVAILABLE"
    assert control.stop(folder)
    errors = [each for each in lines(folder) if each["level"] in {"error", "critical"}]
    assert not errors
    with closing(GrpcClient(f"127.0.0.1:{port}")) as call:
        assert refused(call, "ServerLive")[0].name == "UNAVAILABLE"


def test_tokens_tls_and_the_body_bound_are_those_of_http(live, start, tmp_path, until):
    path, port = tmp_path / "access" / "tokens.json", free_port()
    write_certificate(tmp_path / "tls")
    files = {"certfile": str(tmp_path / "tls" / "cert.pem"), "keyfile": str(tmp_path / "tls" / "key.pem")}
    _, folder = start(
        live, workers=1, auth="tokens", tokens=str(path), grpc_port=port, max_body_mb=1, requests_per_second=50, **files
    )
    request, _ = asked(live, 1)
    token = tokens.make(path, "shop", ["predict"])
    sent = (("authorization", f"Bearer {token}"),)
    trusted = grpc.ssl_channel_credentials((tmp_path / "tls" / "cert.pem").read_bytes())
    with closing(GrpcClient(f"localhost:{port}", trusted)) as call:
        assert refused(call, "ModelInfer", **request)[0].name == "UNAUTHENTICATED"
        until(lambda: _answers(call, sent, request))
        code, text = refused(
            call, "ModelInfer", sent, **request | {"inputs": [], "raw_input_contents": [bytes(1 << 20)]}
        )
        assert (code.name, "max_body_mb" in text) == ("RESOURCE_EXHAUSTED", True)
        codes = {_code(call, sent) for _ in range(120)}
    assert codes == {None, grpc.StatusCode.RESOURCE_EXHAUSTED}
    callers = {each["caller"] for each in lines(folder) if each.get("protocol") == "grpc"}
    assert callers == {None, "shop"}


def _answers(call, sent, request):
    try:
        return call("ModelInfer", sent, **request).outputs
    except grpc.RpcError:
        return None


def _code(call, sent):
    try:
        call("ServerLive", sent)
    except grpc.RpcError as error:
        return error.code()
    return None


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_in_use_is_reported_with_the_setting(live, tmp_path, start, shared):
    if shared:  # also by another API, whose workers share theirs
        port = free_port()
        start(live, workers=1, grpc_port=port)
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = port if shared else taken.getsockname()[1]
        job = ServeJob("m", registry=live.url, port=0, grpc_port=port)
        with pytest.raises(ConfigError, match=f"port {port} is in use") as caught:
            control.start(job, tmp_path / "other")
    assert "[serving] grpc_port" in caught.value.hint


def test_without_the_setting_nothing_of_grpc_is_loaded(live, start):
    _, folder = start(live, workers=1)
    assert control.grpc(folder) == ""
    (worker,) = control.status(folder)["workers"]
    with open(f"/proc/{worker['pid']}/maps", encoding="utf-8") as maps:
        assert "cygrpc" not in maps.read()


def test_requests_in_flight_are_answered_when_the_api_stops(live, start, until):
    port = free_port()
    _, folder = start(live, workers=1, grpc_port=port)
    request, _ = asked(live, 1)
    results, stop = [], threading.Event()

    def asks():
        with closing(GrpcClient(f"127.0.0.1:{port}")) as call:
            while not stop.is_set():
                try:
                    call("ModelInfer", **request)
                except grpc.RpcError as error:
                    results.append((error.code().name, error.details()))
                    return
                results.append("answered")

    threads = [threading.Thread(target=asks) for _ in range(4)]
    for each in threads:
        each.start()
    until(lambda: len(results) > 20)
    control.stop(folder)
    stop.set()
    for each in threads:
        each.join()
    refusals = [each for each in results if each != "answered"]
    # CANCELLED: it came while gRPC said goodbye to its client, and the API has not seen it
    assert {code for code, _ in refusals} <= {"UNAVAILABLE", "CANCELLED"}, refusals
    counted = [each["status"] for each in lines(folder) if each.get("protocol") == "grpc"]
    assert set(counted) == {200}
    assert len(counted) == results.count("answered")
