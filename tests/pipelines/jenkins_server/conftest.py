"""A Jenkins over HTTP, and the config of a team that uses it."""

from __future__ import annotations

import pytest
from fake_jenkins import FakeJenkins


@pytest.fixture
def fake(monkeypatch):
    with FakeJenkins() as server:
        monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", server.token)
        yield server


@pytest.fixture
def config(fake, tmp_path):
    return fake.config(tmp_path)
