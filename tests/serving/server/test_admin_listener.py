"""The operator's port: apart from the port of the clients, whatever they do to that one."""

import fcntl
import os
import resource
import signal
import socket
import threading
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from serving_parts import ask, free_port

from registry.errors import ConfigError
from serving.job import ServeJob
from serving.server import admin_listener, control


@pytest.fixture
def api(registry, start):
    registry.release(registry.put("price"))
    url, folder = start(registry, workers=2)
    control.await_release(folder, 1, 20)
    return url, folder


def connected(url):
    where = urlsplit(url)
    return socket.create_connection((where.hostname, where.port), timeout=20)


def test_operators_see_each_process_and_clients_see_none(api):
    url, folder = api
    pids = [each["pid"] for each in control.status(folder)["workers"]]
    admin = control.admin(folder)
    status, headers, found = ask(admin, "GET", "/status")
    assert status == 200
    assert headers["X-Request-Id"]
    assert [each["pid"] for each in found["workers"]] == pids
    assert (found["release"], found["version"], found["expected"]) == (1, 1, 2)
    assert (found["url"], found["admin"]) == (url, admin)
    assert ask(admin, "GET", "/version")[2]["workers"] == found["workers"]
    assert ask(admin, "GET", "/health/ready")[0] == ask(admin, "GET", "/health/live")[0] == 200
    assert b"trainyard_workers_expected 2.0" in ask(admin, "GET", "/metrics")[2]
    assert ask(url, "GET", "/metrics")[0] == ask(url, "GET", "/status")[0] == 404
    public = ask(url, "GET", "/version")[2]
    assert public == {"model": "m", "version": 1, "release": 1, "engine": "litert"}


def test_the_health_page_has_no_reasons_because_it_needs_no_token(registry, start, until):
    registry.release(registry.put("price"))
    registry.file(1, "golden.npz").write_bytes(b"altered")
    _, folder = start(registry, workers=1)
    admin = control.admin(folder)
    until(lambda: "golden.npz" in str(ask(admin, "GET", "/status")[2]["workers"]))
    assert ask(admin, "GET", "/health/ready")[::2] == (503, {"status": "not ready"})


def test_what_is_no_page_of_the_operators_is_an_error_as_all_others(api):
    admin = control.admin(api[1])
    status, _, answer = ask(admin, "POST", "/predict", b"{}")
    assert status == 404
    assert "pages: /health/live, /health/ready, /metrics, /status, /version" in answer["hint"]
    assert ask(admin, "POST", "/version")[0] == 405


def test_it_answers_while_clients_hold_every_thread(registry, start):
    registry.release(registry.put("price"))
    url, folder = start(registry, workers=1, threads=1)
    with ExitStack() as held:
        for _ in range(8):
            client = held.enter_context(connected(url))
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert ask(control.admin(folder), "GET", "/status")[2]["release"] == 1
        assert time.monotonic() - began < 5


def test_it_answers_when_a_worker_was_killed(api, until):
    folder = api[1]
    victim = control.status(folder)["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in [each["pid"] for each in ask(control.admin(folder), "GET", "/status")[2]["workers"]])


def test_a_port_of_the_operators_that_is_in_use_is_reported(registry, tmp_path):
    registry.release(registry.put("price"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        job = ServeJob("m", registry=registry.url, port=0, admin_port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="is in use") as refused:
            control.start(job, tmp_path / "api")
    assert "[serving] admin_port" in refused.value.hint


def test_a_fixed_port_is_the_one_that_is_published(registry, start):
    registry.release(registry.put("price"))
    port = free_port()
    _, folder = start(registry, workers=1, admin_port=port)
    assert control.admin(folder) == f"http://127.0.0.1:{port}"
    assert control.changed(ServeJob("m", registry=registry.url, port=0, threads=2, workers=1), folder) == {}


class TestLimits:
    """Of one process, without an API."""

    @pytest.fixture
    def port(self, monkeypatch):
        monkeypatch.setattr(admin_listener, "MOST", 2)
        monkeypatch.setattr(admin_listener, "SECONDS", 0.5)

        def app(_environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"here"]

        listener, (channel, other) = admin_listener.listen("127.0.0.1", 0), socket.socketpair()
        thread = threading.Thread(target=admin_listener.AdminServer(listener, app, channel).serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        other.close()
        thread.join()
        listener.close()
        channel.close()

    def test_more_connections_than_the_limit_are_closed_and_those_that_send_nothing_make_room(self, port, until):
        with connected(port) as one, connected(port) as two:
            with connected(port) as three:
                assert three.recv(1) == b""
            assert one.recv(1) == two.recv(1) == b""  # after SECONDS
        until(lambda: _answers(port))

    def test_it_listens_at_a_high_descriptor_too_as_clients_may_have_the_others(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        try:
            with admin_listener.listen("127.0.0.1", 0) as low:
                listener = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, 2000))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        (channel, other), ended = socket.socketpair(), []
        server = admin_listener.AdminServer(listener, lambda *_: [], channel)
        thread = threading.Thread(target=lambda: ended.append(server.serve()))
        other.close()  # the next poll ends it
        thread.start()
        thread.join(10)
        assert ended == [None]
        channel.close()
        listener.close()

    def test_a_client_that_sends_byte_by_byte_is_closed_all_the_same(self, port):
        with connected(port) as slow, pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012  (any of them may fail)
            for _ in range(100):
                slow.sendall(b"G")
                time.sleep(0.05)


def _answers(url):
    try:
        return ask(url, "GET", "/")[2] == b"here"
    except OSError:
        return False
