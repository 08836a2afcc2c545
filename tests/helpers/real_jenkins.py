"""A real Jenkins over REST: what a person does and sees there."""

from __future__ import annotations

import re
import time

import requests

BUILD_SECONDS = 600.0  # on a slow machine; a build takes about one minute
FIRST_SECONDS = 1800.0  # the agent installs the pinned packages
WHEN = r"(?:\[[\d:TZ.-]+\] )?"  # timestamps() may write it before a line
TOKENS = "manage/descriptorByName/hudson.plugins.git.ApiTokenPropertyConfiguration"


def wait_for(condition, what, seconds=BUILD_SECONDS, pause=0.5):
    """What the condition returns, once that is truthy. `what` names it in the error when it takes too long; may be a function."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what() if callable(what) else what}")
        time.sleep(pause)
    return found


class Jenkins:
    """One Jenkins over REST. It may know itself by another address: no redirect is followed, no address is taken from it."""

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

    def waiting(self):
        """What waits for an executor, and why."""
        found = self.json("queue", "items[why,task[name]]") or {"items": []}
        return "\n".join(f"in the queue: {each['task'].get('name')}: {each['why']}" for each in found["items"])

    def notify_token(self, name):
        """An access token for `notifyCommit`, and its id."""
        made = self.post(f"{TOKENS}/generate", {"apiTokenName": name}).json()["data"]
        return made["value"], made["uuid"]

    def forget_token(self, uuid):
        self.post(f"{TOKENS}/revoke", {"apiTokenUuid": uuid})

    def plugins(self):
        """Id → version and whether it was loaded, of every installed plugin."""
        found = self.json("pluginManager", "plugins[shortName,version,active]")["plugins"]
        return {each["shortName"]: (each["version"], each["active"]) for each in found}

    def build(self, job, parameters):
        """Start a build, as a person does with "Build with Parameters"."""
        place = self.post(f"{job}/buildWithParameters", {**parameters, "delay": "0sec"}).headers["Location"]
        item = "queue/item/" + re.search(r"/queue/item/(\d+)", place)[1]
        begun = wait_for(lambda: self.json(item, "executable[number]").get("executable"), f"{item} to begin")
        return Build(self, job, begun["number"])

    def remove(self, folder):
        """Delete a folder. Jenkins stops its running builds first, and refuses until they have ended."""
        refusal = ""

        def gone():
            nonlocal refusal
            if self.json(f"job/{folder}", "name") is None:
                return True
            try:
                self.post(f"job/{folder}/doDelete")
            except AssertionError as error:
                refusal = str(error)
            return False

        wait_for(gone, lambda: f"folder {folder} to be deleted: {refusal}", 180, pause=2.0)


class Build:
    """A build of one Jenkins job; each property asks Jenkins anew."""

    def __init__(self, jenkins, job, number):
        self.jenkins, self.number, self.path = jenkins, number, f"{job}/{number}"

    def _ask(self, tree):
        return self.jenkins.json(self.path, tree) or {}

    @property
    def result(self):
        """None while it runs."""
        about = self._ask("result,building")
        return None if about.get("building", True) else about["result"]

    @property
    def raw_console(self):
        """With what Jenkins adds for its web UI, as those get it who follow a build."""
        answer = self.jenkins.get(f"{self.path}/logText/progressiveText", start=0)
        return answer.text if answer else ""

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
        """The stages in the order of the console, skipped ones included. The only other named blocks are those of `load`,
        whose name is the path of a file."""
        return re.findall(rf"^{WHEN}\[Pipeline\] \{{ \(([^)/]+)\)\s*$", self.console, re.MULTILINE)

    @property
    def skipped(self):
        return set(re.findall(rf'^{WHEN}Stage "([^"]+)" skipped due to when conditional', self.console, re.MULTILINE))

    @property
    def tests(self):
        """(passed, failed) of the JUnit reports."""
        found = self.jenkins.json(f"{self.path}/testReport", "passCount,failCount")
        assert found, f"no test results: {self}"
        return found["passCount"], found["failCount"]

    @property
    def test_classes(self):
        """The class names of the JUnit cases; Jenkins calls what is before the last dot their package."""
        found = self.jenkins.json(f"{self.path}/testReport", "suites[cases[className]]")
        return {case["className"] for suite in found["suites"] for case in suite["cases"]}

    @property
    def node(self):
        """The name of the agent that it runs on; empty for the controller itself."""
        found = self._ask("builtOn")
        name = (
            found.get("builtOn")
            or (re.search(r"^(?:\[.*\] )?Running on (\S+) in ", self.console, re.MULTILINE) or ["", ""])[1]
        )
        return "" if name in {"Jenkins", "built-in", "master"} else name

    def artifact(self, name):
        assert name in self.artifacts, f"no {name} among {sorted(self.artifacts)}: {self}"
        answer = self.jenkins.get(f"{self.path}/artifact/{self.artifacts[name]}")
        answer.encoding = "utf-8"
        return answer

    @property
    def run(self):
        """The id of its run."""
        return self.artifact("run.json").json()["id"]

    def ended(self, wanted="SUCCESS", seconds=BUILD_SECONDS):
        """Wait for its end, and check its result."""
        result = wait_for(lambda: self.result, lambda: f"the end of {self}\n{self.jenkins.waiting()}", seconds)
        assert result == wanted, f"{result} instead of {wanted}: {self}"
        return self

    def until(self, condition, what):
        """What the condition returns, as long as this build runs."""

        def found():
            answer = condition()
            assert answer or self.result is None, f"it has ended before {what}: {self}"
            return answer

        return wait_for(found, lambda: f"{what}: {self}")

    def stop(self):
        self.jenkins.post(f"{self.path}/stop")

    def __str__(self):
        return f"{self.jenkins.url}/{self.path}/\n{self.console[-6000:]}"
