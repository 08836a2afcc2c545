"""What the tests of kills, and of a registry in a bucket, share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from faults_parts import small_team

from registry import s3_client
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.store_options import Access
from registry.stores import open_store


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """One small team for a module's story; its API is stopped at the end."""
    team = small_team(tmp_path_factory.mktemp("team"))
    yield team
    team.stop_api()


@pytest.fixture
def quick_retries(monkeypatch):
    """Nobody waits long for an answer, nor before the next try."""
    monkeypatch.setattr(s3_client, "READ_SECONDS", 2)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)


@pytest.fixture
def open_through(s3_place, s3_server):
    """Opens the test's registry through a proxy at a URL."""
    url, options = s3_place

    def open_(endpoint):
        access = Access(endpoint, "us-east-1")
        Probed(Path(options.cache), access, Place("models", "", "")).remember("a proxy")
        return open_store(url, replace(options, access=access))

    return open_
