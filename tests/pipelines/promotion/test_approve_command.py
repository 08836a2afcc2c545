"""`trainyard approve`, and a promotion that needs two people, as people type them."""

import json
import os
import pwd
import socket
import subprocess
import sys

import pytest
from promotion_parts import Project

from registry import candidates, releases
from registry.signatures import make_key, save_key

SETTINGS = """
model = "thirds"
home = "home"
repositories = {{code = "code", dataset = "dataset", tests = "tests"}}
registry = {{url = "file://registry"}}
serving = {{port = 0, workers = 1, threads = 2}}
[approval]
{approval}
"""
ME = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    yield made
    made.stop()


def settings(project, **approval):
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in approval.items())
    (project.folder / "trainyard.toml").write_text(SETTINGS.format(approval=lines))


def trainyard(project, *words, **environment):
    # somebody may set $USER, and git's address, to whatever they like
    claims = {"USER": "grace", "LOGNAME": "grace", "GIT_CONFIG_GLOBAL": str(project.folder / "gitconfig")}
    (project.folder / "gitconfig").write_text("[user]\nemail = ada@company.example\n")
    return subprocess.run(
        [sys.executable, "-P", "-m", "pipelines", *words, "--config", project.folder / "trainyard.toml"],
        env=os.environ | claims | environment, cwd=project.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def key(project, name="id_ed25519"):
    signer = make_key()
    save_key(signer, project.folder / name)
    return signer.public, str(project.folder / name)


def test_it_prints_the_signed_text_alone_and_changes_nothing(project):
    public, path = key(project)
    project.publish()
    settings(project, approvers=[f"{public.text} ada@company.example"])
    before = project.tree()
    done = trainyard(project, "approve", "thirds", "1", "--key", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("signed:")
    assert len(done.stdout.split()) == 1
    assert "ada@company.example approves thirds version 1 (accuracy 0.97" in done.stderr
    assert "does not list this key" not in done.stderr
    said = trainyard(project, "approve", "thirds", "1", "--key", path, "--json", "--by", "Grace")
    facts = json.loads(said.stdout)
    digest = candidates.manifest_digest(project.store, "thirds", 1)
    assert (facts["by"], facts["card"], facts["key"], facts["version"]) == ("Grace", digest, public.id, 1)
    assert project.tree() == before
    assert (project.folder / "id_ed25519").read_text().splitlines()[1] not in done.stdout + done.stderr + said.stdout


def test_whoever_types_it_the_record_names_the_owner_of_the_key(project):
    public, path = key(project)
    project.publish()
    settings(project, approvers=["ada", f"{public.text} edith@company.example"])
    said = json.loads(trainyard(project, "approve", "thirds", "1", "--key", path, "--json").stdout)
    assert said["by"] == "edith@company.example"
    settings(project, approvers=["ada", public.text])
    said = json.loads(trainyard(project, "approve", "thirds", "1", "--key", path, "--json").stdout)
    assert said["by"] == "ada@company.example"


def test_a_key_that_is_not_listed_is_said_before_it_is_refused(project):
    public, path = key(project)
    project.publish()
    settings(project, approvers=["ada"])
    done = trainyard(project, "approve", "thirds", "1", "--key", path)
    assert f'does not list this key: "{public.text}"' in done.stderr
    refused = trainyard(project, "promote", "thirds", "1", "--approval", done.stdout.strip())
    assert refused.returncode == 3
    assert "is signed by a key that [approval] approvers does not list" in refused.stderr
    assert public.text in refused.stderr
    assert releases.approvals(project.store, "thirds") == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["thirds", "1", "--key", "none"], 2, "there is no such key"),
        (["thirds", "1", "--key", "trainyard.toml"], 2, "others may read or write this private key"),
        (["thirds", "7", "--key", "id_ed25519"], 2, "there is no such version"),
        (["letters", "1", "--key", "id_ed25519"], 2, "is about model 'thirds', not 'letters'"),
        (["thirds", "1"], 2, "required: --key"),
    ],
    ids=["no key", "a file that others may read", "no version", "another model", "no flag"],
)
def test_what_cannot_be_signed_is_refused(project, words, code, said):
    key(project)
    project.publish()
    settings(project)
    (project.folder / "trainyard.toml").chmod(0o644)
    done = trainyard(project, "approve", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_who_is_seen_is_the_user_of_the_process_whatever_the_environment_and_the_caller_say(project):
    project.publish()
    settings(project, approvers=["grace"])
    done = trainyard(project, "promote", "thirds", "1", "--by", "grace", TRAINYARD_APPROVAL=project.token(1))
    assert done.returncode == 3
    assert f"the approval does not count: grace (seen as {ME}) is not among [approval] approvers" in done.stderr
    assert releases.approvals(project.store, "thirds") == []


def test_the_first_of_two_approvals_is_recorded_and_ends_with_3(project):
    public, _path = key(project)
    project.publish()
    settings(project, approvers=[f"{public.text} grace", ME], needed=2)
    done = trainyard(project, "promote", "thirds", "1", "--json", TRAINYARD_APPROVAL=project.token(1))
    said = json.loads(done.stdout)
    assert (done.returncode, said["exit_code"]) == (3, 3)
    assert "is recorded as number 1; 1 more person must approve thirds version 1" in said["error"]
    assert "by one of grace, makes the release" in said["hint"]
    (given,) = releases.approvals(project.store, "thirds")
    assert (given.by, given.seen, given.way) == ("ada@company.example", ME, "token")
    assert releases.releases(project.store, "thirds") == []
    again = trainyard(project, "promote", "thirds", "1", TRAINYARD_APPROVAL=project.token(1))
    assert (again.returncode, "has approved before; 1 more person" in again.stderr) == (3, True)


@pytest.mark.tensorflow
def test_the_second_one_makes_the_release_and_the_history_names_both(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    public, path = key(project)
    project.publish("thirds")
    settings(project, approvers=[f"{public.text} grace", ME], needed=2, author_may_approve=False)
    try:
        first = trainyard(project, "promote", "thirds", "1", TRAINYARD_APPROVAL=project.token(1))
        assert first.returncode == 3
        text = trainyard(project, "approve", "thirds", "1", "--key", path, "--by", "Grace").stdout
        done = trainyard(project, "promote", "thirds", "1", TRAINYARD_APPROVAL=text)
        assert done.returncode == 0, done.stderr
        assert "promoted with approvals 2, 1" in done.stdout
        assert project.ask()[0] == 200
        (row,) = json.loads(trainyard(project, "registry", "history", "--json").stdout)
        assert row["approved_by"] == f"Grace (key {public.short}), ada@company.example (seen as {ME})"
        assert trainyard(project, "registry", "verify").returncode == 0
        (before, given) = releases.approvals(project.store, "thirds")
        assert (given.way, given.seen, given.signed, before.way) == ("key", public.id, text.strip(), "token")
    finally:
        project.stop()
