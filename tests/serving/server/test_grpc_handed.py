"""gRPC in a container: the port is a listener's, and workers without network bring its clients to their servers."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing

import pytest

grpc = pytest.importorskip("grpc")

from echo_model import echo_model  # noqa: E402
from grpc_parts import GrpcClient, grpc_here, refused  # noqa: E402
from serving_parts import free_port  # noqa: E402

from registry import codec  # noqa: E402
from serving.grpc_port.relay import Relay  # noqa: E402
from serving.job import ServeJob  # noqa: E402
from serving.server import control, lockfile  # noqa: E402


class Handed:
    """A listening socket that is handed out, as by serving.server.listener."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.ready, self._ends = True, []

    def ask(self):
        own, other = socket.socketpair()
        self._ends.append(own)
        return self.listener.dup(), other

    def end(self):
        for each in self._ends:
            each.close()
        self._ends.clear()

    @property
    def asked(self):
        return bool(self._ends)


@pytest.fixture
def handed():
    found = Handed()
    yield found
    found.end()
    found.listener.close()


def test_clients_of_a_handed_socket_are_answered_under_their_own_address(handed, until):
    with grpc_here(echo_model(("float32",), (2,)), relay=Relay(handed.ask, lambda: handed.ready)) as here:
        with closing(GrpcClient(handed.target)) as call:
            assert call("ServerLive").live
            raw = [bytes(8 * 4000)]
            inputs = [{"name": "in_float32", "datatype": "FP32", "shape": [4, 2]}]
            found = call("ModelInfer", model_name="m", inputs=inputs, raw_input_contents=[bytes(32)])
            assert found.raw_output_contents == [bytes(32)]
            assert refused(call, "ModelInfer", model_name="m", inputs=inputs, raw_input_contents=raw)
        until(lambda: len(here.lines) == 3)
        assert {each["environ"]["REMOTE_ADDR"] for each in here.lines} == {"127.0.0.1"}
        assert here.answering.address_of("127.0.0.1:1") == ""


def test_a_worker_that_cannot_answer_or_lost_its_listener_accepts_nobody_until_it_asks_again(handed, until):
    with grpc_here(echo_model(("float32",), (2,)), relay=Relay(handed.ask, lambda: handed.ready)):
        until(lambda: handed.asked)
        handed.ready = False
        until(lambda: not _answers(handed.target))
        handed.ready = True
        until(lambda: _answers(handed.target))
        handed.end()
        until(lambda: handed.asked)
        assert _answers(handed.target, 20)


def _answers(target, seconds=0.3):
    with closing(GrpcClient(target)) as call:
        try:
            return call("ServerLive", timeout=seconds).live
        except grpc.RpcError:
            return False


@pytest.fixture
def begin():
    started = []

    def start(*arguments, **more):
        started.append(subprocess.Popen([sys.executable, "-P", "-m", *map(str, arguments)], **more))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


def test_an_api_that_follows_another_one_takes_its_clients_over(begin, registry, tmp_path, until):
    registry.release(registry.put("price"))
    path, port = tmp_path / "listener.sock", free_port()
    begin("serving.server.listener", free_port(), path, free_port(), port)

    def api(name):
        folder = tmp_path / name
        folder.mkdir()
        job = ServeJob("m", registry=registry.url, workers=1, threads=2, timeout_seconds=5, grpc_port=9000)
        own = {"TRAINYARD_JOB": codec.to_json(job).decode(), "TRAINYARD_LISTENER": str(path)}
        with (folder / "api.log").open("wb") as log:
            begin("serving", cwd=folder, env=control.clean_environment() | own, stdout=log, stderr=log)
        until(lambda: lockfile.read(folder) and control.status(folder)["workers"][:1])
        control.await_release(folder, 1, 30)
        return folder

    first = api("first")
    codes, stop = [], threading.Event()

    def asks():
        with closing(GrpcClient(f"127.0.0.1:{port}")) as call:
            while not stop.is_set():
                try:
                    call("ModelReady", name="m", timeout=10)
                    codes.append("OK")
                except grpc.RpcError as error:
                    codes.append(error.code().name)

    thread = threading.Thread(target=asks)
    thread.start()
    try:
        until(lambda: codes.count("OK") > 5)
        second = api("second")
        os.kill(lockfile.holder(first), signal.SIGTERM)
        until(lambda: not lockfile.is_held(first))
        seen = len(codes)
        until(lambda: codes[seen:].count("OK") > 5)
    finally:
        stop.set()
        thread.join()
    assert codes.count("OK") >= len(codes) - 2, codes  # the one that it sent while gRPC said goodbye
    assert '"protocol":"grpc"' in (second / "api.log").read_text(encoding="utf-8")
