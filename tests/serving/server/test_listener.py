"""The port is held by one process and answered by others: how APIs in containers take turns, here without containers."""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from serving_parts import Client, ask, free_port

from registry import codec
from registry.errors import TryAgain
from serving.job import ServeJob
from serving.server import control
from serving.server.listener import READY, SPARE


@pytest.fixture
def begin():
    """Starts programs that are killed at the end."""
    started = []

    def start(*arguments, **more):
        started.append(subprocess.Popen([sys.executable, "-P", "-m", *map(str, arguments)], **more))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


@pytest.fixture
def listener(begin, tmp_path, until):
    """Starts a listener: `listener()` gives the process; it has the attributes `port` and `path`."""
    port, path, admin_port = free_port(), tmp_path / "listener.sock", free_port()

    def start():
        process = begin("serving.server.listener", port, path, admin_port)
        until(lambda: _reaches(path))
        return process

    start.port, start.path, start.url = port, path, f"http://127.0.0.1:{port}"
    start.admin = f"http://127.0.0.1:{admin_port}"
    return start


@pytest.fixture
def api(begin, listener, tmp_path, until):
    """Starts an API as it runs in a container: `api(registry)` gives its process and its folder."""
    count = 0

    def start(registry, workers=1):
        nonlocal count
        count += 1
        folder = tmp_path / f"api-{count}"
        folder.mkdir()
        job = ServeJob("m", registry=registry.url, workers=workers, threads=2, timeout_seconds=10)
        own = {"TRAINYARD_JOB": codec.to_json(job).decode(), "TRAINYARD_LISTENER": str(listener.path)}
        with (folder / "api.log").open("wb") as log:
            process = begin("serving", cwd=folder, env=control.clean_environment() | own, stdout=log, stderr=log)
        return process, folder

    return start


def _reaches(path):
    with socket.socket(socket.AF_UNIX) as line:
        return line.connect_ex(str(path)) == 0


class Line:
    """A worker's side, by hand."""

    def __init__(self, path, said):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.sendall(said)
        self.handed = None

    def hears(self, seconds=20.0):
        """`socket` when it is handed one, `end` when the listener closes the connection, None when nothing comes."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        said, handed, _, _ = socket.recv_fds(self.socket, 1, 1)
        if handed:
            self.handed = socket.socket(fileno=handed[0])
            return "socket"
        assert not said
        return "end"

    def close(self):
        for each in filter(None, (self.socket, self.handed)):
            each.close()


@pytest.fixture
def line(listener):
    made = []

    def connect(said):
        made.append(Line(listener.path, said))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def health(folder, *arguments):
    command = [sys.executable, "-P", "-m", "serving.server.health", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def version(folder):
    done = health(folder, "/version")
    if done.returncode:
        raise TryAgain(done.stderr)
    return json.loads(done.stdout)


def test_whoever_is_ready_gets_the_socket_and_can_accept(listener, line):
    listener()
    for _ in range(2):
        worker = line(READY)
        assert worker.hears() == "socket"
        with socket.create_connection(("127.0.0.1", listener.port)) as client:
            accepted, address = worker.handed.accept()
            assert address == client.getsockname()
            accepted.close()


def test_a_spare_worker_gets_the_socket_only_while_none_is_ready(listener, line):
    listener()
    spare = line(SPARE)
    assert spare.hears() == "socket"
    good = line(READY)
    assert good.hears() == "socket"
    assert spare.hears() == "end"
    again = line(SPARE)
    assert again.hears(0.3) is None
    good.close()
    assert again.hears() == "socket"


def test_a_listener_ends_on_sigterm_and_closes_its_connections(listener, line):
    process, worker = listener(), line(READY)
    assert worker.hears() == "socket"
    process.terminate()
    assert process.wait(20) == 0
    assert worker.hears() == "end"


def test_an_api_answers_through_the_listener_and_health_checks_on_its_own_socket(registry, listener, api, until):
    registry.release(registry.put("price"))
    process, folder = api(registry)  # before the listener is there, as after a reboot
    until(lambda: health(folder).returncode == 0)
    listener()
    assert ask(listener.url, "GET", "/health/ready")[2]["release"] == 1
    control.await_workers(lambda: version(folder), 1, 20)
    process.terminate()
    assert process.wait(30) == 0
    done = health(folder)
    assert done.returncode == 1
    assert "no API is running" in done.stderr


def test_connections_have_what_gunicorn_gives_its_own(registry, listener, api, line):
    """Without TCP_NODELAY every answer that is sent in two pieces takes 40 ms."""
    listener()
    worker = line(READY)
    assert worker.hears() == "socket"
    api(registry)
    assert ask(listener.url, "GET", "/health/live")[0] == 200
    assert worker.handed.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_worker_without_the_socket_does_not_count_as_serving(registry, listener, api, until):
    """Else another API would be stopped for one that nobody reaches."""
    registry.release(registry.put("price"))
    _, folder = api(registry)
    until(lambda: health(folder).returncode == 0)
    with pytest.raises(TryAgain, match="is ready, answers with release 1, gets no connections"):
        control.await_workers(lambda: version(folder), 1, 0)
    assert "listener.sock: No such file" in (folder / "api.log").read_text()
    first = listener()
    control.await_workers(lambda: version(folder), 1, 20)
    first.kill()
    until(lambda: not version(folder)["workers"][0]["taking"])


def test_workers_of_every_user_may_ask(listener):
    """Whoever starts the next API: root's run as another user than yours."""
    listener()
    assert stat.S_IMODE(listener.path.stat().st_mode) == 0o666


