"""The promotion that a decision begins: a process of its own, one at a time, whose end is known by its lock and its outcome."""

from __future__ import annotations

import fcntl

import pytest
from console_parts import ConsoleProject
from promotion_parts import MODEL

from pipelines.console.decisions.promoting import Promotion

SETTINGS = """
model = "thirds"
home = "home"
repositories = {code = "code", dataset = "dataset", tests = "tests"}
registry = {url = "file://registry"}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trainyard.toml").write_text(SETTINGS)
    return ConsoleProject(tmp_path)


def wait_for(promotion):
    """Until nothing holds its lock any more."""
    with (promotion.folder / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_the_command_runs_apart_and_leaves_how_it_has_ended(project):
    project.publish(tests=())
    promotion = Promotion(project.home / "console", MODEL, 1)
    assert promotion.start(project.config, 1, 0)
    wait_for(promotion)
    progress = promotion.progress()
    assert (progress.running, progress.outcome.code) == (False, 3)
    assert any("thirds version 1 has had no acceptance test yet" in each for each in progress.lines)
    assert not any(str(project.folder) in each for each in progress.lines)


def test_a_second_one_does_not_begin_beside_the_first(project):
    promotion = Promotion(project.home / "console", MODEL, 1)
    promotion.folder.mkdir(parents=True)
    with (promotion.folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert promotion.progress().running
        assert not promotion.start(project.config, 1, 0)
        assert not (promotion.folder / "log").exists()
    assert not promotion.progress().running
