"""The images of `make jenkins` that Debian's packages suffice for, built and run: the git server and the mail catcher."""

from __future__ import annotations

import contextlib
import os
import smtplib
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BASE = "trainyard-base:bookworm"
SAFE = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
HOOK = """#!/bin/sh
echo "the hook of $(basename "$PWD") ran as $(id -u)"
"""

pytestmark = pytest.mark.docker


def docker(*arguments, **options):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(engine, without_docker):
    """Builds docker/<name> on our own base; gives the image's name."""
    if not engine.images.list(BASE):
        without_docker(f"there is no {BASE}: docker/base/make (as root) makes it")
    made = []

    def build(name):
        tag = f"trainyard-test-{name}:{os.getpid()}"
        command = ["docker", "build", "-q", "-t", tag, "--build-arg", f"BASE_IMAGE={BASE}", ROOT / "docker" / name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            without_docker(f"docker/{name} cannot be built: is a Debian mirror reached? {done.stderr[-500:]}")
        made.append(tag)
        return tag

    yield build
    for tag in made:
        docker("rmi", tag)


@pytest.fixture(scope="module")
def volume(engine):
    """Makes volumes that go with the test."""
    made = []

    def make():
        made.append(docker("volume", "create"))
        return made[-1]

    yield make
    for each in made:
        docker("volume", "rm", each)


@pytest.fixture(scope="module")
def run(volume):
    """Runs a container until the module's tests have ended; gives its id."""
    made = []

    def start(*arguments):
        made.append(docker("run", "-d", "--init", *SAFE, *arguments))
        return made[-1]

    yield start
    for each in made:
        docker("rm", "-f", each)


def address(container, port, hello=b"GET / HTTP/1.0\r\n\r\n"):
    """host, port on this machine, once something answers there: the engine takes connections before."""
    host, _, number = docker("port", container, str(port)).splitlines()[0].rpartition(":")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, int(number)), 5) as line:
            line.settimeout(5)
            line.sendall(hello)
            if line.recv(1):
                return host, int(number)
        time.sleep(0.1)
    pytest.fail(f"nothing answers at port {port}: {docker('logs', container)}")


@pytest.fixture(scope="module")
def git_image(image):
    return image("git")


# --- git -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(git_image, run, volume):
    """(container, host:port)"""
    passwords = ["-e", "GIT_TEAM_PASSWORD=team's", "-e", "GIT_READER_PASSWORD=reader's"]
    container = run("-v", f"{volume()}:/srv/git", "-p", "127.0.0.1::8080", *passwords, git_image)
    host, port = address(container, 8080)
    return container, f"{host}:{port}"


@pytest.fixture
def git(tmp_path, server):
    """Runs git as a user of the server; gives (exit code, what it said)."""

    def run(user, *arguments, cwd=tmp_path):
        helper = f'!f() {{ echo username={user}; echo "password={user}\'s"; }}; f' if user else ""
        environment = os.environ | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": "3",
            "GIT_CONFIG_KEY_0": "credential.helper",
            "GIT_CONFIG_VALUE_0": helper.replace("username=reader", "username=jenkins"),
            "GIT_CONFIG_KEY_1": "user.name",
            "GIT_CONFIG_VALUE_1": "A",
            "GIT_CONFIG_KEY_2": "user.email",
            "GIT_CONFIG_VALUE_2": "a@example.org",
        }
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_the_team_pushes_jenkins_reads_and_the_hook_is_heard(tmp_path, server, git):
    container, address = server
    docker("exec", "-i", container, "sh", "-c", "cat >/srv/git/code.git/hooks/post-receive", input=HOOK)
    docker("exec", container, "chmod", "755", "/srv/git/code.git/hooks/post-receive")
    url = f"http://{address}/code.git"
    assert git("team", "clone", url, "work")[0] == 0
    (tmp_path / "work" / "large").write_bytes(os.urandom(3_000_000))  # more than git sends in one piece
    git("team", "add", "large", cwd=tmp_path / "work")
    git("team", "commit", "-m", "large", cwd=tmp_path / "work")
    code, said = git("team", "push", "origin", "HEAD:main", cwd=tmp_path / "work")
    assert code == 0, said
    assert "remote: the hook of code.git ran as 65532" in said
    assert git("reader", "clone", "--depth", "1", url, "copy")[0] == 0
    assert (tmp_path / "copy" / "large").read_bytes() == (tmp_path / "work" / "large").read_bytes()


