"""A team on a real Jenkins: its repositories, its mail server, its processes on this machine, and its Jenkins jobs."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import requests
from aiosmtpd.controller import Controller
from digits_model import MODEL, TESTS, digits
from git_http import GitServer
from real_jenkins import BUILD_SECONDS, FIRST_SECONDS, WHEN, Build, Jenkins, wait_for
from team import CONFIG, ROOT, Team, free_port

WATCHED = ("code", "dataset", "tests")


class JenkinsScenario(Team):
    """A `Team` that works with a real Jenkins; its repositories are served over HTTP."""

    def __init__(self, folder: Path, jenkins: Jenkins) -> None:
        super().__init__(folder)
        self.jenkins = jenkins
        self.name = f"trainyard-test-{secrets.token_hex(3)}"
        self.home = folder / "home"
        self.home.mkdir()
        self.home.chmod(0o777)
        self.port = lasting_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "pipeline" / "trainyard.toml"
        self.received = []

    def __enter__(self):
        with contextlib.ExitStack() as parts:
            self.git_url = parts.enter_context(GitServer(self.folder / "repositories")).url
            smtp = Controller(_Inbox(self.received), hostname="127.0.0.1", port=free_port(), ready_timeout=60.0)
            smtp.start()
            parts.callback(smtp.stop)
            token, uuid = self.jenkins.notify_token(self.name)
            parts.callback(self.jenkins.forget_token, uuid)
            self.environment = {
                "TRAINYARD_JENKINS_TOKEN": self.jenkins.token,
                "TRAINYARD_JENKINS_NOTIFY_TOKEN": token,
            }
            self._create_pipeline(smtp.port)
            self._create_repositories()
            for last_first in (self._end_processes, self._remove_from_jenkins, self._stop_api):
                parts.callback(last_first)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_):
        self._parts.close()

    def _create_pipeline(self, smtp_port):
        """The pipeline's repository: Trainyard at this checkout's head, and the team's `trainyard.toml`."""
        work = self.config.parent
        work.mkdir()
        archive = ["git", "-c", "safe.directory=*", "archive", "--format=tar", "HEAD"]
        packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
        assert packed.returncode == 0, f"this suite needs a git checkout of Trainyard: {packed.stderr.decode()}"
        subprocess.run(["tar", "-x"], cwd=work, input=packed.stdout, check=True)
        text = CONFIG.format(port=self.port).replace("[serving]\n", '[serving]\ndeploy = "jenkins"\n')
        for name in WATCHED:
            text = text.replace(f'"repositories/{name}.git"', f'"{self.git_url}/{name}.git"')
        mail = f'host = "127.0.0.1"\nport = {smtp_port}\nsecurity = "none"\nto = ["owner@example.org"]\n'
        server = f'url = "{self.jenkins.url}"\nuser = "{self.jenkins.user}"\nfolder = "{self.name}"\n'
        server += f'repository = "{self.git_url}/pipeline.git"\nagent = "{os.environ.get("JENKINS_AGENT", "")}"\n'
        text = f'home = "{self.home}"\n{text}[mail]\n{mail}[jenkins]\n{server}'
        self.config.write_text(text, encoding="utf-8")
        self.git("init", "--quiet", "--bare", "--initial-branch=main", "repositories/pipeline.git")
        self.git("init", "--quiet", "--initial-branch=main", cwd=work)
        self.git("remote", "add", "origin", str(self.folder / "repositories/pipeline.git"), cwd=work)
        self.git("add", "--all", "--force", cwd=work)
        self.push_pipeline("Trainyard, and our config")

    def _create_repositories(self):
        self.write("dataset", {"dataset.toml": 'format = "images"\n', **digits(0, 800)})
        self.write("tests", {"test_model.py": TESTS})
        self.write("code", {"model.py": MODEL})
        for repository in ("dataset", "tests", "code"):
            self.push(repository, f"first {repository}")

    def push_pipeline(self, subject):
        self.git("commit", "--quiet", "--allow-empty", "-m", subject, cwd=self.config.parent)
        self.git("push", "--quiet", "origin", "HEAD:main", cwd=self.config.parent)

    def await_first_builds(self):
        for name in WATCHED:
            job = self.job(name)
            wait_for(lambda job=job: self.jenkins.json(f"{job}/1", "number"), f"the first build of {name}")
            Build(self.jenkins, job, 1).ended(seconds=FIRST_SECONDS)

    def install_hooks(self):
        places = [f"{name}={self.folder}/repositories/{name}.git" for name in WATCHED]
        self.trainyard("hooks", "install", "--jenkins", *places)

    def trainyard(self, *arguments, code=0, env=None):
        return super().trainyard(*arguments, code=code, env=self.environment | (env or {}))

    def job(self, name):
        return f"job/{self.name}/job/{name}"

    def builds(self, name):
        """Number → the commits that the build has checked out."""
        found = self.jenkins.json(self.job(name), "builds[number,actions[lastBuiltRevision[SHA1]]]") or {"builds": []}
        return {
            build["number"]: [(each.get("lastBuiltRevision") or {}).get("SHA1") for each in build["actions"] if each]
            for build in found["builds"]
        }

    def pushed(self, name, subject, files=None):
        """Commit and push; the commit, and the build that the push has started."""
        before = self.builds(name)
        self.write(name, files or {})
        sha, said = self.push(name, subject)

        def started():
            new = [number for number, commits in self.builds(name).items() if number not in before and sha in commits]
            return min(new, default=0)

        number = wait_for(
            started, lambda: f"a build of {sha[:7]} in {name}: {self.builds(name)}. The push said: {said}"
        )
        return sha, Build(self.jenkins, self.job(name), number)

    def triggered(self, name, *options):
        """`trainyard jenkins trigger --wait`: its stderr, and the build."""
        wait = ["--wait", "--timeout", str(BUILD_SECONDS / 60), "--json"]
        done = self.trainyard("jenkins", "trigger", name, *wait, *options)
        return done.stderr, Build(self.jenkins, self.job(name), json.loads(done.stdout)["number"])

    def mails(self):
        return [email.message_from_bytes(each, policy=email.policy.default) for each in self.received]

    def release(self):
        """The API's own account of what it serves."""
        return requests.get(f"{self.url}/version", timeout=60).json()

    def processes(self, *words):
        """The processes whose command line has these words, in the home or in a workspace of these Jenkins jobs."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                place = _working_folder(folder)
                if all(word in line for word in words) and (self.name in place or str(self.home) in line + place):
                    found.append(int(folder.name))
        return found

    def training(self):
        return self.processes("-m training ")

    def _stop_api(self):
        self.trainyard("serve", "digits", "--stop", "--here")

    def _remove_from_jenkins(self):
        """The folder, and the workspaces, which Jenkins would keep until its periodic cleanup."""
        builds = [(name, number) for name in (*WATCHED, "promotion") for number in self.builds(name)]
        consoles = "\n".join(Build(self.jenkins, self.job(name), number).console for name, number in builds)
        places = {Path(place) for place in re.findall(rf"^{WHEN}Running on .+? in (/.+?)\s*$", consoles, re.MULTILINE)}
        self.jenkins.remove(self.name)
        for workspaces in {place.parent for place in places if place.parent.name == self.name}:
            shutil.rmtree(workspaces, ignore_errors=True)

    def _end_processes(self):
        """What is left when Jenkins has stopped its builds."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


class _Inbox:
    """Accepts every mail."""

    def __init__(self, received):
        self.received = received

    async def handle_DATA(self, _server, _session, envelope):
        self.received.append(envelope.content)
        return "250 taken"


def _working_folder(process):
    with contextlib.suppress(PermissionError):  # of another user
        return os.readlink(process / "cwd")
    return ""


def lasting_port():
    """A free port outside of the ephemeral range: the system assigns none of these by itself, so it stays free."""
    for port in random.sample(range(20_000, 30_000), 200):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
