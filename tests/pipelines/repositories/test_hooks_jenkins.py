"""`trainyard hooks install --jenkins`: real pushes, a real HTTP server in Jenkins' place, and what goes wrong with it."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from pipelines.commands import hooks
from pipelines.config.schema import Config, JenkinsServer, Repositories
from pipelines.jenkins_server.push_hook import SECONDS, TOKEN_FILE
from registry.errors import ConfigError

TOKEN = "0123456789abcdef0123456789abcdef"  # 32 hexadecimal digits, as Jenkins makes them
URL = "https://git.example.org/team/code.git?a=1&b=2"
SLACK = 5.0  # seconds: a busy machine starts git and a shell slowly


class Plugin:
    """`/git/notifyCommit` as the git plugin has it: asked without a user, a token in query or body, words for an answer."""

    def __init__(self):
        self.seen, self.answer, self.body, self.drip = [], None, f"Scheduled polling of digits » code\n{NOISE}", False
        plugin = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                plugin.seen.append((self.path, {name: values[0] for name, values in form.items()}))
                status, body = plugin.answer or plugin.decide(plugin.seen[-1][1])
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode("latin-1"))
                while plugin.drip:  # for ever one more letter
                    time.sleep(0.1)
                    self.wfile.write(b".")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/jenkins"

    def decide(self, form):
        if not form.get("token"):
            return 401, "<html><body>An access token is required.</body></html>"
        if form["token"] != TOKEN:
            return 403, "<html><body>Invalid access token</body></html>"
        return 200, self.body

    def stop(self):
        self.drip = False
        self.server.shutdown()
        self.server.server_close()


NOISE = f"No Git consumers using SCM API plugin for: {URL}\n"


@pytest.fixture
def plugin():
    made = Plugin()
    yield made
    made.stop()


class Team:
    """A bare repository, a clone, and the hook."""

    def __init__(self, folder, url):
        self.folder, self.bare, self.work = folder, folder / "srv/code.git", folder / "work"
        self.config = Config(
            "digits",
            Repositories(URL, "", ""),
            jenkins=JenkinsServer(url=url, user="alice"),
            file=str(folder / "trainyard.toml"),
        )
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", self.bare)
        git(folder, "init", "--quiet", "--initial-branch=main", self.work)

    def hooks(self, action="install", repository=None, **more):
        repository = [f"code={self.bare}"] if repository is None else repository
        return hooks.main(
            argparse.Namespace(action=action, repository=repository, json=False, **{"jenkins": []} | more),
            self.config,
        )

    @property
    def hook(self):
        return self.bare / "hooks" / "post-receive"

    @property
    def token_file(self):
        return self.bare / "hooks" / TOKEN_FILE

    def push(self, *refs, **environment):
        """What the pusher sees from the hook, and how long the push took."""
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", "x")
        begin = time.monotonic()
        done = git(self.work, "push", self.bare, *(refs or ("main",)), **environment)
        lines = [line.removeprefix("remote: ").rstrip() for line in done.stderr.splitlines()]
        return [line for line in lines if line and "->" not in line and "To /" not in line], time.monotonic() - begin

    @property
    def pushed(self):
        return git(self.work, "rev-parse", "HEAD").stdout == git(self.bare, "rev-parse", "main").stdout


def git(folder, *words, **environment):
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    plain = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "NO_PROXY": "*"}
    return subprocess.run(
        ["git", *words], cwd=folder, env=os.environ | names | plain | environment, check=True, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip


@pytest.fixture
def team(tmp_path, plugin, monkeypatch):
    monkeypatch.setenv("TRAINYARD_JENKINS_NOTIFY_TOKEN", TOKEN)
    return Team(tmp_path, plugin.url)


def test_a_push_is_notified_with_the_token_in_the_body_only(team, plugin):
    team.hooks()
    said, _ = team.push()
    assert plugin.seen == [("/jenkins/git/notifyCommit", {"url": URL, "token": TOKEN})]
    assert said == ["Trainyard: Jenkins: Scheduled polling of digits > code"]


def test_the_token_is_readable_by_the_owner_only_and_is_nowhere_else(team):
    team.hooks()
    assert team.token_file.read_text() == f"{TOKEN}\n"
    assert stat.S_IMODE(team.token_file.stat().st_mode) == 0o600
    assert TOKEN not in team.hook.read_text()
    team.token_file.chmod(0o644)
    team.hooks()  # once more: a new token, and closed again
    assert stat.S_IMODE(team.token_file.stat().st_mode) == 0o600
    assert sorted(path.name for path in team.hook.parent.glob("[!.]*") if path.suffix != ".sample") == [
        "post-receive", TOKEN_FILE,
    ]  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a repository to another user")
def test_root_gives_the_token_to_the_owner_of_the_repository(team):
    for path in (team.bare, *team.bare.rglob("*")):
        os.chown(path, 65534, 65534)
    git(team.folder, "config", "--file", team.folder / "gitconfig", "safe.directory", "*")
    os.environ["GIT_CONFIG_GLOBAL"] = str(team.folder / "gitconfig")
    try:
        team.hooks()
    finally:
        del os.environ["GIT_CONFIG_GLOBAL"]
    assert (team.token_file.stat().st_uid, stat.S_IMODE(team.token_file.stat().st_mode)) == (65534, 0o600)


def test_no_list_of_processes_shows_the_token(team, plugin, monkeypatch):
    token = secrets.token_hex(16)  # of this test only: others may run beside it
    monkeypatch.setenv("TRAINYARD_JENKINS_NOTIFY_TOKEN", token)
    team.hooks()
    plugin.drip, seen, over = True, [], threading.Event()

    def look():
        while not over.is_set():
            for each in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(each.read_bytes() + each.with_name("environ").read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        # our own environment has it for `install`; what a git server's has not
        git(team.work, "commit", "--quiet", "--allow-empty", "--message", "x")
        subprocess.run(
            ["git", "push", "--quiet", team.bare, "main"], cwd=team.work, check=True, capture_output=True, timeout=60,
            env={"PATH": os.environ["PATH"], "NO_PROXY": "*"},
        )  # fmt: skip
    finally:
        over.set()
        watcher.join()
    assert any(b"curl\0" in each for each in seen)
    assert not any(token.encode() in each for each in seen if b"curl" in each or b"post-receive" in each)
    assert plugin.seen[0][1]["token"] == token


@pytest.mark.parametrize("refs", [("main:other",), ("main", "main:more")])
def test_other_branches_are_no_news_and_many_refs_are_one(team, plugin, refs):
    team.hooks()
    team.push(*refs)
    assert len(plugin.seen) == refs.count("main")


def test_a_branch_that_is_deleted_is_no_news(team, plugin):
    team.hooks()
    team.push()
    git(team.bare, "config", "receive.denyDeletes", "false")
    git(team.bare, "symbolic-ref", "HEAD", "refs/heads/other")
    team.push(":main")
    assert git(team.bare, "branch").stdout == ""
    assert len(plugin.seen) == 1


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, "No git jobs found\n", "No git jobs found"),
        (200, f"{NOISE}No git jobs using repository: {URL} and branches: \n", "No git jobs using repository: "),
        (200, "", "it knows the repository, but none of its Jenkins jobs is enabled"),
        (200, NOISE, "it knows the repository, but none of its Jenkins jobs is enabled"),
        (401, "<html>\n<body>An access token is required</body>", "it rejects the token in "),
        (403, "<html>Invalid access token", "it rejects the token in "),
        (404, "<html>Not found", "http://127.0.0.1"),
        (503, "<html>Please wait", "it is starting up (503)"),
        (302, "", "it answers with status 302"),
        (500, "Scheduled polling of x", "it answers with status 500"),
    ],
)
def test_a_refusal_is_reported_in_one_line_and_the_push_succeeds(team, plugin, status, body, why):
    team.hooks()
    plugin.answer = (status, body)
    said, _ = team.push()
    assert len(said) == 1, said
    assert said[0].startswith(f"Trainyard: Jenkins was not notified of this push: {why}")
    assert said[0].endswith(" (to start it by hand: trainyard jenkins trigger code)")
    assert len(said[0]) < 500
    assert team.pushed


def test_a_foreign_answer_cannot_control_the_terminal(team, plugin):
    team.hooks()
    plugin.answer = (200, "Scheduled \x1b[31mpolling\x07 of $(touch pwned) `id`\r\n")
    said, _ = team.push()
    assert said == ["Trainyard: Jenkins: Scheduled >[31mpolling> of $(touch pwned) `id`>"]
    assert not list(team.folder.rglob("pwned"))


def nobody_listens(_team):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def no_such_host(_team):
    return "http://jenkins.invalid"


@pytest.mark.parametrize("where", [nobody_listens, no_such_host])
def test_a_jenkins_that_cannot_be_reached_is_reported(team, where):
    team.config = Config(
        team.config.model, team.config.repositories, jenkins=JenkinsServer(url=where(team)), file=team.config.file
    )
    team.hooks()
    said, seconds = team.push()
    assert len(said) == 1
    assert re.search(r"was not notified of this push: (curl: \(\d+\) |no answer)", said[0])
    assert seconds < SECONDS + SLACK
    assert team.pushed


@pytest.mark.slow
def test_a_jenkins_that_accepts_and_says_nothing_delays_a_push_for_seconds_only(team):
    with closing(socket.create_server(("127.0.0.1", 0), backlog=5)) as silent:
        team.config = Config(
            team.config.model,
            team.config.repositories,
            jenkins=JenkinsServer(url=f"http://127.0.0.1:{silent.getsockname()[1]}"),
            file=team.config.file,
        )
        team.hooks()
        said, seconds = team.push()
    assert (len(said), "timed out" in said[0]) == (1, True), said
    assert SECONDS - 1.5 < seconds < SECONDS + SLACK
    assert team.pushed


@pytest.mark.slow
def test_a_jenkins_that_never_ends_its_answer_delays_a_push_for_seconds_only(team, plugin):
    team.hooks()
    plugin.drip = True
    said, seconds = team.push()
    assert (len(said), "was not notified" in said[0]) == (1, True), said
    assert seconds < SECONDS + SLACK


@pytest.mark.slow
def test_whatever_curl_waits_for_it_is_killed_and_the_push_continues(team):
    """A resolver can hang where no time-out of curl's reaches it."""
    team.hooks()
    tools = team.folder / "tools"
    tools.mkdir()
    (tools / "curl").write_text("#!/bin/sh\ntrap '' TERM INT HUP PIPE\nsleep 60\nsleep 60\n")
    (tools / "curl").chmod(0o755)
    said, seconds = team.push(PATH=f"{tools}:{os.environ['PATH']}")
    assert said == [
        f"Trainyard: Jenkins was not notified of this push: no answer in {SECONDS} seconds (to start it by hand: trainyard jenkins trigger code)"
    ]
    assert seconds < SECONDS + SLACK
    assert team.pushed


@pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox sh"])
def test_the_hook_runs_in_any_shell(team, plugin, shell):
    words = shell.split()
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]} here")
    team.hooks()
    line = f"{'0' * 40} {'a' * 40} refs/heads/main\n"
    done = subprocess.run([*words, team.hook], input=line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Trainyard: Jenkins: Scheduled polling of digits > code\n"
    plugin.stop()
    done = subprocess.run([*words, team.hook], input=line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.count("\n"), "was not notified" in done.stderr) == (0, 1, True)


def test_a_token_that_cannot_be_used_is_reported(team, plugin):
    team.hooks()
    for content, why in (
        ("", "cannot read a token from"),
        ("a b\n", "does not hold a token"),
        (f"x{TOKEN}\n", "rejects the token"),
    ):
        team.token_file.write_text(content)
        assert why in team.push()[0][0]
    team.token_file.unlink()
    assert "cannot read a token from" in team.push()[0][0]
    assert len(plugin.seen) == 1


def test_it_replaces_the_hook_that_runs_the_pipeline_and_is_removed_with_its_token(team):
    team.hooks(jenkins=None)
    assert "notifyCommit" not in team.hook.read_text()
    team.hooks()
    assert "notifyCommit" in team.hook.read_text()
    team.hooks("remove")
    assert not team.hook.exists()
    assert not team.token_file.exists()


def test_a_hook_that_is_not_ours_stays(team):
    team.hook.write_text("#!/bin/sh\n")
    with pytest.raises(ConfigError, match="was not written by Trainyard"):
        team.hooks()
    assert team.hook.read_text() == "#!/bin/sh\n"
    assert not team.token_file.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"repositories": Repositories("/srv/code.git", "", "")}, "is a folder, which Jenkins cannot poll"),
        ({"repositories": Repositories("file:///srv/code.git", "", "")}, "is a folder, which Jenkins cannot poll"),
        ({"repositories": Repositories('https://a/"b', "", "")}, "holds a blank, a quote"),
        ({"jenkins": JenkinsServer()}, r"\[jenkins\] url is empty"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(team, change, said):
    team.config = Config(**{"model": "digits", "repositories": team.config.repositories,
                            "jenkins": team.config.jenkins, "file": team.config.file} | change)  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        team.hooks()
    assert not team.hook.exists()
    assert not team.token_file.exists()


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        (["code"], "give its path with `code=PATH`"),
        (["model"], "unknown repository 'model'"),
        (["code=/nowhere"], "not a git repo"),
    ],
)
def test_a_repository_that_is_not_local_is_refused(team, repository, said):
    with pytest.raises(ConfigError) as error:
        team.hooks(repository=repository)
    assert said in f"{error.value} {error.value.hint}"


@pytest.mark.parametrize(("token", "said"), [("", "is not set"), ("a b", "holds characters")])
def test_a_token_must_be_one(team, monkeypatch, token, said):
    monkeypatch.setenv("TRAINYARD_JENKINS_NOTIFY_TOKEN", token)
    with pytest.raises(ConfigError, match=said):
        team.hooks()
    assert not team.hook.exists()


@pytest.mark.parametrize("first", ["--jenkins", "code"])
def test_as_a_command(team, first):
    jenkins, code = f'jenkins = {{url = "{team.config.jenkins.url}"}}', f'code = "{URL}"'
    Path(team.config.file).write_text(
        f'model = "digits"\nhome = "home"\n{jenkins}\n[repositories]\n{code}\ndataset = "d"\ntests = "t"\n'
    )
    words = sorted(["--jenkins", f"code={team.bare}"], reverse=first == "code")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipelines", "hooks", "install", *words],
        cwd=team.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"code: {team.hook} installed\n"), done.stderr
    assert team.push()[0] == ["Trainyard: Jenkins: Scheduled polling of digits > code"]
