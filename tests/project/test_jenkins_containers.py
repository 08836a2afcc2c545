"""The entry points of the controller's and the agent's container, run as they are, with stand-ins for Java and Jenkins."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = {
    name: name.lower()
    for name in (
        "JENKINS_ADMIN_PASSWORD",
        "JENKINS_ENGINEER_PASSWORD",
        "JENKINS_OWNER_PASSWORD",
        "JENKINS_AGENT_PASSWORD",
        "GIT_READER_PASSWORD",
    )
}
SECRET = "5e" * 32
JNLP = (
    f"<jnlp>\n  <application-desc>\n<argument>{SECRET}</argument><argument>agent</argument></application-desc></jnlp>"
)
JAVA = """#!/bin/sh
printf '%s\\n' "$@" >"$SEEN/arguments"
cat "${9#@}" >"$SEEN/secret"
env >"$SEEN/environment"
cat "$2" >"$SEEN/jar"
"""


# --- agent -----------------------------------------------------------------------------------------------------------


class Controller(http.server.BaseHTTPRequestHandler):
    """The two pages that an agent asks for; busy for the first request."""

    asked: list[str]
    knows_the_agent = True

    def do_GET(self):
        self.asked.append(self.path)
        user, _, password = base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
        pages = {"/jnlpJars/agent.jar": "a jar"}
        if self.knows_the_agent:
            pages["/computer/agent/jenkins-agent.jnlp"] = JNLP
        status = 503 if len(self.asked) == 1 else 200 if self.path in pages else 404
        if (user, password) != ("agent", "pa ss"):
            status = 401
        self.send_response(status)
        self.end_headers()
        self.wfile.write(pages.get(self.path, "").encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def controller():
    handler = type("Handler", (Controller,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        handler.url = f"http://127.0.0.1:{server.server_port}"
        yield handler
        server.shutdown()


def connect(tmp_path, url, **more):
    """How docker/agent/connect ended, with a Java that writes down what it sees."""
    (tools := tmp_path / "bin").mkdir()
    (tools / "java").write_text(JAVA)
    (tools / "java").chmod(0o755)
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "SEEN": str(tmp_path),
        "CONTROLLER_URL": url,
        "JENKINS_AGENT_PASSWORD": "pa ss",
        "AGENT_FOLDER": str(tmp_path / "agent"),
        "WAIT_SECONDS": "0.1",
    }
    script = str(ROOT / "docker" / "agent" / "connect")
    return subprocess.run([script], env=environment | more, capture_output=True, text=True, timeout=60, check=False)


def test_an_agent_waits_for_jenkins_and_connects_through_its_web_port(tmp_path, controller):
    done = connect(tmp_path, controller.url + "/")
    assert done.returncode == 0, done.stderr
    assert controller.asked == ["/jnlpJars/agent.jar"] * 2 + ["/computer/agent/jenkins-agent.jnlp"]
    assert done.stderr.count("waiting for") == 1
    arguments = (tmp_path / "arguments").read_text().split()
    folder = str(tmp_path / "agent")
    assert arguments[:2] == ["-jar", f"{folder}/agent.jar"]
    assert arguments[2:] == [
        "-url", f"{controller.url}/", "-name", "agent", "-webSocket", "-secret", "@/dev/fd/3", "-workDir", folder,
    ]  # fmt: skip
    assert (tmp_path / "secret").read_text() == f"{SECRET}\n"
    assert (tmp_path / "jar").read_text() == "a jar"


def test_builds_inherit_neither_password_nor_secret(tmp_path, controller):
    connect(tmp_path, controller.url)
    environment = (tmp_path / "environment").read_text()
    assert "pa ss" not in environment
    assert SECRET not in environment


def test_an_agent_that_jenkins_does_not_know_is_reported(tmp_path, controller):
    controller.knows_the_agent = False
    done = connect(tmp_path, controller.url)
    assert done.returncode == 2
    assert "no secret for the agent agent" in done.stderr


@pytest.mark.parametrize("name", ["CONTROLLER_URL", "JENKINS_AGENT_PASSWORD"])
def test_an_agent_without_a_setting_does_not_start(tmp_path, name):
    done = connect(tmp_path, "http://127.0.0.1:1", **{name: ""})
    assert done.returncode != 0
    assert name in done.stderr


# --- controller ------------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path):
    """Runs jenkins/start-controller, with a Jenkins that shows its environment; gives how it ended."""
    text = (ROOT / "jenkins" / "start-controller").read_text(encoding="utf-8")
    assert "/usr/local/bin/jenkins.sh" in text
    (jenkins := tmp_path / "jenkins.sh").write_text('#!/bin/sh\nenv\necho "arguments: $*"\n')
    (script := tmp_path / "start").write_text(text.replace("/usr/local/bin/jenkins.sh", str(jenkins)))
    jenkins.chmod(0o755)
    (tmp_path / "home").mkdir()

    def run(**environment):
        base = {"PATH": "/usr/bin:/bin", "JENKINS_HOME": str(tmp_path / "home")}
        return subprocess.run(
            ["bash", str(script), "--one"], env=base | environment, capture_output=True, text=True, check=False
        )

    return run


def tokens(tmp_path):
    """[(name, hash)], read as Jenkins' XStream does: the class of each entry is its element's name."""
    file = tmp_path / "home" / "hudson.plugins.git.ApiTokenPropertyConfiguration.xml"
    tree = ET.fromstring(file.read_text().split("\n", 1)[1])  # Jenkins writes XML 1.1, which Python does not read
    assert tree.tag == "hudson.plugins.git.ApiTokenPropertyConfiguration"
    entries = tree.findall("apiTokens/*")
    assert {each.tag for each in entries} <= {f"{tree.tag}_-HashedApiToken"}
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each.findtext("uuid")) for each in entries)
    return [(each.findtext("name"), each.findtext("hash")) for each in entries]


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def test_jenkins_starts_with_the_token_for_git_servers(tmp_path, start):
    done = start(TRAINYARD_JENKINS_NOTIFY_TOKEN="abc", **PASSWORDS)
    assert done.returncode == 0, done.stderr
    assert "arguments: --one" in done.stdout
    assert "TRAINYARD_JENKINS_NOTIFY_TOKEN" not in done.stdout
    assert tokens(tmp_path) == [("trainyard", digest("abc"))]


def test_a_token_is_added_once_and_those_of_others_stay(tmp_path, start):
    for token in ("abc", "abc", "def"):
        start(TRAINYARD_JENKINS_NOTIFY_TOKEN=token, **PASSWORDS)
    assert sorted(tokens(tmp_path)) == sorted([("trainyard", digest("abc")), ("trainyard", digest("def"))])


def test_an_empty_list_of_tokens_is_filled(tmp_path, start):
    name = "hudson.plugins.git.ApiTokenPropertyConfiguration"
    (tmp_path / "home" / f"{name}.xml").write_text(
        f"<?xml version='1.1' encoding='UTF-8'?>\n<{name} plugin=\"git@5.10.1\">\n  <apiTokens/>\n</{name}>"
    )
    start(TRAINYARD_JENKINS_NOTIFY_TOKEN="abc", **PASSWORDS)
    assert tokens(tmp_path) == [("trainyard", digest("abc"))]


@pytest.mark.parametrize("name", [*PASSWORDS, "TRAINYARD_JENKINS_NOTIFY_TOKEN"])
def test_jenkins_does_not_start_without_a_password(start, name):
    done = start(**PASSWORDS | {"TRAINYARD_JENKINS_NOTIFY_TOKEN": "abc", name: ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr


# --- all scripts -----------------------------------------------------------------------------------------------------

SCRIPTS = ["docker/jenkins/server", "docker/agent/connect", "docker/git/serve", "docker/git/certificate"]
SCRIPTS += ["docker/mail/catch", "jenkins/start-controller"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_run_and_their_shell_reads_them(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = re.match(r"#!(?:/usr/bin/env )?(?:/bin/)?(sh|bash)\n", path.read_text(encoding="utf-8"))[1]
    subprocess.run([shutil.which(shell), "-n", str(path)], check=True)


# --- make jenkins ----------------------------------------------------------------------------------------------------

DOCKER = """#!/bin/bash
# An engine that has, and can pull, only the images in $IMAGES.
echo "$*" >>"$CALLS"
case "$1 $2" in
    "version "*) exit "${ENGINE:-0}" ;;
    "compose version") exit 0 ;;
    "image inspect") [[ " $IMAGES " == *" $3 "* ]] ;;
    "pull -q") exit 1 ;;
    *) echo "not expected: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Runs docker/jenkins/server in a copy of what it reads, with an engine that makes believe."""
    (folder := tmp_path / "checkout" / "docker" / "jenkins").mkdir(parents=True)
    shutil.copy(ROOT / "docker" / "jenkins" / "server", folder)
    (tools := tmp_path / "bin").mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)

    def run(verb="start", **environment):
        base = {"PATH": f"{tools}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "IMAGES": "", "HOME": str(tmp_path)}
        return subprocess.run(
            [str(folder / "server"), verb], env=base | environment, capture_output=True, text=True, check=False
        )

    run.variables = tmp_path / "checkout" / ".trainyard" / "jenkins.env"
    return run


def test_make_jenkins_reports_every_image_that_cannot_be_had_and_what_helps(make):
    done = make()
    assert done.returncode == 2
    for name in ("jenkins/jenkins:", "python:3.11-slim-trixie", "debian:bookworm-slim", "axllent/mailpit:"):
        assert re.search(rf"^    {name}.*: name another one in TRAINYARD_", done.stderr, re.MULTILINE)
    assert "SUITE=trixie docker/base/make" in done.stderr


def test_our_own_bases_stand_in_for_the_public_ones(make):
    done = make(IMAGES="trainyard-base:trixie trainyard-base:bookworm trainyard-mail")
    assert re.findall(r"^    (\S+): ", done.stderr, re.MULTILINE) == ["jenkins/jenkins:2.541.2-lts-jdk21"]
    assert "TRAINYARD_AGENT_BASE=trainyard-base:trixie\n" in make.variables.read_text()


def test_without_an_engine_it_says_so(make):
    done = make(ENGINE="1")
    assert done.returncode == 2
    assert "no Docker engine answers" in done.stderr
    assert not make.variables.exists()


def test_passwords_are_made_once_and_are_nobody_elses(make):
    make()
    first = dict(line.split("=", 1) for line in make.variables.read_text().splitlines())
    assert make.variables.stat().st_mode & 0o777 == 0o600
    secrets = {name: value for name, value in first.items() if name.endswith(("PASSWORD", "TOKEN"))}
    assert set(secrets) >= {*PASSWORDS, "GIT_TEAM_PASSWORD", "TRAINYARD_JENKINS_NOTIFY_TOKEN"}
    assert all(re.fullmatch(r"[0-9a-f]{32}", value) for value in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    done = make()
    assert dict(line.split("=", 1) for line in make.variables.read_text().splitlines()) == first
    assert make.variables.stat().st_mode & 0o777 == 0o600
    assert "Writing new passwords" not in done.stderr


def test_the_passwords_are_where_git_does_not_look():
    ignored = subprocess.run(["git", "check-ignore", "-q", ".trainyard/jenkins.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0
