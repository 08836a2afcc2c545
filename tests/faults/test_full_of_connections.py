"""Clients that hold every connection of the API keep nobody from learning what it serves: that is asked elsewhere."""

import json
import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from promotion_parts import Project

from pipelines.deploy import api_folder
from serving.server import control

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

IDLE, HALF = 500, 500
SECONDS = 10.0
HALF_A_REQUEST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


@pytest.fixture
def project(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    for kind in ("dull", "thirds"):
        project.publish(kind)
    project.promote(1)
    yield project
    project.stop()


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(url):
    where = urlsplit(url)
    return socket.create_connection((where.hostname, where.port), timeout=10)


def test_promote_ends_beside_500_idle_and_500_half_sent_connections(project, many_files):
    with ExitStack() as held:
        for number in range(IDLE + HALF):
            client = held.enter_context(connected(project.url))
            if number % 2:
                client.sendall(HALF_A_REQUEST)
        time.sleep(1)  # as far as the API accepts them, it has accepted them
        began = time.monotonic()
        release = project.promote(2)
        took = time.monotonic() - began
        health = subprocess.run(
            [sys.executable, "-P", "-m", "serving.server.health", "/version"],
            cwd=api_folder(project.config), capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    assert release.number == 2
    assert took < SECONDS
    assert {each["release"] for each in json.loads(health.stdout)["workers"]} == {2}
    assert {each["release"] for each in control.status(api_folder(project.config))["workers"]} == {2}
