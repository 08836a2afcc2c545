"""The steps as a CI server calls them: a folder for each build, that leads to the run and shows what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from team import clean_environment

from pipelines.flows import names


class Build:
    """One build after the other in the same workspace."""

    def __init__(self, team):
        self.team, self.root = team, team.folder / "workspace" / "build"

    def step(self, name, *more, code=0, env=None):
        return self.team.trainyard("step", name, "--build", str(self.root), *more, code=code, env=env)

    def resolve(self, *more, code=0, env=None):
        return self.step("resolve", "--trigger", "code", *more, code=code, env=env)

    @property
    def run(self):
        return (self.root / "run").resolve()

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    @property
    def decided(self):
        return (self.root / "decided").exists()


@pytest.fixture
def build(new_team):
    return Build(new_team)


@pytest.fixture
def broken(build):
    """A build whose dataset has a file that only looks like an image."""
    build.team.write("dataset", {"1/broken.png": b"not an image"})
    build.team.push("dataset")
    return build


@pytest.mark.slow
def test_a_build_shows_model_version_commits_and_accuracy_and_the_next_one_finds_nothing_new(build):
    build.resolve()
    assert build.run.parent == build.team.home / "runs"
    for step in names("code")[1:-1]:
        assert not build.decided
        build.step(step)
    assert build.decided
    jenkins = {"TRAINYARD_SERVING_DEPLOY": "jenkins", "TRAINYARD_JENKINS_URL": "http://jenkins/"}
    build.step("notify", env=jenkins | {"BUILD_URL": "http://jenkins/job/digits/job/code/7/"})
    assert build.run.joinpath("build.txt").read_text() == "http://jenkins/job/digits/job/code/7/\n", "for the promotion"
    letter = build.team.mails()[0].get_body(("plain",)).get_content()
    assert "http://jenkins/job/digits/job/code/7/" in letter
    assert "http://jenkins/job/digits/job/promotion/build" in letter
    (card,) = build.team.cards()
    accuracy = f"{card['evaluation']['candidate']['values']['accuracy']:.4g}"
    assert build.text("name.txt") == f"digits 1 {accuracy}\n"
    about, commits, last, head = build.text("description.txt").splitlines()
    assert "trainyard-head" in head
    assert about == f"digits version 1, accuracy {accuracy}"
    assert all(f"{name} {sha[:7]}" in commits for name, sha in card["sources"].items())
    assert last.startswith("accept: ")
    assert (build.root / "report" / "run.json").read_bytes() == (build.run / "run.json").read_bytes()
    assert not any(path.is_symlink() for path in (build.root / "report").rglob("*"))
    assert "nothing new" in build.resolve().stderr
    assert build.decided
    assert not (build.root / "report").exists(), "of the build before"
    build.step("notify")
    assert len(build.team.mails()) == 1


def test_a_build_that_failed_says_why_and_the_next_one_resumes_its_run(broken):
    broken.resolve()
    broken.step("fetch")
    broken.step("validate", code=2)
    assert "broken.png" in broken.text("description.txt")
    assert not broken.decided
    first = broken.run
    broken.step("notify")
    broken.resolve()
    assert broken.run == first
    assert "done before" in broken.step("fetch").stderr


@pytest.mark.slow
def test_what_is_rejected_is_rejected_in_every_build_of_the_same_commits(build):
    build.team.config.write_text(
        build.team.config.read_text(encoding="utf-8").replace("threshold = 0.8", 'metric = "loss"\nthreshold = 0.0'),
        encoding="utf-8",
    )
    build.resolve()
    for step in names("code")[1:]:
        if step == "gate":
            break
        build.step(step)
    build.step("gate", code=3)
    assert build.decided
    assert "loss" in build.text("description.txt")
    assert "nothing new" in build.resolve(code=3).stderr
    assert build.decided


def test_a_stopped_build_is_mailed_each_time_and_resumes(build):
    build.resolve()
    build.step("fetch")
    build.step("validate")
    for number in (1, 2):
        build.step("notify", "--stopped", f"aborted by alice, http://jenkins/job/7{number}/")
        assert len(build.team.mails()) == number
    mail = build.team.mails()[-1]
    assert "failed in train" in mail["Subject"]
    assert "aborted by alice, http://jenkins/job/72/" in mail.get_body(("plain",)).get_content()
    assert "aborted by alice" in build.text("description.txt")
    run = build.run
    build.resolve()
    assert build.run == run
    assert "done before" in build.step("validate").stderr


def test_a_build_whose_step_was_killed_is_mailed_and_one_that_failed_keeps_its_reason(broken):
    broken.resolve()
    broken.step("fetch")
    broken.step("notify")
    assert "it was killed" in broken.team.mails()[0].get_body(("plain",)).get_content()
    broken.resolve()
    broken.step("validate", code=2)
    broken.step("notify")
    assert "broken.png" in broken.team.mails()[1].get_body(("plain",)).get_content()


def descendants(pid):
    """The processes below `pid`, children before their parents."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        todo += (below := children.get(todo.pop(), []))
        found += below
    return found[::-1]