@pytest.mark.parametrize("name", ["code", "dataset", "tests", "pipeline"])
def test_the_repositories_are_there(server, git, name):
    code, said = git("reader", "ls-remote", f"http://{server[1]}/{name}.git")
    assert code == 0, said


def test_jenkins_cannot_push_and_nobody_else_reads(tmp_path, server, git):
    url = f"http://{server[1]}/tests.git"
    git("", "init", "other")
    git("", "commit", "--allow-empty", "-m", "x", cwd=tmp_path / "other")
    assert git("reader", "push", url, "HEAD:refs/heads/mine", cwd=tmp_path / "other")[0] != 0
    assert git("stranger", "ls-remote", url)[0] != 0
    assert git("", "ls-remote", url)[0] != 0
    assert git("team", "ls-remote", url) == (0, "")


def test_repositories_survive_a_restart(server, git):
    container, _ = server
    docker("exec", container, "git", "-C", "/srv/git/dataset.git", "config", "test.mark", "kept")
    docker("restart", "-t", "20", container)
    address(container, 8080)
    assert docker("exec", container, "git", "-C", "/srv/git/dataset.git", "config", "test.mark") == "kept"


def test_without_passwords_it_does_not_start(git_image):
    done = subprocess.run(
        ["docker", "run", "--rm", git_image], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode != 0
    assert "GIT_TEAM_PASSWORD" in done.stderr


# --- mail ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catcher(git_image, image, run, volume, tmp_path_factory):
    """(container, the certificate that it shows)"""
    keys, mails = volume(), volume()
    both = ["-v", f"{keys}:/srv/tls", "-v", f"{mails}:/srv/mails"]
    for _ in range(2):  # the second finds the first one's
        docker("run", "--rm", *SAFE, "--network", "none", *both, git_image, "certificate")
    certificate = tmp_path_factory.mktemp("tls") / "cert.pem"
    certificate.write_text(docker("run", "--rm", *SAFE, *both, git_image, "cat", "/srv/tls/cert.pem"))
    container = run(
        "-v", f"{keys}:/srv/tls:ro", "-v", f"{mails}:/data", "-p", "127.0.0.1::1025", "-p", "127.0.0.1::8025",
        "-e", "MP_SMTP_TLS_CERT=/srv/tls/cert.pem", "-e", "MP_SMTP_TLS_KEY=/srv/tls/key.pem", image("mail"),
    )  # fmt: skip
    return container, certificate


@pytest.mark.slow
def test_a_mail_is_caught_over_tls_and_can_be_read(catcher):
    container, certificate = catcher
    host, port = address(container, 1025, b"")
    web = ":".join(map(str, address(container, 8025)))
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False  # it is for `mail`, its name in compose
    with smtplib.SMTP(host, port, timeout=30) as session:
        with pytest.raises(smtplib.SMTPException, match="STARTTLS"):
            session.sendmail("a@example.org", "b@example.org", "Subject: plain\n\n")
        session.starttls(context=trusting)
        session.sendmail("a@example.org", "b@example.org", "Subject: caught\n\nä\n".encode())
    names = docker("exec", container, "ls", "/data/mails/new").split()
    assert len(names) == 1
    with urllib.request.urlopen(f"http://{web}/", timeout=30) as listing:
        assert names[0] in listing.read().decode()
    with urllib.request.urlopen(f"http://{web}/{names[0]}", timeout=30) as mail:
        assert mail.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "Subject: caught" in mail.read().decode()
