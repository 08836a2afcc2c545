"""Hundreds of clients that are silent, slow or gone: whoever asks properly is answered meanwhile, and a release is promoted."""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from faults_parts import wait_for

from promotion_parts import MODEL, RIGHT, Project, ask  # isort: skip

from pipelines.deploy import api_folder
from registry import releases
from serving.server import control

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"instances": [RIGHT]}).encode()
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
KINDS = {
    "silent": b"",
    "half a head": POST,
    "half a body": POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:9],
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "waiting for 100 Continue": POST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    "not reading": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300,
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
SECONDS = 3
"""That a request may take to come."""
PATIENCE = 2.5
"""Seconds for one good request: far more than it takes, less than a slow client has."""
LONGER = SECONDS + 1.5


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_models):
    """A team whose API answers with release 1, by two workers of two threads."""
    project = Project(tmp_path_factory.mktemp("project"), tiny_models, timeout_seconds=SECONDS)
    for kind in ("thirds", "dull"):
        project.publish(kind)
    project.promote(1)
    control.await_release(api_folder(project.config), 1, 30)
    yield project
    project.stop()


@pytest.fixture(scope="module", autouse=True)
def _files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def crowd(url, said, count, *, reads=True):
    """So many connections on which this was said; who is thrown out comes back. With `reads=False` none reads."""
    where, selector, ended = urlsplit(url), selectors.DefaultSelector(), threading.Event()

    def join():
        made = socket.socket()
        made.settimeout(20)
        if not reads:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect((where.hostname, where.port))
        made.setblocking(False)
        with contextlib.suppress(OSError):
            made.send(said)
        selector.register(made, selectors.EVENT_READ)

    def stay():
        while not ended.is_set():
            if not reads:
                ended.wait()
                return
            for key, _ in selector.select(0.1):
                try:
                    gone = not key.fileobj.recv(65536)
                except OSError:
                    gone = True
                if gone:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    join()

    for _ in range(count):
        join()
    thread = threading.Thread(target=stay)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for key in list(selector.get_map().values()):
            key.fileobj.close()
        selector.close()


def good_requests(url, seconds):
    """Every one is answered, and soon."""
    until, slowest, count = time.monotonic() + seconds, 0.0, 0
    while time.monotonic() < until:
        began = time.monotonic()
        status, _ = ask(url, RIGHT)
        slowest, count = max(slowest, time.monotonic() - began), count + 1
        assert status == 200
    assert slowest < PATIENCE
    assert count >= 10
    return slowest


@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_slow_clients_stop_no_answer(project, kind):
    count = 300 if kind != "not reading" else 30  # each asks 300 times first
    with crowd(project.url, KINDS[kind], count, reads=kind != "not reading"):
        good_requests(project.url, LONGER)


def test_eight_clients_as_many_as_there_are_threads_stop_no_answer(project):
    for kind in ("silent", "half a body"):
        with crowd(project.url, KINDS[kind], 8):
            good_requests(project.url, 2.0)


def test_bodies_that_come_byte_by_byte_stop_no_answer(project):
    where, ended = urlsplit(project.url), threading.Event()

    def trickle(connection):
        with contextlib.suppress(OSError):
            connection.sendall(POST + b"Content-Length: 1000\r\n\r\n")
            while not ended.wait(0.2):
                connection.sendall(b" ")

    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((where.hostname, where.port))) for _ in range(50)]
        threads = [threading.Thread(target=trickle, args=(each,)) for each in slow]
        for each in threads:
            each.start()
        try:
            good_requests(project.url, LONGER)
            assert all(each.recv(12) == b"HTTP/1.1 408" for each in slow)
        finally:
            ended.set()
            for each in threads:
                each.join()


def test_a_flood_of_requests_on_one_connection_delays_nobody_for_long(project):
    where, ended = urlsplit(project.url), threading.Event()

    def flood():
        with contextlib.suppress(OSError), socket.create_connection((where.hostname, where.port)) as connection:
            connection.setblocking(False)
            while not ended.is_set():
                with contextlib.suppress(BlockingIOError):
                    connection.send(WHOLE * 50)
                with contextlib.suppress(BlockingIOError):
                    connection.recv(1 << 20)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        good_requests(project.url, 3.0)
    finally:
        ended.set()
        thread.join()


def test_clients_that_go_in_the_middle_leave_no_trace(project):
    where = urlsplit(project.url)
    for said in KINDS.values():
        for end in range(0, len(said), max(1, len(said) // 20)):
            with socket.create_connection((where.hostname, where.port)) as connection:
                connection.sendall(said[:end])
    good_requests(project.url, 1.0)
    log = (api_folder(project.config) / "api.log").read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert "failed" not in log


def test_a_release_is_promoted_beside_five_hundred_half_sent_requests(project):
    with crowd(project.url, KINDS["half a head"], 500):
        began = time.monotonic()
        release = project.promote(2)
        assert time.monotonic() - began < 10
        assert releases.live(project.store, MODEL).number == release.number
        wait_for(lambda: ask(project.url, RIGHT)[1]["release"] == release.number)
