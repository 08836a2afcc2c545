"""Small requests for quick models are answered by the main loop, all others by threads; what clients receive is the same."""

import os
import re
import selectors
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from serving.metrics.counters import CounterTable
from serving.server.connection import Connection
from serving.server.connection_balance import ConnectionBalance
from serving.server.gunicorn_worker import Worker
from serving.server.limits import Limits
from serving.server.quick import MOST_BYTES, SLOW, TURN, LogReader, QuickRequests, is_small
from serving.server.receiver import Receiver

LIMITS = Limits(max_body=1 << 20, connections=20, per_address=20)
BODY = b'{"instances": [[1]]}'


def request(line=b"POST /predict HTTP/1.1", body=BODY, fields=(b"Content-Type: application/json",)):
    return b"\r\n".join([line, b"Host: x", *fields, b"Content-Length: %d" % len(body), b"", body])


def received(data):
    """A connection that has received that."""
    ours, theirs = socket.socketpair()
    with theirs:
        conn = Connection(ours, ("127.0.0.1", 1), ("127.0.0.1", 80), LIMITS.max_body, None)
        theirs.sendall(data)
        while len(conn.input) < len(data):
            assert conn.receive()
    conn.look()
    return conn


@pytest.fixture
def conn():
    """Makes connections that have received something."""
    made = []

    def make(data):
        made.append(received(data))
        return made[-1]

    yield make
    for each in made:
        each.socket.close()


def model(digest="a", *, is_quick=True):
    return SimpleNamespace(model=SimpleNamespace(digest=digest, is_quick=is_quick))


SMALL = {
    "predict": request(),
    "mlflow": request(b"POST /invocations HTTP/1.1"),
    "v1": request(b"POST /v1/models/digits:predict HTTP/1.1"),
    "v2": request(b"POST /v2/models/digits/infer HTTP/1.1"),
    "with a character set": request(fields=(b"content-TYPE:Application/JSON ; charset=utf-8",)),
    "of the most bytes": request(body=BODY.ljust(MOST_BYTES - len(request()) - 2)),
}
NOT = {
    "larger": request(body=BODY.ljust(MOST_BYTES)),
    "compressed": request(fields=(b"Content-Type: application/json", b"Content-ENCODING: gzip")),
    "in chunks": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an image": request(fields=(b"Content-Type: image/png",)),
    "a form": request(fields=(b"Content-Type: multipart/form-data; boundary=x",)),
    "without a type": request(fields=()),
    "an explanation": request(b"POST /explain HTTP/1.1"),
    "a page": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "another version": request(b"POST /v1/models/digits/versions/1:predict HTTP/1.1"),
    "another version of V2": request(b"POST /v2/models/digits/versions/1/infer HTTP/1.1"),
    "HTTP/1.0": request(b"POST /predict HTTP/1.0"),
    "one with another behind it": request() * 2,
}


@pytest.mark.parametrize("data", SMALL.values(), ids=SMALL)
def test_json_for_the_live_model_is_small(conn, data):
    assert is_small(conn(data))


@pytest.mark.parametrize("data", NOT.values(), ids=NOT)
def test_whatever_may_take_longer_is_not(conn, data):
    assert not is_small(conn(data))


def test_a_request_that_has_not_come_whole_is_not_small(conn):
    broken = conn(request())
    broken.complete = False
    assert not is_small(broken)


@pytest.mark.parametrize("current", [None, model(is_quick=False)], ids=["no model", "a slow model"])
def test_nothing_is_taken_without_a_quick_model(conn, current):
    assert not QuickRequests(lambda: current).take(conn(request()))


def test_a_few_are_answered_in_one_turn_in_their_order(conn):
    quick = QuickRequests(model)
    asked = [conn(request()) for _ in range(TURN + 2)]
    assert all(quick.take(each) for each in asked)
    assert quick.answered(asked.index) == [(each, i) for i, each in enumerate(asked[:TURN])]
    assert quick
    assert quick.answered(asked.index) == [(each, TURN + i) for i, each in enumerate(asked[TURN:])]
    assert not quick
    assert quick.answered(asked.index) == []


def test_a_model_that_turns_out_slow_is_left_to_the_threads_until_there_is_another_one(conn):
    now, live = [0.0], [model("a")]
    quick = QuickRequests(lambda: live[0], lambda: now[0])

    def answer(_conn):
        now[0] += SLOW * 1.1

    assert quick.take(conn(request()))
    quick.answered(answer)
    assert not quick.take(conn(request()))
    live[0] = model("b")
    assert quick.take(conn(request()))


