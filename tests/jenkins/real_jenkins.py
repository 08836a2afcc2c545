"""What the trial on a real Jenkins is made of: its REST interface, and a team whose repositories it watches."""

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
import time
from pathlib import Path

import requests
from aiosmtpd.controller import Controller
from git_http import GitServer
from team import CONFIG, MODEL, ROOT, TESTS, Team, digits, free_port

BUILD_SECONDS = 600.0  # on a slow machine; a build takes about one minute
FIRST_SECONDS = 1800.0  # the agent installs the pinned packages
WHEN = r"(?:\[[\d:TZ.-]+\] )?"  # timestamps() may write it before a line
TOKENS = "manage/descriptorByName/hudson.plugins.git.ApiTokenPropertyConfiguration"
WATCHED = ("code", "dataset", "tests")


def wait_for(condition, what, seconds=BUILD_SECONDS, pause=0.5):
    """What the condition answers, once that is something. `what` is told when it takes too long; it may be a function."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what() if callable(what) else what}")
        time.sleep(pause)
    return found


class Jenkins:
    """One Jenkins over REST. It may call itself by another address: no redirection is followed, no address taken over."""

    def __init__(self, url, user, token):
        self.url, self.user, self.token = url.rstrip("/"), user, token
        self.session = requests.Session()
        self.session.auth = (user, token)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()

    def get(self, path, **parameters):
        """The answer, or None when there is no such page."""
        answer = self.session.get(f"{self.url}/{path}", params=parameters, timeout=120)
        if answer.status_code == 404:
            return None
        assert answer.ok, f"GET {path}: {answer.status_code} {answer.text[:500]}"
        return answer

    def json(self, path, tree):
        answer = self.get(f"{path}/api/json", tree=tree)
        return answer.json() if answer else None

    def post(self, path, data=None):
        answer = self.session.post(f"{self.url}/{path}", data=data, timeout=120, allow_redirects=False)
        assert answer.status_code < 400, f"POST {path}: {answer.status_code} {answer.text[:500]}"
        return answer

    def notify_token(self, name):
        """An access token for `notifyCommit`, and its id."""
        made = self.post(f"{TOKENS}/generate", {"apiTokenName": name}).json()["data"]
        return made["value"], made["uuid"]

    def forget_token(self, uuid):
        self.post(f"{TOKENS}/revoke", {"apiTokenUuid": uuid})

    def build(self, job, parameters):
        """Start a build, as a person does with "Build with Parameters"."""
        place = self.post(f"{job}/buildWithParameters", {**parameters, "delay": "0sec"}).headers["Location"]
        item = "queue/item/" + re.search(r"/queue/item/(\d+)", place)[1]
        begun = wait_for(lambda: self.json(item, "executable[number]").get("executable"), f"{item} to begin")
        return Build(self, job, begun["number"])

    def remove(self, folder):
        """Delete a folder. Builds that go on are stopped first; Jenkins refuses as long as they have not ended."""
        said = ""

        def gone():
            nonlocal said
            if self.json(f"job/{folder}", "name") is None:
                return True
            try:
                self.post(f"job/{folder}/doDelete")
            except AssertionError as refusal:
                said = str(refusal)
            return False

        wait_for(gone, lambda: f"folder {folder} to be deleted: {said}", 180, pause=2.0)


class Build:
    """A build of one job; what it tells is asked for anew each time."""

    def __init__(self, jenkins, job, number):
        self.jenkins, self.number, self.path = jenkins, number, f"{job}/{number}"

    def _ask(self, tree):
        return self.jenkins.json(self.path, tree) or {}

    @property
    def result(self):
        """None as long as it goes on."""
        about = self._ask("result,building")
        return None if about.get("building", True) else about["result"]

    @property
    def console(self):
        answer = self.jenkins.get(f"{self.path}/consoleText")
        return answer.text if answer else ""

    @property
    def name(self):
        return self._ask("displayName")["displayName"]

    @property
    def description(self):
        return self._ask("description")["description"] or ""

    @property
    def artifacts(self):
        """File name → the artifact's path."""
        paths = [each["relativePath"] for each in self._ask("artifacts[relativePath]")["artifacts"]]
        return {path.rpartition("/")[2]: path for path in paths}

    @property
    def stages(self):
        """The stages in their order, the skipped ones, too, as the console tells."""
        return re.findall(rf"^{WHEN}\[Pipeline\] \{{ \(([^)]+)\)\s*$", self.console, re.MULTILINE)

    @property
    def skipped(self):
        return set(re.findall(rf'^{WHEN}Stage "([^"]+)" skipped due to when conditional', self.console, re.MULTILINE))

    @property
    def tests(self):
        """(passed, failed) of the JUnit reports."""
        found = self.jenkins.json(f"{self.path}/testReport", "passCount,failCount")
        assert found, f"no test results: {self}"
        return found["passCount"], found["failCount"]

    def artifact(self, name):
        assert name in self.artifacts, f"no {name} among {sorted(self.artifacts)}: {self}"
        answer = self.jenkins.get(f"{self.path}/artifact/{self.artifacts[name]}")
        answer.encoding = "utf-8"
        return answer

    @property
    def run(self):
        """The id of the run that it was about."""
        return self.artifact("run.json").json()["id"]

    def ended(self, wanted="SUCCESS", seconds=BUILD_SECONDS):
        """Wait for its end, which must be as wanted."""
        result = wait_for(lambda: self.result, lambda: f"the end of {self}", seconds)
        assert result == wanted, f"{result} instead of {wanted}: {self}"
        return self

    def until(self, condition, what):
        """What the condition answers during this build."""

        def found():
            answer = condition()
            assert answer or self.result is None, f"it has ended before {what}: {self}"
            return answer

        return wait_for(found, lambda: f"{what}: {self}")

    def stop(self):
        self.jenkins.post(f"{self.path}/stop")

    def __str__(self):
        return f"{self.jenkins.url}/{self.path}/\n{self.console[-6000:]}"