@pytest.mark.parametrize("first", ["the step", "its processes"])  # Jenkins ends the leaves of a tree first
@pytest.mark.slow
def test_the_mail_about_a_stopped_build_waits_for_the_step_to_end(build, first):
    build.resolve()
    build.step("fetch")
    build.step("validate")
    command = [sys.executable, "-P", "-m", "pipelines", "step", "train", "--build", build.root, "--config"]
    train = subprocess.Popen(
        [*command, build.team.config], env=clean_environment(), stderr=subprocess.PIPE, text=True, cwd=build.team.folder
    )
    while "epoch" not in train.stderr.readline():
        assert train.poll() is None
    notify = [*command[:5], "notify", *command[6:], build.team.config, "--stopped", "aborted"]
    notifier = subprocess.Popen(
        notify, env=clean_environment(), stderr=subprocess.PIPE, text=True, cwd=build.team.folder
    )
    time.sleep(0.5)
    assert notifier.poll() is None, "it did not wait"
    for process in descendants(train.pid) if first == "its processes" else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    train.send_signal(signal.SIGTERM)
    train.communicate(timeout=60)
    notifier.communicate(timeout=60)
    assert notifier.returncode == 0
    assert "failed in train" in build.team.mails()[-1]["Subject"]


def test_a_forced_build_that_is_started_again_resumes_its_run(broken):
    broken.resolve("--force")
    first = broken.run
    broken.step("fetch")
    broken.resolve("--force")
    assert broken.run == first
    broken.resolve()
    assert broken.run != first
    record = {"schema": 1, "step": "fetch", "outcome": "enough", "note": "", "started_at": "", "seconds": 0.0}
    (first / "steps" / "fetch.json").write_text(json.dumps(record), encoding="utf-8")
    broken.resolve("--force")
    assert broken.run != first, "it has ended"


def test_a_home_in_the_workspace_of_one_job_is_refused(build):
    said = build.resolve(code=2, env={"WORKSPACE": str(build.team.folder)}).stderr
    assert "the model's other jobs would not see it" in said
    assert "/var/lib/trainyard/digits" in said
    build.resolve(env={"WORKSPACE": str(build.team.folder / "workspace")})


def test_a_build_that_leads_to_no_run_says_what_to_do(build):
    assert "from its first stage" in build.step("fetch", code=2).stderr
    build.resolve()
    build.step("fetch")
    failed = build.resolve(
        "--commit", "0" * 40, code=0
    )  # any commit may be asked for; fetch reports that there is none
    assert failed.returncode == 0
    build.step("fetch", code=2)
    assert "000000" in build.text("description.txt")


def test_the_name_of_its_run_is_enough_to_resume_in_another_workspace(build, tmp_path):
    build.resolve()
    build.step("fetch")
    run, build.root = build.run, tmp_path / "another" / "build"
    build.root.mkdir(parents=True)
    (build.root / "run.txt").write_text(run.name, encoding="utf-8")
    assert "done before" in build.step("fetch").stderr
    assert build.run == run
    for strange in ("", "..", "../runs/" + run.name, "0123"):
        (build.root / "run").unlink(missing_ok=True)
        (build.root / "run.txt").write_text(strange, encoding="utf-8")
        assert "from its first stage" in build.step("fetch", code=2).stderr
