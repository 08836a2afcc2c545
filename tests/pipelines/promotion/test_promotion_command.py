"""`trainyard promote` and `trainyard rollback`, as a person types them."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from promotion_parts import LEFT, RIGHT, Project, ask, frozen

from pipelines.commands.promote import read_token, who
from registry import releases
from registry.errors import ConfigError

SETTINGS = """
model = "thirds"
home = "home"
repositories = {code = "code", dataset = "dataset", tests = "tests"}
registry = {url = "file://registry"}
serving = {port = 0, workers = 1, threads = 2}
"""


def begin(project, *words, **environment):
    (project.folder / "trainyard.toml").write_text(SETTINGS)
    (project.folder / "gitconfig").write_text("[user]\nemail = ada@company.example\n")
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipelines", *words, "--config", project.folder / "trainyard.toml"],
        env=os.environ | {"GIT_CONFIG_GLOBAL": str(project.folder / "gitconfig")} | environment, cwd=project.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def trainyard(project, *words, stdin="", **environment):
    with begin(project, *words, **environment) as process:
        stdout, stderr = process.communicate(stdin)
    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)


@pytest.mark.tensorflow
def test_the_token_may_come_by_flag_standard_input_or_environment(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    tokens = [project.token(project.publish(kind)) for kind in ("dull", "thirds", "dull")]
    try:
        flag = trainyard(project, "promote", "thirds", "1", "--approval", tokens[0])
        assert flag.returncode == 0, flag.stderr
        assert flag.stdout.startswith("thirds version 1 is live: release 1, by ada@company.example")
        assert f"curl -s {project.url}/example | curl -s --data-binary @- {project.url}/predict" in flag.stdout
        stdin = trainyard(project, "promote", "thirds", "2", "--approval", "-", "--json", stdin=f"{tokens[1]}\n")
        assert (stdin.returncode, json.loads(stdin.stdout)["number"]) == (0, 2)
        assert json.loads(stdin.stdout)["url"] == project.url
        said = trainyard(project, "promote", "thirds", "3", "--by", "Grace", TRAINYARD_APPROVAL=tokens[2])
        assert "release 3, by Grace" in said.stdout
        assert not any(token in done.stdout + done.stderr for token in tokens for done in (flag, stdin, said))
        back = trainyard(project, "rollback", "thirds", "--reason", "too many mistakes", "--json")
        assert (json.loads(back.stdout)["version"], json.loads(back.stdout)["reason"]) == (2, "too many mistakes")
        assert ask(project.url, RIGHT)[1]["release"] == 4
        assert trainyard(project, "rollback", "thirds", "--to", "1").stdout.startswith(
            "thirds version 1 is live: release 5"
        )
        assert ask(project.url, LEFT)[1]["version"] == 1
        assert [each.by for each in releases.approvals(project.store, "thirds")] == ["ada@company.example"] * 2 + [
            "Grace"
        ]
    finally:
        project.stop()


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_version_that_was_compared_with_another_live_one_is_promoted_only_although(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    for kind, parent in (("thirds", None), ("dull", 1), ("thirds", 1)):
        project.publish(kind, parent=parent)

    def promote(version, *more):
        return trainyard(project, "promote", "thirds", version, *more, TRAINYARD_APPROVAL=project.token(int(version)))

    try:
        for version in ("1", "3"):
            done = promote(version, "--although", "no need")
            assert (done.returncode, "nothing spoke against it" in done.stdout) == (0, True), done.stderr
        before = project.tree()
        refused = promote("2")
        assert (refused.returncode, refused.stdout, project.tree()) == (3, "", before)
        said = "version 2 was compared with version 1, and would replace version 3: it could not be measured beside it"
        assert said in refused.stderr
        although = promote("2", "--although", "the dataset is\ngone")
        assert although.returncode == 0, although.stderr
        assert "code: cannot read" in although.stdout
        assert although.stdout.splitlines()[-2].endswith(": the dataset is gone")
        assert "no mail server is set" in although.stdout.splitlines()[-1]
        made = releases.live(project.store, "thirds")
        assert (made.version, made.although, len(made.failed), made.compared) == (2, "the dataset is gone", 1, None)
        (mail,) = (project.home / "outbox" / "pending").glob("*.eml")
        assert "the dataset is gone" in mail.read_text()
        again = promote("2", "--json")
        assert (json.loads(again.stdout)["although"], "although" in again.stderr) == ("the dataset is gone", True)
        assert len(list((project.home / "outbox" / "pending").glob("*.eml"))) == 1
    finally:
        project.stop()


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)],
    ids=["TERM", "Ctrl-C", "KILL"],
)
def test_a_promotion_that_is_ended_while_it_waits_undoes_nothing_and_resumes(tmp_path, tiny_models, sent, code):
    project = Project(tmp_path, tiny_models)
    project.publish("dull")
    project.publish("thirds")
    token = {"TRAINYARD_APPROVAL": project.token(2)}
    try:
        trainyard(project, "promote", "thirds", "1", TRAINYARD_APPROVAL=project.token(1))
        with frozen(project), begin(project, "promote", "thirds", "2", **token) as waiting:
            while project.history != [1, 2]:
                assert waiting.poll() is None
                time.sleep(0.02)
            waiting.send_signal(sent)
            assert waiting.wait(60) == code
        assert project.history == [1, 2]
        done = trainyard(project, "promote", "thirds", "2", **token)
        assert (done.returncode, "version 2 is live: release 2" in done.stdout) == (0, True)
        assert ask(project.url)[1]["release"] == 2
        assert project.history == [1, 2]
    finally:
        project.stop()


@pytest.mark.slow
@pytest.mark.tensorflow
def test_changed_settings_are_reported_and_another_registry_is_refused(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    project.publish("thirds")
    project.publish("dull")
    try:
        assert trainyard(project, "promote", "thirds", "1", TRAINYARD_APPROVAL=project.token(1)).stderr == ""
        port = project.url.rpartition(":")[2]
        done = trainyard(
            project, "promote", "thirds", "2", TRAINYARD_APPROVAL=project.token(2), TRAINYARD_SERVING_PORT="9"
        )
        assert (done.returncode, project.history) == (0, [1, 2])
        said = f"the API runs with other settings (port {port}, not 9): `trainyard serve thirds --stop`, then start it again"
        assert said in done.stderr
        back = trainyard(project, "rollback", "thirds", TRAINYARD_SERVING_WORKERS="2")
        assert (back.returncode, "(workers 1, not 2)" in back.stderr) == (0, True)
        (project.folder / "registry").rename(project.folder / "moved")
        moved = f"file://{project.folder / 'moved'}"
        lost = trainyard(project, "rollback", "thirds", "--to", "2", TRAINYARD_REGISTRY_URL=moved)
        assert (lost.returncode, "is another one: registry" in lost.stderr) == (2, True)
        assert not (project.folder / "moved/production/thirds/releases/000004.json").exists()
    finally:
        project.stop()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["promote", "thirds", "1"], 2, "no approval token is given"),
        (["promote", "thirds", "one"], 2, "invalid int value: 'one'"),
        (["promote", "letters", "1", "--approval", "x"], 2, "is about model 'thirds', not 'letters'"),
        (["promote", "third", "1", "--approval", "x"], 2, "did you mean thirds?"),
        (["promote", "thirds", "9", "--approval", "x"], 2, "there is no such version"),
        (["promote", "thirds", "1", "--approval", "x"], 3, "the approval token is malformed"),
        (["rollback", "letters"], 2, "is about model 'thirds', not 'letters'"),
        (["rollback", "thirds"], 2, "no version of thirds was released yet"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_exit_code_for_it(tmp_path, words, code, said):
    project = Project(tmp_path)
    project.publish()
    before = project.tree()
    done = trainyard(project, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert project.tree() == before


def test_a_token_on_standard_input_needs_no_line_end_and_an_empty_one_is_missing():
    assert read_token("-", {}, io.StringIO("abc")) == "abc"
    assert read_token("", {"TRAINYARD_APPROVAL": " abc\n"}, io.StringIO()) == "abc"
    for given in ("-", ""):
        with pytest.raises(ConfigError, match="no approval token"):
            read_token(given, {}, io.StringIO(""))


def test_a_token_may_be_in_a_file_as_any_secret(tmp_path):
    (tmp_path / "token").write_text("abc\n")
    named = {"TRAINYARD_APPROVAL_FILE": str(tmp_path / "token")}
    assert read_token("", named, io.StringIO()) == "abc"
    assert read_token("flag", named, io.StringIO()) == "flag"
    with pytest.raises(ConfigError, match="TRAINYARD_APPROVAL_FILE: cannot read"):
        read_token("", {"TRAINYARD_APPROVAL_FILE": str(tmp_path / "none")}, io.StringIO())


def test_without_a_git_identity_the_user_and_the_machine_are_recorded(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    assert "@" in who()


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_jenkins_user_that_the_documentation_recommends_promotes_and_rolls_back(tmp_path, tiny_models):
    """The job `promotion` passes the Jenkins user as --by."""
    how_to = (Path(__file__).parents[3] / "docs" / "how-to" / "jenkins.md").read_text(encoding="utf-8")
    user = re.search(r'^user = "(.+)"$', how_to, re.MULTILINE)[1]
    assert f"Create a Jenkins user for `{user}`" in how_to
    project = Project(tmp_path, tiny_models)
    tokens = [project.token(project.publish(kind)) for kind in ("dull", "thirds")]
    try:
        for number, token in enumerate(tokens, 1):
            done = trainyard(project, "promote", "thirds", str(number), "--by", user, TRAINYARD_APPROVAL=token)
            assert f"release {number}, by {user}" in done.stdout, done.stderr
        back = trainyard(project, "rollback", "thirds", "--by", user, "--json")
        assert json.loads(back.stdout)["version"] == 1, back.stderr
        shown = json.loads(trainyard(project, "registry", "history", "--json").stdout)
        assert [(each["kind"], each["by"]) for each in shown] == [
            ("rollback", user),
            ("promotion", user),
            ("promotion", user),
        ]
    finally:
        project.stop()
