"""Promotion by Jenkins: the command starts the Jenkins job, and what that calls starts an API that outlives its build."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from fake_jenkins import FakeJenkins
from promotion_parts import MODEL, Project, ask
from versions import append_release

from pipelines.deploy import api_folder
from registry import releases
from serving.server import lockfile

SETTINGS = """
model = "thirds"
home = "home"
repositories = {{code = "code", dataset = "dataset", tests = "tests"}}
registry = {{url = "file://registry"}}
serving = {{port = 0, workers = 1, threads = 2, deploy = "jenkins"}}
jenkins = {{url = "{url}", user = "alice"}}
"""
PARAMETERS = {"ACTION": "promote", "MODEL": MODEL, "VERSION": "", "APPROVAL": "", "REASON": ""}
ROOT = Path(__file__).resolve().parents[3]
BUILD_URL = "https://jenkins.example.org/job/thirds/job/promotion/12/"
COOKIES = {
    "JENKINS_NODE_COOKIE": "5e2f-node",
    "JENKINS_SERVER_COOKIE": "durable-0123",
    "HUDSON_SERVER_COOKIE": "4567",
    "HUDSON_COOKIE": "89ab",
    "BUILD_ID": "12",
    "BUILD_NUMBER": "12",
    "BUILD_TAG": "jenkins-thirds-promotion-12",
    "JOB_NAME": "thirds/promotion",
}


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def jenkins(monkeypatch):
    with FakeJenkins() as fake:
        monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.token)
        yield fake


def begin(project, *words, url="https://jenkins.example.org/", **environment):
    (project.folder / "trainyard.toml").write_text(SETTINGS.format(url=url))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipelines", *words, "--config", project.folder / "trainyard.toml"],
        env=os.environ | environment, cwd=project.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def trainyard(project, *words, stdin="", **more):
    with begin(project, *words, **more) as process:
        stdout, stderr = process.communicate(stdin, timeout=120)
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


def job(jenkins, **script):
    return jenkins.add_job("thirds/promotion", parameters=PARAMETERS, queue_polls=0, end_polls=0, **script)


def released(project, version, after=None):
    """As the job would have left the registry, on a disk that we see."""
    releases.copy_to_production(project.store, MODEL, version)
    return append_release(project.store, MODEL, version, after=after, reason="a test")


def test_a_promotion_is_done_by_the_job_and_the_release_is_read_from_the_registry(project, jenkins):
    asked = job(jenkins, console=["it is released\n"])
    token = project.token(project.publish())
    released(project, 1)
    done = trainyard(project, "promote", "thirds", "1", "--approval", "-", stdin=f"{token}\n", url=jenkins.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("thirds version 1 is live: release 1, by ada, a test\n")
    assert f"{jenkins.url}job/thirds/job/promotion/1/" in done.stdout
    assert "it is released" in done.stderr
    assert asked.builds[1].parameters == PARAMETERS | {"VERSION": "1", "APPROVAL": token}
    assert not any(token in seen.path for seen in jenkins.requests)
    assert not any(secret in done.stdout + done.stderr for secret in (token, jenkins.token))


def test_a_no_in_jenkins_is_a_rejection_and_says_by_whom(project, jenkins):
    job(jenkins, result="UNSTABLE", console=["[Pipeline] input\n", "Release thirds version 1 to production?\n"])
    start = jenkins.state.start_build

    def answered(*arguments):
        build = start(*arguments)
        build.description = "promotion thirds 1: Rejected by Alice Smith"
        return build

    jenkins.state.start_build = answered
    project.publish()
    done = trainyard(project, "promote", "thirds", "1", "--json", url=jenkins.url)
    assert done.returncode == 3, done.stderr
    assert "UNSTABLE: build 1: promotion thirds 1: Rejected by Alice Smith" in done.stderr
    assert json.loads(done.stdout)["description"] == "promotion thirds 1: Rejected by Alice Smith"
    assert "\n[Pipeline] input\n" in done.stderr, "without the notes of Jenkins' console"


def test_the_head_in_a_description_is_not_read_out_at_the_end_of_a_build(project, jenkins):
    job(jenkins, result="UNSTABLE")
    start = jenkins.state.start_build

    def answered(*arguments):
        build = start(*arguments)
        build.description = "promotion thirds 1: rejected: too old\ntrainyard-head:1:thirds:2:2:0123"
        return build

    jenkins.state.start_build = answered
    token = project.token(project.publish())
    done = trainyard(project, "promote", "thirds", "1", "--approval", token, "--json", url=jenkins.url)
    assert done.returncode == 3, done.stderr
    assert "UNSTABLE: build 1: promotion thirds 1: rejected: too old\n" in done.stderr
    assert json.loads(done.stdout)["description"].endswith("\ntrainyard-head:1:thirds:2:2:0123"), (
        "for programs it is there"
    )


def test_a_rollback_is_done_by_the_job(project, jenkins):
    asked = job(jenkins)
    project.publish()
    released(project, 1)
    words = ("rollback", "thirds", "--to", "1", "--reason", "it errs", "--json")
    done = trainyard(project, *words, url=jenkins.url)
    said = json.loads(done.stdout)
    assert (done.returncode, said["number"], said["version"]) == (0, 1, 1), done.stderr
    assert said["build"] == f"{jenkins.url}job/thirds/job/promotion/1/"
    wanted = {"ACTION": "rollback", "MODEL": "thirds", "VERSION": "1", "REASON": "it errs"}
    assert asked.builds[1].parameters == PARAMETERS | wanted


def test_without_the_registry_the_build_describes_the_release(project, jenkins):
    asked = job(jenkins)
    start = jenkins.state.start_build

    def described(*arguments):
        build = start(*arguments)
        build.description = "promotion thirds 4: done"
        return build

    jenkins.state.start_build = described
    done = trainyard(project, "promote", "thirds", "4", url=jenkins.url)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "SUCCESS: build 1: promotion thirds 4: done")
    assert "Jenkins asks for the approval" in done.stderr
    assert asked.builds[1].parameters["APPROVAL"] == ""
    assert not (project.folder / "registry").exists()


@pytest.mark.parametrize(
    ("result", "console", "code"),
    [("UNSTABLE", [], 3), ("ABORTED", [], 75), ("FAILURE", [], 2), ("FAILURE", ["trainyard: exit 75\n"], 75)],
)
def test_its_exit_code_is_that_of_the_promotion_in_the_build(project, jenkins, result, console, code):
    job(jenkins, result=result, console=console)
    done = trainyard(project, "promote", "thirds", "1", "--approval", "x.y", "--json", url=jenkins.url)
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (code, code), done.stderr
    assert f"{result}: build 1" in done.stderr


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_api_that_the_job_has_started_outlives_its_build(tmp_path, tiny_models):
    """Jenkins ends, with a build, each process whose environment has that build's cookie."""
    project = Project(tmp_path, tiny_models)
    token = project.token(project.publish("thirds"))
    try:
        there = {"BUILD_URL": BUILD_URL, "TRAINYARD_APPROVAL": token, **COOKIES}
        done = trainyard(project, "promote", "thirds", "1", "--here", **there)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("thirds version 1 is live: release 1")
        assert end_all_with_a_cookie() == []
        for pid in pids_of(project):
            kept = Path(f"/proc/{pid}/environ").read_bytes()
            assert not [name for name in (*COOKIES, "BUILD_URL", "TRAINYARD_APPROVAL") if f"{name}=".encode() in kept]
        assert ask(project.url)[1]["release"] == 1
        status = trainyard(project, "serve", "thirds", "--status", "--here", "--json", **there)
        assert json.loads(status.stdout)["release"] == 1
        back = trainyard(project, "rollback", "thirds", "--to", "1", "--here", **there)
        assert back.stdout.startswith("thirds version 1 is live: release 1"), back.stderr
    finally:
        project.stop()


