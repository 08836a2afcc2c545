"""A model that ends the process that loads or runs it: production answers on, and what has answered before is served."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from crashing_api import HERE, ON_LOAD, ON_SECOND_LOAD, ON_WHITE
from faults_parts import wait_for

from promotion_parts import LEFT, MODEL, RIGHT, Project, ask, clients  # isort: skip

from pipelines.deploy import api_folder
from pipelines.deploy.serve_job import serve_job
from registry import codec
from registry.errors import WorkerFailed
from serving.server import control

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
BACK_SECONDS = 5.0
WHITE = [[255] * 6] * 6
DAMAGED = [(1408, 2), (1164, 2**32 - 1), (1256, 2**32 - 1)]
"""Position and new value of four bytes of the tiny model: LiteRT reads memory that it does not have."""


@pytest.fixture
def project(tmp_path, tiny_models):
    """Version 1 is good, and release 1."""
    project = Project(tmp_path, tiny_models)
    project.publish("thirds")
    yield project
    project.stop()


@contextmanager
def api(project):
    """The API with the engine that crashes; a promotion finds it running."""
    folder = api_folder(project.config)
    folder.mkdir(parents=True, exist_ok=True)
    codec.save(serve_job(project.config), folder / "job.json")
    with (folder / "api.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", str(HERE)],
            cwd=folder,
            env=control.clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: control.running(folder))
        yield folder
    finally:
        process.terminate()
        process.wait()


def seconds_live(project, number):
    """From a release to its revert."""
    folder = project.folder / "registry" / "production" / MODEL / "releases"
    first, revert = ((folder / f"{each:06d}.json").stat().st_mtime for each in (number, number + 1))
    return revert - first


def states(folder):
    return [(each["state"], each["release"]) for each in control.status(folder)["workers"]]


def test_a_release_that_crashes_the_loader_fails_no_request_and_is_reverted_within_5_s(project):
    project.publish("dull", reason=ON_LOAD)
    with api(project) as folder:
        project.promote(1)
        pids = {each["pid"] for each in control.status(folder)["workers"]}
        with clients(project.url, 6) as answers:
            wait_for(lambda: len(answers) > 30)
            with pytest.raises(WorkerFailed, match="it crashed the process that loaded it \\(SIGSEGV\\)"):
                project.promote(2)
            count = len(answers)
            wait_for(lambda: len(answers) > count + 30)
        assert {status for status, _ in answers} == {200}
        assert seconds_live(project, 2) < BACK_SECONDS
        assert {each["pid"] for each in control.status(folder)["workers"]} == pids, "no worker has crashed"
        assert project.history == [1, 2, 1]


def test_the_approval_of_a_release_that_crashed_can_be_used_again(project):
    project.publish("dull", reason=ON_LOAD)
    with api(project):
        project.promote(1)
        token = project.token(2)
        for _ in range(2):
            with pytest.raises(WorkerFailed, match="SIGSEGV"):
                project.promote(2, token)
    release = project.promote(2, token)  # an API whose engine loads it
    assert (release.version, project.history) == (2, [1, 2, 1, 2, 1, 2])


def test_a_damaged_file_fails_no_request_whatever_litert_makes_of_it(project):
    good = (project.tiny_models / "thirds" / "model.tflite").read_bytes()
    project.promote(1)
    with clients(project.url, 4) as answers:
        for position, value in DAMAGED:
            data = good[:position] + value.to_bytes(4, "little") + good[position + 4 :]
            version = project.publish(data=data)
            with pytest.raises(WorkerFailed, match="could not be deployed"):
                project.promote(version)
            assert seconds_live(project, len(project.history) - 1) < BACK_SECONDS
    assert {status for status, _ in answers} == {200}
    assert ask(project.url, RIGHT)[1]["version"] == 1


def test_after_a_restart_the_last_good_release_answers_while_the_newest_crashes(project):
    project.publish("dull", reason=ON_LOAD)
    with api(project) as folder:
        project.promote(1)
    project.release_by_hand(2)
    with api(project) as folder:
        wait_for(lambda: states(folder) == [("failed", 1)] * 2)
        assert ask(project.url, RIGHT)[1]["version"] == 1
        errors = {each["error"] for each in control.status(folder)["workers"]}
        assert errors == {"it crashed the process that loaded it (SIGSEGV)"}


def test_a_new_machine_falls_back_to_what_was_live_before(project):
    project.publish("dull", reason=ON_LOAD)
    with api(project) as folder:
        project.promote(1)
    project.release_by_hand(2)
    (folder / "known_good.json").unlink()
    with api(project) as folder:
        wait_for(lambda: states(folder) == [("failed", 1)] * 2)
        assert ask(project.url, RIGHT)[1]["version"] == 1


@pytest.mark.parametrize("reason", [ON_WHITE, ON_SECOND_LOAD])
def test_a_release_that_ends_workers_is_replaced_by_the_one_before_and_reported(project, reason):
    project.publish("dull", reason=reason)
    with api(project) as folder:
        project.promote(1)
        project.release_by_hand(2)
        if reason == ON_WHITE:
            wait_for(lambda: states(folder) == [("ready", 2)] * 2)
        began = time.monotonic()
        while states(folder) != [("failed", 1)] * 2:
            assert time.monotonic() - began < 20
            if reason == ON_WHITE:
                with pytest.raises((OSError, AssertionError)):
                    assert ask(project.url, WHITE)[0] != 200
            time.sleep(0.05)
        (error,) = {each["error"] for each in control.status(folder)["workers"]}
        assert "it has ended 3 server processes within" in error
        assert ask(project.url, LEFT)[1]["version"] == 1
        assert ask(project.url, WHITE)[0] == 200
        assert "taken out of service" in (folder / "api.log").read_text(encoding="utf-8")
