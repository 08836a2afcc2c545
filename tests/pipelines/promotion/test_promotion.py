"""From a token to a release that answers, with a real API; and the way back when it does not."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from faults_parts import wait_for
from promotion_parts import LEFT, MODEL, RIGHT, Interrupted, Project, ask, clients, frozen

from pipelines.deploy import api_folder, process
from pipelines.promotion.follow import check_again
from registry import candidates, releases
from registry.errors import ConfigError, Rejected, TryAgain, WorkerFailed
from serving.server import control
from training.fence import confine

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def project(tmp_path, tiny_models):
    """A team without an API; one that is started is stopped."""
    made = Project(tmp_path, tiny_models)
    yield made
    made.stop()


def test_a_promotion_starts_the_api_and_is_recorded_once_however_often_it_is_repeated(project):
    token = project.token(project.publish("thirds"))
    release = project.promote(1, token)
    assert (release.number, release.version, release.by) == (1, 1, "ada")
    (approval,) = releases.approvals(project.store, MODEL)
    assert (approval.version, approval.card, approval.by) == (
        1,
        candidates.manifest_digest(project.store, MODEL, 1),
        "ada",
    )
    assert approval.token not in token  # the id inside, not the token itself
    assert release.approval == approval.number
    status, body = project.ask()
    assert (status, body["release"], body["version"]) == (200, 1, 1)
    before = project.tree()
    assert project.promote(1, token) == release
    project.stop()
    assert project.promote(1, token) == release  # the API was down: it comes up, and nothing is written
    assert project.ask()[0] == 200
    assert project.tree() == before


def test_promotion_and_rollback_under_load_lose_no_request(project):
    """Version 1 never says `right`, version 2 does: an answer shows who gave it."""
    project.publish("dull")
    project.publish("thirds")
    project.promote(1)
    with clients(project.url, 6) as answers:
        while len(answers) < 50:
            threading.Event().wait(0.01)
        project.promote(2)
        assert ask(project.url)[1]["release"] == 2  # every worker had it before the command ended
        assert project.rollback().number == 3
        for number in range(4, 8):
            release = project.rollback(to=2 if number % 2 == 0 else 1)
            assert (release.number, ask(project.url)[1]["release"]) == (number, number)
    assert {status for status, _ in answers} == {200}
    for _, body in answers:
        assert body["version"] == {1: 1, 2: 2, 3: 1, 4: 2, 5: 1, 6: 2, 7: 1}[body["release"]]
        assert (body["predictions"][0]["class"] == "right") == (body["version"] == 2)
    assert {body["release"] for _, body in answers} >= {1, 2, 3}


def test_a_release_that_cannot_be_loaded_is_taken_back_and_no_request_notices(project):
    project.publish("thirds")
    project.publish()
    project.promote(1)
    token = project.token(2)
    with clients(project.url, 2) as answers, pytest.raises(WorkerFailed) as failure:
        project.promote(2, token)
    assert failure.value.exit_code == 2
    assert "version 2 of thirds could not be deployed: release 2 is not served" in str(failure.value)
    assert "version 1 answers as before, now as release 3" in str(failure.value)
    assert project.history == [1, 2, 1]
    back = releases.live(project.store, MODEL)
    assert (back.kind, back.by) == ("revert", "trainyard")
    assert "release 2 could not be deployed" in back.reason
    assert {status for status, _ in answers} == {200}
    assert {body["version"] for _, body in answers} == {1}
    assert project.ask()[1]["release"] == 3
    with pytest.raises(ConfigError, match="nothing was live before"):  # and not: forward to what has just failed
        project.rollback()
    assert project.history == [1, 2, 1]
    with pytest.raises(WorkerFailed, match="version 1 answers as before, now as release 5"):
        project.promote(2, token)  # an approval is used up when its release has served, not before
    assert [each.version for each in releases.approvals(project.store, MODEL)] == [1, 2]


def test_an_approval_is_used_up_once_its_release_has_served(project):
    project.publish("thirds")
    project.publish("dull")
    token = project.token(1)
    project.promote(1, token)
    project.promote(2)
    with pytest.raises(Rejected, match="used for release 1") as no:
        project.promote(1, token)
    assert "rollback thirds --to 1" in no.value.hint
    assert project.history == [1, 2]


@pytest.mark.slow
def test_a_person_called_trainyard_promotes_and_rolls_back(project):
    """Who made a release does not say what it is: an automatic revert is one by its kind."""
    for kind in ("dull", "thirds", "dull"):
        project.publish(kind)
    for version in (1, 2, 3):
        assert project.promote(version, by="trainyard").kind == "promotion"
    assert project.rollback(by="trainyard").version == 2
    assert project.rollback(by="trainyard").version == 1
    assert [each.kind for each in releases.releases(project.store, MODEL)] == ["promotion"] * 3 + ["rollback"] * 2
    project.publish()
    with pytest.raises(WorkerFailed, match="version 1 answers as before, now as release 7"):
        project.promote(4, by="trainyard")
    assert releases.live(project.store, MODEL).kind == "revert"


@pytest.mark.slow
def test_a_first_release_that_cannot_be_loaded_is_withdrawn(project):
    project.publish()
    project.publish("thirds")
    with pytest.raises(WorkerFailed, match="release 2 withdrew it, and nothing is live"):
        project.promote(1)
    assert project.history == [1, None]
    assert releases.latest(project.store, MODEL).kind == "withdrawal"
    assert project.ask()[0] == 503
    assert project.promote(2).number == 3
    assert project.ask()[1]["release"] == 3


@pytest.mark.slow
def test_an_api_that_does_nothing_does_not_revert_what_is_live(project):
    project.publish("dull")
    project.publish("thirds")
    project.promote(1)
    live = project.promote(2)
    with frozen(project), pytest.raises(TryAgain, match="0 of 2 server processes are up"):
        check_again(project.store, project.config, live, seconds=0.1)
    assert project.history == [1, 2]
    assert project.rollback(to=2) == live


@pytest.mark.slow
def test_a_promotion_that_takes_too_long_stays_and_the_same_command_checks_it_again(project, monkeypatch):
    project.publish("dull")
    token = project.token(project.publish("thirds"))
    project.promote(1)
    monkeypatch.setattr(process, "DEPLOY_SECONDS", 0.3)
    with frozen(project), pytest.raises(TryAgain, match=r"release 2 of thirds \(version 2\) stays") as late:
        project.promote(2, token)
    assert late.value.exit_code == 75
    assert "the same command checks it again" in late.value.hint
    assert project.history == [1, 2]
    monkeypatch.undo()
    assert project.promote(2, token).number == 2
    assert project.ask()[1]["release"] == 2
    assert project.history == [1, 2]


@pytest.mark.slow
def test_a_rollback_that_takes_too_long_says_how_it_is_checked_again(project, monkeypatch):
    """Without --to the same command would go back by one more version."""
    for kind in ("dull", "thirds"):
        project.promote(project.publish(kind))
    monkeypatch.setattr(process, "DEPLOY_SECONDS", 0.3)
    with frozen(project), pytest.raises(TryAgain, match="release 3 of thirds") as late:
        project.rollback()
    assert "`trainyard rollback thirds --to 1` checks it again" in late.value.hint
    monkeypatch.undo()
    assert project.rollback(to=1).number == 3
    assert project.ask()[1]["release"] == 3


@pytest.mark.slow
@pytest.mark.skipif(not confine.abi(), reason="needs Landlock")
def test_an_api_that_cannot_reach_a_registry_made_anew_is_to_be_started_again_and_nothing_is_released(project):
    project.publish("dull")
    token = project.token(project.publish("thirds"))
    project.promote(1)
    folder = project.folder / "registry"
    shutil.copytree(folder, project.folder / "copy", symlinks=True)
    shutil.rmtree(folder)
    (project.folder / "copy").rename(folder)
    wait_for(lambda: control.cut_off(control.status(api_folder(project.config))))
    for act in (lambda: project.promote(2, token), lambda: project.promote(1)):
        with pytest.raises(ConfigError, match="cannot reach the new one") as refused:
            act()
        assert "`trainyard serve thirds --stop`, then `trainyard serve thirds --background`" in refused.value.hint
    assert (project.history, project.ask()[1]["release"]) == ([1], 1)
    project.stop()
    assert project.promote(2, token).number == 2
    assert project.ask()[1]["release"] == 2


@pytest.mark.slow
def test_an_api_that_cannot_be_started_does_not_revert_what_is_live(project):
    project.publish("dull")
    project.publish("thirds")
    project.promote(1)
    live = project.promote(2)
    project.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = replace(project.config, serving=replace(project.config.serving, port=taken.getsockname()[1]))
        with pytest.raises(ConfigError, match="in use"):
            check_again(project.store, config, live)
    assert project.history == [1, 2]


@pytest.mark.slow
def test_what_was_interrupted_and_cannot_be_loaded_is_taken_back_when_it_is_repeated(project):
    project.publish("thirds")
    project.publish()
    project.promote(1)
    token = project.token(2)

    def ctrl_c(name):
        if "/releases/" in name:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.promote(2, token, Interrupted(project.store, after=ctrl_c))
    assert project.history == [1, 2]
    with pytest.raises(WorkerFailed, match="version 1 answers as before, now as release 3"):
        project.promote(2, token)
    assert project.history == [1, 2, 1]


def test_a_port_in_use_is_reported_before_anything_is_written(project):
    project.publish("thirds")
    before = project.tree()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        project.config = replace(project.config, serving=replace(project.config.serving, port=port))
        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            project.promote(1)
    assert project.tree() == before
    assert project.promote(1).number == 1


def test_who_loses_the_race_is_sent_to_check_and_changes_nothing_that_is_live(project):
    for kind in ("thirds", "dull"):
        project.publish(kind)

    def somebody_else_first(name):
        if "/releases/" in name:
            project.promote(2)

    with pytest.raises(TryAgain, match="released by a concurrent writer") as lost:
        project.promote(1, store=Interrupted(project.store, before=somebody_else_first))
    assert lost.value.exit_code == 75
    assert project.history == [2]
    assert project.ask()[1]["version"] == 2


def test_one_token_makes_one_release_however_many_use_it_at_once(project):
    token = project.token(project.publish("thirds"))

    def once(_):
        try:
            return project.promote(1, token).number
        except TryAgain as lost:
            return lost

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(once, range(4)))
    assert {each for each in results if not isinstance(each, TryAgain)} == {1}
    assert project.history == [1]
    assert len(releases.approvals(project.store, MODEL)) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from promotion_parts import Project, Interrupted

left = int(sys.argv[4])

def die(_name):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

project = Project(Path(sys.argv[2]))
project.promote(int(sys.argv[3]), sys.stdin.read(), Interrupted(project.store, after=die))
"""
WRITES = 5  # model, signature and card, the approval, the release


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param((1, WRITES - 1, WRITES), id="sample"),
        pytest.param(range(1, WRITES + 1), id="all", marks=pytest.mark.long),
    ],
)
def test_a_promotion_that_was_killed_after_any_write_resumes_when_it_is_repeated(tmp_path, tiny_models, kills):
    project = Project(tmp_path, tiny_models, workers=1)
    root = Path(__file__).parents[3]
    parts = root / "tests" / "helpers"
    try:
        project.publish("dull")
        project.promote(1)
        for number, writes in enumerate(kills, 1):
            version = project.publish("thirds" if number % 2 else "dull")
            token, before = project.token(version), project.history
            done = subprocess.run(
                [sys.executable, "-P", "-c", KILLED, parts, tmp_path, str(version), str(writes)],
                input=token, text=True, check=False, env=os.environ | {"PYTHONPATH": str(root)},
            )  # fmt: skip
            assert done.returncode == -signal.SIGKILL
            assert project.history == (before if writes < WRITES else [*before, version])
            assert project.ask(LEFT)[0] == 200
            release = project.promote(version, token)
            assert project.history == [*before, version]
            approvals = [each for each in releases.approvals(project.store, MODEL) if each.version == version]
            assert [each.number for each in approvals] == [release.approval]
            assert project.ask(RIGHT)[1]["release"] == release.number
    finally:
        project.stop()


@pytest.mark.slow
def test_a_rollback_of_an_api_that_is_down_brings_it_up(project):
    project.publish("dull")
    project.publish("thirds")
    project.promote(1)
    project.promote(2)
    project.stop()
    assert project.rollback().version == 1
    assert project.ask()[1]["version"] == 1
