"""A git server that accepts and never answers: whoever waits for it can still be stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from pipelines.repositories import git, processes
from registry.errors import ConfigError

CONFIG = """
model = "digits"
[repositories]
code = "git://127.0.0.1:{port}/x"
dataset = "{folder}/dataset.git"
tests = "{folder}/tests.git"
"""


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


@pytest.fixture
def config(tmp_path, server):
    """The code repository hangs; the two others answer."""
    environment = os.environ | {
        f"GIT_{who}_{what}": "dev@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    for name in ("dataset", "tests"):
        for command in (
            f"init --quiet --initial-branch=main {name}.git",
            f"-C {name}.git commit --quiet --allow-empty -m first",
        ):
            subprocess.run(["git", *command.split()], cwd=tmp_path, env=environment, check=True)
    path = tmp_path / "trainyard.toml"
    path.write_text(CONFIG.format(port=server.getsockname()[1], folder=tmp_path), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "code"], 143),
        (["run", "code", "--commit", "1" * 40], 143),
        (["watch"], 0),
    ],
    ids=["while it resolves", "while it fetches", "while it watches"],
)
def test_sigterm_ends_it_at_once_and_leaves_no_git_behind(config, server, arguments, code):
    command = [sys.executable, "-P", "-m", "pipelines", *arguments, "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            connection, _ = server.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                said = process.communicate(timeout=20)[1]  # git itself would be waited for a minute and longer
                connection.settimeout(20)
                while connection.recv(4096):  # git's request, then the end: it has gone
                    pass
        finally:
            process.kill()
    assert process.returncode == code
    assert "Traceback" not in said


def test_a_repository_that_fails_does_not_leave_the_others_waiting(server):
    url = f"git://127.0.0.1:{server.getsockname()[1]}/x"
    connections = []

    def head(name):
        if name == "good":
            return git.head(url, "main", name)
        connections.append(server.accept()[0])  # now the good one waits
        raise ConfigError("an error")

    with pytest.raises(ConfigError, match="an error"):
        processes.in_parallel(head, ("bad", "good"))
    connections[0].close()
    with pytest.raises(ConfigError, match="cannot read"):
        git.head("/nowhere", "main", "git can be used again")
