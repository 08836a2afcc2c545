"""What the trial on a real Jenkins is made of: its REST interface, and a team whose repositories it watches."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import os
import re
import secrets
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import requests
from aiosmtpd.controller import Controller
from git_http import GitServer
from team import CONFIG, MODEL, ROOT, TESTS, TRAINYARD, Team, clean_environment, digits

BUILD_SECONDS = 240.0
FIRST_SECONDS = 600.0  # the agent installs the pinned packages
WHEN = r"(?:\[[\d:TZ.-]+\] )?"  # timestamps() writes it before each line
TOKENS = "manage/descriptorByName/hudson.plugins.git.ApiTokenPropertyConfiguration"


def wait_for(condition, what, seconds=BUILD_SECONDS, pause=0.5):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"it took longer than {seconds:.0f} s: {what}"
        time.sleep(pause)
    return found


class Jenkins:
    """One Jenkins over REST."""

    def __init__(self, url, user, token):
        self.url, self.user, self.token = url.rstrip("/"), user, token
        self.session = requests.Session()
        self.session.auth = (user, token)

    def get(self, path, **parameters):
        answer = self.session.get(f"{self.url}/{path}", params=parameters, timeout=60)
        return answer if answer.ok else None

    def json(self, path, tree=""):
        answer = self.get(f"{path}/api/json", **({"tree": tree} if tree else {}))
        return answer.json() if answer else None

    def post(self, path, data=None):
        answer = self.session.post(f"{self.url}/{path}", data=data, timeout=60)
        assert answer.status_code < 400, f"POST {path}: {answer.status_code} {answer.text[:500]}"
        return answer

    def notify_token(self, name):
        """An access token for `notifyCommit`, and its id."""
        made = self.post(f"{TOKENS}/generate", {"apiTokenName": name}).json()["data"]
        return made["value"], made["uuid"]

    def forget_token(self, uuid):
        self.post(f"{TOKENS}/revoke", {"apiTokenUuid": uuid})


class Build:
    """A build of one job; its answers are asked for anew each time."""

    def __init__(self, jenkins, path, number):
        self.jenkins, self.number, self.path = jenkins, number, f"{path}/{number}"

    @property
    def result(self):
        return self.jenkins.json(self.path, "result")["result"]

    @property
    def console(self):
        return self.jenkins.get(f"{self.path}/consoleText").text

    @property
    def about(self):
        return self.jenkins.json(self.path, "displayName,description,artifacts[relativePath]")

    @property
    def artifacts(self):
        return {each["relativePath"] for each in self.about["artifacts"]}

    @property
    def stages(self):
        """The stages that began, in their order, as the console tells."""
        return re.findall(rf"^{WHEN}\[Pipeline\] \{{ \(([^)]+)\)\s*$", self.console, re.MULTILINE)

    @property
    def skipped(self):
        return set(re.findall(rf'^{WHEN}Stage "([^"]+)" skipped due to when conditional', self.console, re.MULTILINE))

    @property
    def tests(self):
        """(passed, failed) of the JUnit reports; None when there are none."""
        found = self.jenkins.json(f"{self.path}/testReport", "passCount,failCount")
        return (found["passCount"], found["failCount"]) if found else None

    def artifact(self, name):
        return self.jenkins.get(f"{self.path}/artifact/{name}")

    def ended(self, seconds=BUILD_SECONDS):
        """Wait for the end, and for what is published after it; gives the result."""
        what = f"{self.path} to end"
        wait_for(lambda: self.jenkins.json(self.path, "building")["building"] is False, what, seconds)
        return self.result

    def stop(self):
        self.jenkins.post(f"{self.path}/stop")


class Stage(Team):
    """A team that works with that Jenkins: a `Team` whose repositories are served over HTTP."""

    def __init__(self, folder: Path, jenkins: Jenkins) -> None:
        super().__init__(folder)
        self.jenkins = jenkins
        self.name = f"trainyard-trial-{secrets.token_hex(3)}"
        self.home = folder / "home"
        self.home.mkdir()
        self.home.chmod(0o777)
        self.parts = contextlib.ExitStack()
        self.received = []
        self.seen = {}

    def __enter__(self):
        with contextlib.ExitStack() as parts:
            git = parts.enter_context(GitServer(self.folder / "repositories"))
            mails = Controller(_Inbox(self.received), hostname="127.0.0.1", port=0)
            mails.start()
            parts.callback(mails.stop)
            token, uuid = self.jenkins.notify_token(self.name)
            parts.callback(self.jenkins.forget_token, uuid)
            self.environment = {
                "TRAINYARD_JENKINS_TOKEN": self.jenkins.token,
                "TRAINYARD_JENKINS_NOTIFY_TOKEN": token,
            }
            self._found(git.url, mails.server.sockets[0].getsockname()[1])
            parts.callback(self._leave)
            self.parts = parts.pop_all()
        return self

    def __exit__(self, *_):
        self.parts.close()

    def _found(self, git, smtp):
        """The pipeline's repository: this checkout's head, and the team's `trainyard.toml`."""
        self.git("clone", "--quiet", "--no-local", str(ROOT), "pipeline")
        text = CONFIG.format(port=self.port)
        for name in ("code", "dataset", "tests"):
            text = text.replace(f'"repositories/{name}.git"', f'"{git}/{name}.git"')
        self.config = self.folder / "pipeline" / "trainyard.toml"
        settings = {
            "serving": 'go_live = "jenkins"',
            "mail": f'host = "127.0.0.1"\nport = {smtp}\nsecurity = "none"\nto = ["owner@example.org"]',
            "jenkins": f'url = "{self.jenkins.url}"\nuser = "{self.jenkins.user}"\nfolder = "{self.name}"\n'
            f'repository = "{git}/pipeline.git"\nagent = "{os.environ.get("JENKINS_AGENT", "")}"',
        }
        text = text.replace("[serving]\n", f"[serving]\n{settings.pop('serving')}\n")
        text += "".join(f"[{section}]\n{lines}\n" for section, lines in settings.items())
        self.config.write_text(f'home = "{self.home}"\n{text}', encoding="utf-8")
        work = self.folder / "pipeline"
        self.git("checkout", "--quiet", "-B", "main", cwd=work)
        self.git("add", "--force", "trainyard.toml", cwd=work)
        self.git("commit", "--quiet", "-m", "Our settings", cwd=work)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", "repositories/pipeline.git")
        self.git("push", "--quiet", "../repositories/pipeline.git", "HEAD:main", cwd=work)
        self.write("dataset", {"dataset.toml": 'format = "images"\n', **digits(0, 800)})
        self.write("tests", {"test_model.py": TESTS})
        self.write("code", {"model.py": MODEL})
        for repository in ("dataset", "tests", "code"):
            self.push(repository, f"first {repository}")

    def _leave(self):
        with contextlib.suppress(AssertionError):  # what is gone need not be removed
            self.jenkins.post(f"job/{quote(self.name)}/doDelete")
        for process in self.working():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, 9)

    def trainyard(self, *arguments, code=0, env=None):
        return super().trainyard(*arguments, code=code, env=self.environment | (env or {}))

    def begun(self, *arguments):
        """A command that goes on beside us."""
        return subprocess.Popen(
            [*TRAINYARD, *arguments, "--config", str(self.config)], cwd=self.folder, text=True,
            env=clean_environment() | self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def job(self, name):
        return f"job/{quote(self.name)}/job/{name}"

    def numbers(self, name):
        found = self.jenkins.json(self.job(name), "builds[number]")
        return sorted(each["number"] for each in found["builds"]) if found else []

    def next_build(self, name, seconds=BUILD_SECONDS):
        """The build of a job that was not asked about yet, begun or ended."""
        last = self.seen.get(name, 0)
        number = wait_for(
            lambda: next((each for each in self.numbers(name) if each > last), 0), f"a build of {name}", seconds
        )
        self.seen[name] = number
        return Build(self.jenkins, self.job(name), number)

    def mails(self):
        return [email.message_from_bytes(each, policy=email.policy.default) for each in self.received]

    def working(self):
        """The processes that work in the model's home, as far as this user may see them."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                place = os.readlink(process / "cwd")
                words = (process / "cmdline").read_bytes().decode(errors="replace")
                if Path(place).is_relative_to(self.home) or str(self.home) in words:
                    found.append(int(process.name))
        return found

    def cards(self):
        paths = self.home.glob("registry/test/digits/*/card.json")
        return [json.loads(path.read_bytes()) for path in sorted(paths, key=lambda path: int(path.parent.name))]


class _Inbox:
    """Takes every mail."""

    def __init__(self, received):
        self.received = received

    async def handle_DATA(self, _server, _session, envelope):
        self.received.append(envelope.content)
        return "250 taken"
