"""The server as a program: gunicorn, its port, its workers, its log, its end."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from socket import SHUT_RDWR, create_connection, create_server

import pytest
from serving_parts import Client, ask, card, free_port, samples, version_folder

from registry import codec
from registry.errors import ConfigError, TryAgain
from serving.job import ServeJob
from serving.server import control


def serve(folder, job, **environ):
    """Run the server in the foreground until it ends by itself."""
    folder.mkdir(exist_ok=True)
    codec.save(job, folder / "job.json")
    command = [sys.executable, "-P", "-m", "serving"]
    env = {**os.environ, **environ}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def live(registry):
    registry.release(registry.put("digits"))
    return registry


def test_the_live_release_is_served_and_tensorflow_is_not_even_mapped(live, start, served_models):
    x, y = samples(served_models / "digits")
    url, folder = start(live)
    with Client(url) as client:
        status, answer = client.predict(x["image"][:1].tolist())
    assert (status, answer["release"], answer["version"]) == (200, 1, 1)
    assert list(answer["predictions"][0]["probabilities"].values()) == pytest.approx(
        y["probabilities"][0].tolist(), abs=1e-5
    )
    control.await_release(folder, 1, 20)
    for worker in control.status(folder)["workers"]:
        with open(f"/proc/{worker['pid']}/maps", encoding="utf-8") as maps:
            mapped = maps.read()
        assert "/ai_edge_litert/" in mapped
        assert "/tensorflow/" not in mapped
        assert str(folder / "models") in mapped, "the served file is mapped from our copy"


def test_the_access_log_is_json_with_request_id_and_release(live, start, until):
    url, folder = start(live, workers=1)
    ask(url, "POST", "/predict", json.dumps({"instances": [[[0] * 8] * 8]}), {"X-Request-Id": "mine-1"})
    ask(url, "POST", "/predict", b"{", {"X-Request-Id": "mine-2"})

    def lines():
        text = (folder / "api.log").read_text(encoding="utf-8")
        parsed = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        found = {each.get("request_id"): each for each in parsed}
        return {"mine-1", "mine-2"} <= found.keys() and found

    found = until(lines)
    one, two = found["mine-1"], found["mine-2"]
    assert (one["method"], one["path"], one["status"], one["release"], one["version"]) == (
        "POST",
        "/predict",
        200,
        1,
        1,
    )
    assert (two["status"], two["release"]) == (400, 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
    assert one["ms"] > 0


def test_a_port_in_use_is_reported_with_the_setting_and_exit_2(live, tmp_path):
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = serve(tmp_path / "api", ServeJob("m", registry=live.url, port=port))
        assert done.returncode == 2
        assert f"port {port} is in use" in done.stderr
        assert "[serving] port" in done.stderr
        assert "Traceback" not in done.stderr
        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            control.start(ServeJob("m", registry=live.url, port=port), tmp_path / "api")
    assert control.running(tmp_path / "api") is None


def test_an_address_of_another_machine_is_reported(live, tmp_path):
    done = serve(tmp_path / "api", ServeJob("m", registry=live.url, host="192.0.2.1", port=0, open=True))
    assert done.returncode == 2
    assert "cannot listen on 192.0.2.1:0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--preload", "would load the model before the server processes are forked"),
        ("--worker-class asgi", "the API needs its own"),
        ("--certfile cert.pem --keyfile key.pem", "[serving] certfile and keyfile"),
        ("--bind 127.0.0.1:1", "[serving] host and port say where"),
    ],
)
def test_gunicorn_settings_that_break_models_are_refused(live, tmp_path, arguments, said):
    done = serve(tmp_path / "api", ServeJob("m", registry=live.url, port=0), GUNICORN_CMD_ARGS=arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_folder_without_a_job_is_reported(tmp_path):
    command = [sys.executable, "-P", "-m", "serving"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "job.json: is missing" in done.stderr


def test_host_and_port_come_from_the_environment_too(live, tmp_path, until):
    port, folder = free_port(), tmp_path / "api"
    folder.mkdir()
    codec.save(ServeJob("m", registry=live.url, port=1, workers=1), folder / "job.json")
    environment = {**os.environ, "TRAINYARD_HOST": "127.0.0.1", "TRAINYARD_PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "serving"], cwd=folder, env=environment, stderr=subprocess.DEVNULL
    ):
        try:
            assert until(lambda: control.running(folder)) == f"http://127.0.0.1:{port}"
        finally:
            assert control.stop(folder, 20)


def test_a_candidate_in_an_acceptance_test_is_served_from_its_folder(served_models, tmp_path):
    folder = version_folder(served_models / "table", tmp_path / "version")
    (folder / "card.json").write_bytes(codec.with_checksum(card(folder, version=7)))
    url = control.start(ServeJob("m", folder=str(folder), port=0, workers=1), tmp_path / "api")
    try:
        _, _, answer = ask(url, "POST", "/predict", b'{"instances": [{"age": 1, "city": "Ulm"}]}')
        assert (answer["release"], answer["version"]) == (None, 7)
        assert control.status(tmp_path / "api")["workers"][0]["state"] == "ready"
    finally:
        control.stop(tmp_path / "api", 20)


def test_an_altered_candidate_is_not_served(served_models, tmp_path):
    folder = version_folder(served_models / "table", tmp_path / "version")
    (folder / "card.json").write_bytes(codec.with_checksum(card(folder)))
    (folder / "golden.npz").write_bytes(b"altered")
    url = control.start(ServeJob("m", folder=str(folder), port=0, workers=1), tmp_path / "api")
    try:
        status, _, answer = ask(url, "GET", "/health/ready")
        assert status == 503
        assert answer["error"] == "m: no model to answer with"
        (worker,) = control.status(tmp_path / "api")["workers"]
        assert (worker["state"], "golden.npz: was altered" in worker["error"]) == ("failed", True)
    finally:
        control.stop(tmp_path / "api", 20)


def test_a_killed_worker_comes_back_with_the_live_release(live, start, until):
    _url, folder = start(live, workers=2)
    control.await_release(folder, 1, 20)
    first = {each["pid"] for each in control.status(folder)["workers"]}
    victim = min(first)
    os.kill(victim, signal.SIGKILL)

    def back():
        try:
            pids = {each["pid"] for each in control.status(folder)["workers"] if each["release"] == 1}
        except TryAgain:  # this very connection was with the victim
            return False
        return victim not in pids and len(pids) == 2

    until(back)
    control.await_release(folder, 1, 20)


def test_a_stopping_server_answers_the_request_that_it_has(live, start, until):
    url, folder = start(live, workers=1)
    control.await_release(folder, 1, 20)
    body = json.dumps({"instances": [[[0] * 8] * 8]}).encode()
    with Client(url) as client:
        connection = client._connection
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:20])
        ask(url, "GET", "/health/live")  # by now a thread waits for the rest of the body
        stopping = threading.Thread(target=control.stop, args=(folder, 20))
        stopping.start()
        log = folder / "api.log"
        until(lambda: "Handling signal: term" in log.read_text(encoding="utf-8"))
        connection.send(body[20:])
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["release"] == 1
        stopping.join()
    assert control.running(folder) is None


def test_a_body_that_is_too_large_is_refused_and_the_next_request_answered(live, start):
    url, _folder = start(live, workers=1, max_body_mb=1)
    status, _, answer = ask(url, "POST", "/predict", b"x" * (1 << 20) + b"x")
    assert (status, answer["error"]) == (413, "the body is larger than 1048576 bytes")

    def chunks():  # not much over the limit: the server closes the connection after it, and what is still on its way would break
        for _ in range(17):
            yield b" " * (1 << 16)

    assert ask(url, "POST", "/predict", chunks())[0] == 413  # http.client sends it in chunks
    status, _, answer = ask(
        url, "POST", "/predict", iter([b"no chunk\r\n\r\n"]), {"Transfer-Encoding": "chunked"}
    )  # not a chunk
    assert status == 400
    assert answer["error"].startswith("the body cannot be read: Invalid chunk size")
    assert ask(url, "GET", "/health/ready")[0] == 200


def test_what_is_not_http_is_refused_and_logged_without_a_trace(live, start, until):
    url, folder = start(live, workers=1)
    host, port = url.removeprefix("http://").split(":")
    for garbage in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n"):
        with create_connection((host, int(port))) as raw:
            raw.sendall(garbage)
            assert raw.recv(100).startswith(b"HTTP/1.1 4")
    assert ask(url, "GET", "/health/ready")[0] == 200
    assert "Traceback" not in (folder / "api.log").read_text(encoding="utf-8")


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ZEROS = json.dumps({"instances": [[[0] * 8] * 8] * 100}).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "client",
    [
        (b"GET /health/live HTTP/1.1\r\n", b"X-Slow: 1\r\n", 0.1, "too slow to send"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b" ", 0.1, "too slow to send"),
        (b"", HEAD + b"Content-Length: %d\r\n\r\n" % len(ZEROS) + ZEROS, 0, "too slow to receive"),
    ],
    ids=["slow head", "slow body", "answers not read"],
)
def test_connections_of_clients_that_never_finish_are_closed_and_others_answered_meanwhile(live, start, until, client):
    first, again, pause, said = client
    url, folder = start(live, workers=1, threads=2, timeout_seconds=1)
    control.await_release(folder, 1, 20)
    host, port = url.removeprefix("http://").split(":")

    def send(connection):
        with suppress(OSError):
            connection.sendall(first)
            while True:
                connection.sendall(again)
                time.sleep(pause)

    with ExitStack() as stack:
        slow = [stack.enter_context(create_connection((host, int(port)))) for _ in range(8)]
        threads = [threading.Thread(target=send, args=(each,)) for each in slow]
        for thread in threads:
            thread.start()
        for _ in range(5):
            assert ask(url, "GET", "/health/ready")[0] == 200
        for thread in threads:
            thread.join(30)
        held = sum(thread.is_alive() for thread in threads)
        for each in slow:
            with suppress(OSError):
                each.shutdown(SHUT_RDWR)  # so that no thread is left behind
    assert held == 0
    assert ask(url, "GET", "/health/ready")[0] == 200
    until(lambda: said in (folder / "api.log").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_model_that_litert_cannot_run_is_served_by_tensorflow(registry, start, served_models):
    registry.release(registry.put("text"))
    url, folder = start(registry, workers=1, timeout_seconds=60)
    control.await_release(folder, 1, 60)
    x, y = samples(served_models / "text")
    rows = [{"note": str(note)} for note in x["note"][:4, 0]]
    with Client(url) as client:
        status, answer = client.predict(rows)
    assert status == 200, answer
    found = [each["probabilities"]["good"] for each in answer["predictions"]]
    assert found == pytest.approx(y["probabilities"][:4, 1].tolist(), abs=1e-5)
    assert ask(url, "GET", "/")[2]["engine"] == "saved_model"