def test_all_can_be_taken_away(conn):
    quick = QuickRequests(model)
    asked = [conn(request()) for _ in range(TURN + 2)]
    for each in asked:
        quick.take(each)
    assert quick.all() == asked
    assert not quick


def fill(pipe):
    while True:
        os.write(pipe, b"x" * 4096)


def test_a_file_takes_lines_and_a_pipe_as_long_as_somebody_reads_it(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        assert LogReader((file.fileno(),)).takes_lines()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    log = LogReader((writer,))
    assert log.takes_lines()
    with pytest.raises(BlockingIOError):
        fill(writer)
    assert not log.takes_lines()
    while not log.takes_lines():
        os.read(reader, 4096)
    os.close(reader)
    assert log.takes_lines()  # nobody waits for a reader that has gone
    os.close(writer)


class Loop:
    """A worker's main loop with one thread beside it, and an app that says who has called it."""

    def __init__(self):
        self.called = []
        config = Config()
        self.worker = worker = Worker(1, os.getpid(), [], SimpleNamespace(wsgi=self.app), 30, config, Logger(config))
        worker.wsgi, worker.limits, worker.counters = self.app, LIMITS, CounterTable().counters(0)
        worker.connections = ConnectionBalance().add_worker()
        worker.quick = QuickRequests(model)
        worker.poller, worker.tpool = selectors.DefaultSelector(), ThreadPoolExecutor(1)
        worker.method_queue.init()
        worker.poller.register(worker.method_queue.fileno(), selectors.EVENT_READ, worker.method_queue.run_callbacks)
        worker.receiver = Receiver(worker.poller, LIMITS, worker.enqueue_req, worker.refuse)
        self.clients = []

    def app(self, environ, start_response):
        self.called.append(threading.current_thread() is threading.main_thread())
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def connect(self):
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        self.clients.append(theirs)
        self.worker.receiver.add(ours, ("127.0.0.1", 1), ("127.0.0.1", 80))
        return theirs

    def answers(self, client, count=1):
        """So many answers, status and body, for which the loop turns as often as it takes."""
        data = b""
        client.setblocking(False)
        for _ in range(1000):
            self.worker.wait_for_and_dispatch_events(0.01)
            try:
                data += client.recv(65536)
            except BlockingIOError:
                continue
            if data.count(b"HTTP/1.1 ") == count and data.count(b"\r\n\r\n") == count:
                break
        return re.findall(rb"HTTP/1.1 (\d+) .*?\r\n\r\n([^H]*)", data, re.DOTALL)

    def close(self):
        for conn in self.worker.receiver._table.all():
            conn.socket.close()
        for each in self.clients:
            each.close()
        self.worker.tpool.shutdown()
        self.worker.poller.close()
        self.worker.method_queue.close()
        self.worker.tmp.close()


@pytest.fixture
def loop(capfd):
    del capfd  # the worker's log
    loop = Loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(("data", "here"), [(request(), True), (NOT["larger"], False)], ids=["small", "larger"])
def test_the_answer_is_the_same_whoever_gives_it(loop, data, here):
    client = loop.connect()
    for _ in range(2):  # on a connection that is kept
        client.sendall(data)
        assert [(status, body.strip()) for status, body in loop.answers(client)] == [(b"200", BODY)]
    assert loop.called == [here, here]


def test_requests_that_come_behind_each_other_are_all_answered(loop):
    client = loop.connect()
    client.sendall(request() * 5)
    assert loop.answers(client, 5) == [(b"200", BODY)] * 5
    assert loop.called == [False] * 4 + [True]


def test_many_clients_are_all_answered(loop):
    clients = [loop.connect() for _ in range(3 * TURN)]
    for each in clients:
        each.sendall(request())
    assert [loop.answers(each) for each in clients] == [[(b"200", BODY)]] * len(clients)
    assert all(loop.called)


def test_when_a_line_of_the_log_would_block_threads_answer(loop):
    loop.worker._log_reader = SimpleNamespace(takes_lines=lambda: False)
    client = loop.connect()
    client.sendall(request())
    assert loop.answers(client) == [(b"200", BODY)]
    assert loop.called == [False]


def test_an_error_of_the_app_is_an_answer_here_too(loop):
    loop.worker.wsgi = lambda environ, start_response: 1 / 0
    client = loop.connect()
    client.sendall(request())
    assert [status for status, _ in loop.answers(client)] == [b"500"]