def pids_of(project):
    """The API's master and its workers."""
    master = lockfile.read(api_folder(project.config)).pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    assert children
    return [master, *map(int, children)]


def end_all_with_a_cookie():
    """As hudson.util.ProcessTree does; gives the processes."""
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            variables = each.read_bytes().split(b"\0")
            if any(f"{name}={value}".encode() in variables for name, value in COOKIES.items() if "COOKIE" in name):
                found.append(int(each.parent.name))
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


@pytest.mark.tensorflow
def test_who_approved_in_jenkins_is_recorded_in_the_approval(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    for kind in ("thirds", "dull"):
        project.publish(kind)
    try:
        words = ("promote", "thirds", "1", "--here", "--approved-by", "grace\n")
        first = trainyard(project, *words, BUILD_URL=BUILD_URL)
        assert first.returncode == 0, first.stderr
        name = f"heidi, {BUILD_URL}"
        second = trainyard(project, "promote", "thirds", "2", "--here", f"--approved-by={name}", BUILD_URL=BUILD_URL)
        assert second.returncode == 0, second.stderr
        again = trainyard(project, *words[:2], "2", *words[3:], BUILD_URL=BUILD_URL)
        assert (again.returncode, project.history) == (0, [1, 2])
        assert [each.by for each in releases.approvals(project.store, MODEL)] == [f"grace, {BUILD_URL}", name]
        assert [each.approval for each in releases.releases(project.store, MODEL)] == [1, 2]
        project.test_again(1, ["it is wrong"])
        refused = trainyard(project, *words)
        assert (refused.returncode, "failed its newest acceptance test" in refused.stderr) == (3, True)
    finally:
        project.stop()


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_user_that_the_how_to_recommends_can_promote_and_roll_back(tmp_path, tiny_models):
    """Automatic reverts are recorded as `by` trainyard, too: what a release is depends on its kind alone."""
    project = Project(tmp_path, tiny_models)
    (user,) = re.findall(
        r'^user = "(.+)"$', (ROOT / "docs/how-to/jenkins.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert user == "trainyard"
    for kind in ("thirds", "dull", "thirds"):
        project.publish(kind)
    by = ("--here", f"--by={user}")  # as the Jenkins job calls it, started by this user
    try:
        for version in (1, 2, 3):
            there = {"BUILD_URL": BUILD_URL, "TRAINYARD_APPROVAL": project.token(version)}
            done = trainyard(project, "promote", "thirds", str(version), *by, **there)
            assert done.returncode == 0, done.stderr
        for version in (2, 1):  # each time one step further back
            back = trainyard(project, "rollback", "thirds", *by, "--json", BUILD_URL=BUILD_URL)
            assert (back.returncode, json.loads(back.stdout)["version"]) == (0, version), back.stderr
        found = releases.releases(project.store, MODEL)
        assert [each.kind for each in found] == ["promotion"] * 3 + ["rollback"] * 2
        assert {each.by for each in found} == {user}
    finally:
        project.stop()


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        (["--here", "--approved-by", "ada", "--approval", "x.y"], {}, "instead of --approval"),
        (["--here", "--approved-by", "ada", "--by", "grace"], {}, "instead of --by"),
        (["--here", "--approved-by", "ada"], {"TRAINYARD_APPROVAL": "x.y"}, "instead of TRAINYARD_APPROVAL"),
        (["--here", "--approved-by", " \x07"], {}, "nobody is named"),
        (["--approved-by", "ada"], {}, "is for Jenkins' promotion job"),
        (["--by", "ada"], {}, "Jenkins records who has started"),
        (["--here"], {}, "no approval token is given"),
        (["--here", "--approval", "x.y"], {"WORKSPACE": "/"}, "in the workspace of one Jenkins job"),
    ],
)
def test_what_cannot_be_approved_like_this_is_refused(project, words, more, said):
    project.publish()
    before = project.tree()
    done = trainyard(project, "promote", "thirds", "1", *words, **more)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    assert project.tree() == before


@pytest.mark.parametrize("words", [[], ["--background"], ["--status"], ["--stop"]])
def test_an_api_that_jenkins_starts_is_not_looked_for_here(project, words):
    done = trainyard(project, "serve", "thirds", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the API runs where Jenkins' promotion job starts it" in done.stderr
    assert "--status --here" in done.stderr
    assert trainyard(project, "serve", "thirds", "--status", "--here").stdout == "thirds: no API is running\n"


def test_the_doctor_knows_that_the_api_is_elsewhere(project):
    done = trainyard(project, "doctor", "--json")
    assert "the API runs where Jenkins' promotion job starts it" in done.stdout, done.stderr
