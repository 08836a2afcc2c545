"""Real Prometheus and Alertmanager of Debian, on ports of the loopback interface. TRAINYARD_TEST_PROMETHEUS=1: they must exist."""

import json
import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from serving_parts import free_port

PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")


def needed():
    """Skip, or fail where CI has installed them."""
    missing = [each for each in PROGRAMS if not shutil.which(each)]
    if missing and os.environ.get("TRAINYARD_TEST_PROMETHEUS") == "1":
        pytest.fail(f"TRAINYARD_TEST_PROMETHEUS=1, but there is no {', '.join(missing)}", pytrace=False)
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: prometheus, prometheus-alertmanager)")


def run(*command, stdin=b""):
    """What a program prints; it must succeed."""
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


@contextmanager
def running(folder, command, ready):
    """A program that answers at `ready`, until the end."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(URLError, OSError), urlopen(ready, timeout=5):
                break
            alive = process.poll() is None and time.monotonic() < deadline
            assert alive, (folder / f"{command[0]}.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def textfile(text):
    """Metrics as node_exporter's textfile collector gives them; gives host and port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Prometheus:
    """One that runs."""

    def __init__(self, url):
        self.url = url

    def get(self, path, **query):
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expr):
        """The samples: labels and values."""
        return self.get("query", query=expr)["result"]


@contextmanager
def prometheus(folder):
    """With the `prometheus.yml` in `folder`."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with running(folder, command, f"{url}/-/ready"):
        yield Prometheus(url)


@contextmanager
def alertmanager(folder, webhook):
    """Sends each alert at once to `webhook`."""
    port = free_port()
    config = {
        "route": {"receiver": "hook", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname"]},
        "receivers": [{"name": "hook", "webhook_configs": [{"url": webhook}]}],
    }
    (folder / "alertmanager.yml").write_text(json.dumps(config))
    run("amtool", "check-config", str(folder / "alertmanager.yml"))
    command = [
        "prometheus-alertmanager",
        "--config.file=alertmanager.yml",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with running(folder, command, f"http://127.0.0.1:{port}/-/ready"):
        yield f"127.0.0.1:{port}"


class _Received(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.alerts += body["alerts"]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def webhook():
    """Its `alerts` are those that have come, its `url` is where it listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Received) as server:
        server.alerts, server.url = [], f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
