"""Secrets leave the environment of a real `trainyard` process before it starts anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config import held
from pipelines.config.held import OTHERS, TAKEN, environment_with_held
from pipelines.config.load import secret

VALUE = "s3cret-of-the-controller"
NAMES = [*(f"TRAINYARD_{name}" for name in TAKEN), *OTHERS]
CODE = """
import json, os, subprocess, sys
from pipelines.__main__ import main
from pipelines.config.load import secret
sys.argv = ["trainyard", "--help"]
try:
    main()
except SystemExit:
    pass
child = subprocess.run(["env"], capture_output=True, text=True).stdout
names = json.loads(sys.stdin.readline())
print("@" + json.dumps([[secret(name) for name in names], child, dict(os.environ)]), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def controller(tmp_path):
    """What a `trainyard` that was started with every secret can say of them, what its child and its environment have, and
    what the kernel shows of it."""
    environment = os.environ | dict.fromkeys(NAMES, VALUE) | {"HARMLESS": "yes"}
    (tmp_path / "token").write_text(VALUE + "-in-a-file")
    environment["TRAINYARD_JENKINS_TOKEN_FILE"] = str(tmp_path / "token")
    with subprocess.Popen(
        [sys.executable, "-c", CODE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(json.dumps(TAKEN) + "\n")
        process.stdin.flush()
        said = next(line for line in process.stdout if line.startswith("@"))
        shown = Path(f"/proc/{process.pid}/environ").read_bytes().decode()
        owner = Path(f"/proc/{process.pid}/environ").stat().st_uid
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.communicate("\n", timeout=20)
    return [*json.loads(said[1:]), shown, owner, limits]


def test_it_has_its_secrets_and_nobody_else_does(controller):
    secrets, child, environment, shown, _, _ = controller
    assert secrets == [VALUE + "-in-a-file" if name == "JENKINS_TOKEN" else VALUE for name in TAKEN]
    for place in (child, json.dumps(environment), shown):
        assert VALUE not in place
        assert "HARMLESS" in place
    assert not environment.keys() & {*NAMES, "TRAINYARD_JENKINS_TOKEN_FILE"}


def test_what_the_kernel_shows_is_still_an_environment(controller):
    shown = dict(entry.split("=", 1) for entry in controller[3].split("\0") if "=" in entry)
    assert shown["HARMLESS"] == "yes"
    assert shown["PATH"] == os.environ["PATH"]
    assert {shown[name] for name in NAMES} == {""}


def test_it_leaves_no_core_dump_and_belongs_to_root_alone(controller):
    owner, limits = controller[4:]
    assert owner == 0
    (line,) = [each for each in limits.splitlines() if each.startswith("Max core file size")]
    assert line.split()[4] == "0"


def test_a_secret_that_was_taken_counts_where_the_environment_of_this_process_is_asked(monkeypatch):
    monkeypatch.setattr(held, "_held", {"TRAINYARD_SMTP_PASSWORD": VALUE})
    assert secret("SMTP_PASSWORD") == VALUE
    assert secret("SMTP_PASSWORD", {}) == ""
    monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD", "set since")
    assert environment_with_held(os.environ)["TRAINYARD_SMTP_PASSWORD"] == "set since"


def test_a_secret_file_is_read_once(tmp_path):
    (tmp_path / "secret").write_text("first\n")
    environment = {"TRAINYARD_SMTP_PASSWORD_FILE": str(tmp_path / "secret")}
    assert secret("SMTP_PASSWORD", environment) == "first"
    (tmp_path / "secret").write_text("planted later\n")
    assert secret("SMTP_PASSWORD", environment) == "first"
