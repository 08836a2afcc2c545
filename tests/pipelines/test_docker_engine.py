"""What the engine's errors mean to a person, by engines that are real HTTP servers on a Unix socket."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from pipelines.docker_engine import address, engine_errors, explain, open_engine, security
from registry.errors import ConfigError, TryAgain, WorkerFailed


class Engine(ThreadingMixIn, UnixStreamServer):
    """Answers as an engine that speaks `api`, and to everything but /version with `status` and `said`, status 0: not at all."""

    daemon_threads = True

    def __init__(self, path, api="1.41", status=200, said="", info=None):
        self.api, self.status, self.said, self.info = api, status, said, info
        super().__init__(str(path), Answers)


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/version"):
            self.answer(200, {"ApiVersion": self.server.api, "MinAPIVersion": "1.12", "Version": "0.1"})
        elif self.path.endswith("/info") and self.server.info:
            self.answer(200, self.server.info)
        else:
            self.answer(self.server.status, {"message": self.server.said})

    do_POST = do_GET

    def answer(self, status, body):
        if not status:
            self.close_connection = True
            return
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self):
        return "a Unix socket"

    def log_message(self, *_):
        """Nobody reads it."""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Start an engine at DOCKER_HOST."""
    started = []

    def engine(**answers):
        path = tmp_path / "docker.sock"
        started.append(Engine(path, **answers))
        threading.Thread(target=started[-1].serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")

    yield engine
    for each in started:
        each.shutdown()
        each.server_close()


CASES = {
    "disk full": (500, "write /var/lib/docker/tmp/x: no space left on device", TryAgain, "docker system df"),
    "no GPUs": (500, 'could not select device driver "" with capabilities: [[gpu]]', ConfigError, "gpus"),
    "no GPUs, as newer engines say it": (
        500,
        "failed to discover GPU vendor from CDI: no known GPU vendor found",
        ConfigError,
        "gpus",
    ),
    "an image of NVIDIA's": (
        500,
        "pull access denied for registry.example.org/nvidia/tensorflow",
        TryAgain,
        "journalctl",
    ),
    "refused": (403, "authorization denied by plugin", ConfigError, "ask who runs it"),
    "no image": (404, "No such image: trainyard-train:1", ConfigError, "trainyard images build"),
    "conflict": (409, "removal of container x is already in progress", TryAgain, "run the same command again"),
    "wrong value": (400, "Range of CPUs is from 0.01 to 2.00", ConfigError, "[runner]"),
    "broken": (500, "containerd: connection refused", TryAgain, "journalctl"),
    "too old": (400, "client version 1.41 is too old. Minimum supported API version is 1.44", ConfigError, "SDK"),
}


@pytest.mark.parametrize(("status", "said", "kind", "hint"), CASES.values(), ids=CASES.keys())
def test_what_an_engine_answers_is_reported_with_the_next_action(engine, status, said, kind, hint):
    engine(status=status, said=said)
    client = open_engine()
    with pytest.raises(kind, match=r"worker train: the Docker engine said: ") as caught, engine_errors("worker train"):
        client.api.start("x")
    client.close()
    assert said[:40] in str(caught.value)
    assert hint in caught.value.hint


def test_other_answers_are_the_workers_failure():
    assert type(explain("worker train", 418, "I am a teapot")) is WorkerFailed


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["name=seccomp,profile=default", "name=selinux"], {"seccomp", "selinux"}),
        (["name=userns", "name=rootless"], {"userns", "rootless"}),
        (None, set()),
    ],
)
def test_what_an_engine_says_of_its_security(engine, said, expected):
    engine(info={"SecurityOptions": said})
    with closing(open_engine()) as client:
        assert security(client) == expected


def test_an_engine_that_is_too_old(engine):
    engine(api="1.40")
    with pytest.raises(ConfigError, match=r"speaks API 1\.40; 1\.41 is the oldest") as caught:
        open_engine()
    assert "20.10" in caught.value.hint


def test_an_engine_that_no_sdk_speaks_to_any_more(engine):
    engine(api="1.12")
    with pytest.raises(ConfigError) as caught:
        open_engine()
    assert "20.10" in caught.value.hint


def test_no_engine_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(TryAgain, match="No such file or directory") as caught:
        open_engine()
    assert "systemctl start docker" in caught.value.hint
    assert caught.value.exit_code == 75


def test_an_engine_that_has_ended(engine, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "left.sock"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/left.sock")
    with pytest.raises(TryAgain, match="Connection refused"):
        open_engine()


def test_an_engine_over_tcp_that_is_not_there(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    with pytest.raises(TryAgain, match="no answer from tcp://127"):
        open_engine()


def test_an_engine_through_ssh_is_refused_with_the_way_to_it(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@far")
    with pytest.raises(ConfigError) as caught:
        open_engine()
    assert "ssh -nNT -L" in caught.value.hint


def test_an_engine_that_dies_over_its_answer(engine):
    engine(status=0)
    client = open_engine()
    with pytest.raises(TryAgain, match="worker train: no answer"), engine_errors("worker train"):
        client.api.start("x")
    client.close()


@pytest.mark.parametrize(
    ("number", "name", "kind", "words"),
    [
        (errno.ENOSPC, None, TryAgain, "No space left"),
        (errno.ENOSPC, "/srv/run/outputs/x", TryAgain, "/srv/run/outputs/x: No space left"),
        (errno.EACCES, "/srv/run/outputs/x", ConfigError, "/srv/run/outputs/x: Permission denied"),
    ],
)
def test_an_error_of_a_disk_here_does_not_blame_the_engine(number, name, kind, words):
    with pytest.raises(kind, match=words) as caught, engine_errors("worker train"):
        raise OSError(number, os.strerror(number), name)
    assert "ocker" not in f"{caught.value}{caught.value.hint}"


def test_a_socket_of_another_user(engine, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    engine()
    (tmp_path / "docker.sock").chmod(0o600)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    code = "from pipelines.docker_engine import open_engine; open_engine()"
    read_all = [
        "--inh-caps",
        "+dac_read_search",
        "--ambient-caps",
        "+dac_read_search",
    ]  # this Python may be root's alone
    become = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *read_all]
    done = subprocess.run([*become, sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert "ConfigError" in done.stderr
    assert "permission denied" in done.stderr


def test_where_the_engine_is(tmp_path):
    (tmp_path / "docker.sock").touch()
    assert address({"DOCKER_HOST": "tcp://far:2375", "XDG_RUNTIME_DIR": str(tmp_path)}) == "tcp://far:2375"
    assert address({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix://{tmp_path}/docker.sock"
    assert address({"XDG_RUNTIME_DIR": str(Path(tmp_path) / "none")}) == "unix:///var/run/docker.sock"
