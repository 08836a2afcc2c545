"""`kill -9` under load, of a worker of the API and of gunicorn's master."""

from __future__ import annotations

import os
import signal

import pytest
from faults_parts import alive, free_of, wait_for

from promotion_parts import MODEL, RIGHT, Project, ask, clients  # isort: skip

from pipelines.deploy import api_folder
from registry import releases
from serving.server import control, lockfile

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
CROWD = 8


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_models):
    """A team whose API answers with release 1, by two workers."""
    project = Project(tmp_path_factory.mktemp("project"), tiny_models)
    for kind in ("thirds", "dull"):
        project.publish(kind)
    project.promote(1)
    yield project
    project.stop()


def workers(project):
    return {each["pid"] for each in control.status(api_folder(project.config))["workers"]}


def test_a_killed_worker_takes_only_its_own_requests_with_it_and_another_comes(project):
    control.await_release(api_folder(project.config), 1, 30)
    before = workers(project)
    victim = min(before)
    with clients(project.url, CROWD) as answers:
        wait_for(lambda: len(answers) > 50)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(workers(project) - {victim}) == 2)
        count = len(answers)
        wait_for(lambda: len(answers) > count + 50)
    failed = [answer for status, answer in answers if status != 200]
    assert len(failed) <= CROWD, failed
    assert victim not in workers(project)
    assert {answer["release"] for status, answer in answers if status == 200} == {1}


@pytest.mark.parametrize("what", ["promote", "start"])
def test_a_killed_master_takes_all_workers_with_it_and_the_next_command_starts_again(project, what):
    folder, url = api_folder(project.config), project.url
    pids, number = workers(project), project.history
    with clients(url, CROWD) as answers:
        wait_for(lambda: len(answers) > 50)
        os.kill(lockfile.read(folder).pid, signal.SIGKILL)
        wait_for(lambda: control.running(folder) is None)
        wait_for(lambda: not any(alive(pid) for pid in pids))
    port = int(url.rpartition(":")[2])
    assert free_of(port)
    assert {status for status, _ in answers} == {200, 0}
    if what == "promote":
        release = project.promote(2)
        assert project.history == [*number, 2]
        control.await_release(api_folder(project.config), release.number, 30)
    else:
        control.start(serve_job(project), folder)
        control.await_release(api_folder(project.config), releases.live(project.store, MODEL).number, 30)
    assert not pids & workers(project)
    assert ask(project.url, RIGHT)[0] == 200


def serve_job(project):
    from pipelines.deploy.serve_job import serve_job

    return serve_job(project.config)
