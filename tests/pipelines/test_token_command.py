"""`trainyard token`: a token is printed once, and the list never shows one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config.load import load_config
from pipelines.deploy import api_folder
from pipelines.deploy.serve_job import serve_job, staging_job, token_file
from serving.access import tokens

CONFIG = """
model = "m"
[repositories]
code = "c"
dataset = "d"
tests = "t"
[serving]
auth = "tokens"
host = "0.0.0.0"
certfile = "tls/cert.pem"
keyfile = "tls/key.pem"
allowed_hosts = "api.example"
requests_per_second = 5
"""


@pytest.fixture
def trainyard(tmp_path):
    (tmp_path / "trainyard.toml").write_text(CONFIG)

    def call(*arguments):
        command = [sys.executable, "-P", "-m", "pipelines", "token", *arguments]
        root = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": root}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return call


def known(tmp_path):
    return tokens.read(token_file(load_config(tmp_path / "trainyard.toml", {})))


def test_make_prints_the_token_and_nothing_else(trainyard, tmp_path):
    done = trainyard("make", "shop", "--role", "predict,feedback")
    assert (done.returncode, done.stderr) == (0, "")
    (token,) = done.stdout.splitlines()
    (record,) = known(tmp_path).tokens
    assert (record.name, record.roles, record.sha256) == ("shop", ("predict", "feedback"), tokens.digest_of(token))
    as_json = json.loads(trainyard("make", "other", "--json").stdout)
    assert as_json.keys() == {"name", "roles", "token"}
    assert known(tmp_path).find(as_json["token"]).name == "other"
    listed = trainyard("list")
    assert "shop  predict, feedback  made " in listed.stdout
    for secret in (token, as_json["token"], record.sha256):
        assert secret not in listed.stdout + trainyard("list", "--json").stdout


def test_revoke_says_how_many_and_refuses_a_name_without_any(trainyard, tmp_path):
    trainyard("make", "shop")
    trainyard("make", "shop")
    assert "shop: 2 tokens revoked" in trainyard("revoke", "shop").stdout
    assert known(tmp_path).tokens == ()
    done = trainyard("revoke", "shop")
    assert done.returncode == 2
    assert "shop has no token" in done.stderr
    assert trainyard("list").stdout == "there are no tokens\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a b",), "not a name"),
        (("a", "--role", "root"), "no such role"),
        (("a", "--role", ","), "none is given"),
        (("a", "--days", "-1"), "not possible"),
    ],
)
def test_what_cannot_be_made_is_refused(trainyard, arguments, said):
    done = trainyard("make", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_tokens_of_an_api_that_jenkins_starts_are_made_there(trainyard, tmp_path):
    (tmp_path / "trainyard.toml").write_text(CONFIG.replace("auth =", 'deploy = "jenkins"\nauth ='))
    done = trainyard("make", "shop")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`trainyard token make shop --here`" in done.stderr


def test_an_api_that_asks_for_none_is_mentioned(trainyard, tmp_path):
    (tmp_path / "trainyard.toml").write_text(CONFIG.replace('auth = "tokens"', "open = true"))
    done = trainyard("make", "shop")
    assert len(done.stdout.splitlines()) == 1
    assert 'only with [serving] auth = "tokens"' in done.stderr


def test_the_staging_instance_asks_nobody_for_anything(trainyard, tmp_path):
    config = load_config(tmp_path / "trainyard.toml", {})
    production, staging = serve_job(config), staging_job(config)
    assert production.tokens.endswith("/access/m/tokens.json")
    assert not Path(production.tokens).is_relative_to(api_folder(config))  # which the API may write
    assert production.certfile == str(tmp_path / "tls" / "cert.pem")
    assert (staging.auth, staging.tokens, staging.certfile, staging.keyfile) == ("none", "", "", "")
    assert (staging.allowed_hosts, staging.cors_origins, staging.requests_per_second) == ((), (), 0)
    assert (staging.host, staging.admin_host) == ("127.0.0.1", "127.0.0.1")
    same = ("workers", "threads", "max_body_mb", "max_instances", "timeout_seconds")
    assert all(getattr(production, name) == getattr(staging, name) for name in same)


@pytest.fixture
def elsewhere(trainyard, tmp_path, monkeypatch):
    """As `trainyard`, where the API has copies of the files, on an engine that is away."""
    (tmp_path / "trainyard.toml").write_text(f'{CONFIG}deploy = "docker"\nregistry_volume = "registry"\n')
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'no.sock'}")
    return trainyard


def test_an_api_that_cannot_be_given_the_new_tokens_is_reported_and_the_token_is_not_lost(elsewhere, tmp_path):
    made = elsewhere("make", "shop")
    assert made.returncode == 75, made.stderr
    assert known(tmp_path).find(made.stdout.strip()).name == "shop"
    revoked = elsewhere("revoke", "shop")
    assert (revoked.returncode, revoked.stdout) == (75, ""), "it is not said to be revoked as long as it holds"
    for done in (made, revoked):
        assert "the file of tokens is changed, but the API still has the old one" in done.stderr
        assert "`trainyard serve m --background` gives it the new one" in done.stderr
    assert known(tmp_path).tokens == ()
    assert elsewhere("list").returncode == 0
