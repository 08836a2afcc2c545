"""The parts of the benchmark that no other test starts: the empty API, and the client that loads it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
JOB = {"schema": 1, "model": "empty", "host": "127.0.0.1", "port": 0, "workers": 1, "threads": 2}


@pytest.fixture
def port(tmp_path):
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-P", BENCHMARKS / "empty_api.py", "same"], cwd=tmp_path, stdout=log, stderr=log
        )
        try:
            until = time.monotonic() + 30
            while not (tmp_path / "port").exists() and server.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            yield (tmp_path / "port").read_text()
        finally:
            server.terminate()
            server.wait()


def test_the_load_client_counts_what_an_empty_route_answers(port, tmp_path):
    body = tmp_path / "body.json"
    body.write_text('{"instances": []}')
    command = [sys.executable, "-P", BENCHMARKS / "load_client.py", "127.0.0.1", port, "0.3", "4", body]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["per_second"] > 0
    assert report["p50_ms"] <= report["p99_ms"]
    paths = [json.loads(line).get("path") for line in (tmp_path / "log").read_text().splitlines() if "access" in line]
    assert set(paths) == {"/predict"}, "the empty route is not measured with the access log of the API"