class Trial(Team):
    """A team that works with that Jenkins: a `Team` whose repositories are served over HTTP."""

    def __init__(self, folder: Path, jenkins: Jenkins) -> None:
        super().__init__(folder)
        self.jenkins = jenkins
        self.name = f"trainyard-trial-{secrets.token_hex(3)}"
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
            self._found_pipeline(smtp.port)
            self._found_repositories()
            for last_first in (self._end_processes, self._remove_from_jenkins, self._stop_api):
                parts.callback(last_first)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_):
        self._parts.close()

    def _found_pipeline(self, smtp_port):
        """The pipeline's repository: Trainyard at this checkout's head, and the team's `trainyard.toml`."""
        work = self.config.parent
        work.mkdir()
        archive = ["git", "-c", "safe.directory=*", "archive", "--format=tar", "HEAD"]
        packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
        assert packed.returncode == 0, f"the trial needs a git checkout of Trainyard: {packed.stderr.decode()}"
        subprocess.run(["tar", "-x"], cwd=work, input=packed.stdout, check=True)
        text = CONFIG.format(port=self.port).replace("[serving]\n", '[serving]\ngo_live = "jenkins"\n')
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
        self.push_pipeline("Trainyard, and our settings")

    def _found_repositories(self):
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
        """`trainyard jenkins trigger --wait`: what it said, and the build."""
        wait = ["--wait", "--timeout", str(BUILD_SECONDS / 60), "--json"]
        done = self.trainyard("jenkins", "trigger", name, *wait, *options)
        return done.stderr, Build(self.jenkins, self.job(name), json.loads(done.stdout)["number"])

    def mails(self):
        return [email.message_from_bytes(each, policy=email.policy.default) for each in self.received]

    def release(self):
        """What the API says that it serves."""
        return requests.get(f"{self.url}/version", timeout=60).json()

    def processes(self, *words):
        """The processes whose command line has these words, and that work in the home or in a workspace of the jobs."""
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
        """The folder, and the workspaces, which Jenkins would leave to a cleaner that comes by once in a while."""
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
    """Takes every mail."""

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
    """A port that is free, and stays so until the API wants it: the system gives none of these to anybody by itself."""
    for port in random.sample(range(20_000, 30_000), 200):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