def test_an_api_that_has_nothing_to_answer_with_says_so(registry, listener, api, until):
    listener()
    _, folder = api(registry)
    assert ask(listener.url, "POST", "/predict", b"{}")[0] == 503
    done = health(folder)
    assert done.returncode == 1
    assert "nothing is live" in done.stdout


def test_a_listener_that_was_killed_is_followed_by_the_next_and_models_stay_loaded(registry, listener, api, until):
    registry.release(registry.put("price"))
    first = listener()
    _, folder = api(registry)
    assert ask(listener.url, "GET", "/health/ready")[0] == 200
    control.await_workers(lambda: version(folder), 1, 20)
    before = version(folder)["workers"]
    first.send_signal(signal.SIGKILL)
    first.wait()
    listener()
    assert ask(listener.url, "GET", "/health/ready")[0] == 200
    until(lambda: version(folder)["workers"] == before)


@contextmanager
def asking(url, count=8):
    """So many clients on connections that are kept; gives all answers and failures."""
    answers, failures, over = [], [], threading.Event()

    def client():
        try:
            with Client(url) as connection:
                while not over.is_set():
                    status, _, answer = connection.ask("GET", "/health/ready")
                    (answers if status == 200 else failures).append(answer)
        except OSError as error:
            failures.append(repr(error))

    crowd = [threading.Thread(target=client) for _ in range(count)]
    for each in crowd:
        each.start()
    try:
        yield answers, failures
    finally:
        over.set()
        for each in crowd:
            each.join()


def test_one_api_takes_over_from_another_and_no_request_fails(registry, listener, api, until):
    registry.release(registry.put("price"))
    listener()
    old, folder = api(registry)
    assert ask(listener.url, "GET", "/health/ready")[0] == 200
    with asking(listener.url) as (answers, failures):
        until(lambda: len(answers) > 50)
        new, folder = api(registry)
        until((folder / "api.json").exists)
        control.await_workers(lambda: version(folder), 1, 30)
        old.terminate()
        assert old.wait(30) == 0
        count = len(answers)
        until(lambda: len(answers) > count + 50)
    assert failures == []
    assert new.poll() is None


def test_an_api_that_cannot_load_takes_nothing_from_one_that_answers(registry, listener, api, until):
    version_of_model = registry.put("price")
    registry.release(version_of_model)
    listener()
    good, _ = api(registry)
    assert ask(listener.url, "GET", "/health/ready")[0] == 200
    path = registry.file(version_of_model, "model.tflite")
    path.unlink()
    path.write_bytes(b"altered")
    bad, folder = api(registry)
    until(lambda: '"failed"' in health(folder, "/version").stdout)
    for _ in range(20):
        assert ask(listener.url, "GET", "/health/ready")[0] == 200
    os.kill(good.pid, signal.SIGKILL)  # and when there is no other, it says why
    until(lambda: _answer(listener.url)[0] == 503)
    assert "checksum mismatch" in ask(listener.admin, "GET", "/status")[2]["workers"][0]["error"]
    assert bad.poll() is None


def _answer(url):
    try:
        status, _, answer = ask(url, "GET", "/health/ready")
    except OSError:  # it was with the one that was killed
        return 0, {}
    return status, answer


def test_the_operators_port_is_handed_out_as_well_whoever_is_ready(registry, listener, api, until):
    """And anew when the listener was killed."""
    _, folder = api(registry)  # nothing is live
    first = listener()
    until(lambda: _answer(listener.admin)[0] == 503)
    registry.release(registry.put("price"))
    control.await_workers(lambda: version(folder), 1, 20)
    assert _answer(listener.admin) == (200, {"status": "ready", "release": 1, "version": 1})
    assert ask(listener.url, "GET", "/status")[0] == 404
    first.kill()
    first.wait()
    listener()
    until(lambda: _answer(listener.admin)[0] == 200)
