"""Refused bodies of 16 MB leave nothing in a worker's memory; benchmarks/refused_memory.py sends 1,000 of them."""

from __future__ import annotations

import http.client
import os
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from faults_parts import wait_for

from promotion_parts import RIGHT, Project, ask  # isort: skip

from pipelines.deploy import api_folder
from serving.server import control

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
SIZE = (16 << 20) - 512
GROWTH_MB = 100
CUT = b'{"instances": [[' + b"1.25," * (SIZE // 5)


@pytest.fixture
def project(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models, workers=1)
    project.publish("thirds")
    project.promote(1)
    assert ask(project.url, RIGHT)[0] == 200
    yield project
    project.stop()


def resident_mb(folder):
    (worker,) = control.status(folder)["workers"]
    pages = int(Path(f"/proc/{worker['pid']}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def refused(connection):
    connection.request("POST", "/predict", CUT, {"Content-Type": "application/json"})
    with connection.getresponse() as response:
        response.read()
        return response.status


def test_40_refused_bodies_of_16_mb_leave_less_than_100_mb(project):
    where = urlsplit(project.url)
    with closing(http.client.HTTPConnection(where.hostname, where.port, timeout=60)) as connection:
        assert refused(connection) == 400
        before = resident_mb(api_folder(project.config))
        assert {refused(connection) for _ in range(40)} == {400}
    wait_for(lambda: resident_mb(api_folder(project.config)) <= before + GROWTH_MB)


def test_connections_that_stay_open_after_a_refused_body_hold_none_of_it(project):
    where = urlsplit(project.url)
    before = resident_mb(api_folder(project.config))
    with ExitStack() as stack:
        for _ in range(12):
            connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
            stack.enter_context(closing(connection))
            assert refused(connection) == 400
        wait_for(lambda: resident_mb(api_folder(project.config)) <= before + GROWTH_MB, seconds=8)
