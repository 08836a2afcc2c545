"""`trainyard jenkins trigger`: from the queue item to the pipeline's exit code, on a real HTTP server."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_jenkins import FakeJenkins

from pipelines.jenkins_server import follow, promotion
from pipelines.jenkins_server.client import open_jenkins
from pipelines.jenkins_server.console import EXIT_LINE, MAX_LINE, MAX_SHOWN, Console, plain
from pipelines.jenkins_server.follow import Follower, ask_for, path_of
from registry.errors import ConfigError, TryAgain

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = {"FORCE": "false", "REASON": "", "COMMIT": "", "ONLY_PREPARE": "false"}


class Trial:
    """A Jenkins with the job digits/code; `lines` is what a person is told, `now` a clock that moves when we wait."""

    def __init__(self, fake, config):
        self.fake, self.config = fake, config
        self.lines, self.now, self.waits = [], 0.0, 0
        self.during = {}  # at the n-th wait: what happens

    def job(self, **script):
        return self.fake.add_job("digits/code", **({"parameters": PARAMETERS} | script))

    def client(self, patience=0.0):
        client = open_jenkins(self.config, patience=patience)
        client.pause, client.clock = self.pause, lambda: self.now
        return client

    def pause(self, seconds):
        self.waits, self.now = self.waits + 1, self.now + seconds
        self.during.pop(self.waits, lambda: None)()

    def ask(self, **parameters):
        return ask_for(self.client(), path_of(self.config, "code"), parameters)

    def follow(self, queued=None, seconds=600.0):
        follower = Follower(self.client(), seconds, self.lines.append)
        return follower.follow(queued or self.ask())


@pytest.fixture
def trial(tmp_path, monkeypatch):
    with FakeJenkins() as fake:
        monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.token)
        yield Trial(fake, fake.config(tmp_path))


def test_parameters_stand_in_the_body_and_never_in_the_address(trial):
    job = trial.job()
    trial.follow(trial.ask(FORCE="true", REASON="a b&c=ü", COMMIT="e" * 40))
    (post,) = trial.fake.posts()
    assert post.path == "/job/digits/job/code/buildWithParameters"
    assert post.form == {"FORCE": "true", "REASON": "a b&c=ü", "COMMIT": "e" * 40, "delay": "0sec"}
    assert job.builds[1].parameters == PARAMETERS | {"FORCE": "true", "REASON": "a b&c=ü", "COMMIT": "e" * 40}


def test_the_build_of_our_queue_item_is_followed_though_others_start_meanwhile(trial):
    job = trial.job(queue_polls=3)
    trial.during[2] = lambda: trial.fake.state.start_build(job, queue_id=7)
    build = trial.follow()
    assert (build.number, build.result, build.exit_code) == (2, "SUCCESS", 0)
    assert build.url == f"{trial.fake.url}job/digits/job/code/2/"


@pytest.mark.parametrize(
    ("result", "last", "code"),
    [
        ("SUCCESS", "done", 0),
        ("SUCCESS", "trainyard: exit 2", 0),
        ("UNSTABLE", "done", 3),
        ("UNSTABLE", "trainyard: exit 75", 3),
        ("ABORTED", "done", 75),
        ("NOT_BUILT", "done", 75),
        ("FAILURE", "trainyard: exit 75", 75),
        ("FAILURE", "[2026-11-21T08:00:00.123Z] trainyard: exit 75", 75),
        ("FAILURE", "trainyard: exit 1", 1),
        ("FAILURE", "no such line", 2),
        ("FAILURE", "trainyard: exit 0", 2),
        ("FAILURE", "trainyard: exit 3", 2),
        ("FAILURE", "trainyard: exit 999", 2),
        ("FAILURE", "it said trainyard: exit 75", 2),
        ("FAILURE", "trainyard: exit 75 or so", 2),
        ("FAILURE", "trainyard: exit ٧٥", 2),
        ("FAILURE", "trainyard: exit 75\ntrainyard: exit 2", 2),
        ("FAILURE", "trainyard: exit 2\ntrainyard: ex", 2),
    ],
)
def test_the_exit_code_is_the_pipelines(trial, result, last, code):
    trial.job(console=["begin\n", f"{last}\n", "Finished\n"], result=result)
    assert trial.follow().exit_code == code


def test_a_line_that_comes_in_pieces_and_without_an_end_is_a_line(trial):
    trial.job(console=["a\ntrainyard: e", "xit 7", "5"], result="FAILURE")
    assert trial.follow().exit_code == 75
    assert trial.lines[-2:] == ["a", "trainyard: exit 75"]


def test_each_reason_to_wait_is_told_once(trial):
    trial.job(queue_polls=10)
    said = [f"In the quiet period. Expires in {9 - each} sec" for each in range(4)]
    said += ["Build #7 is already in progress (ETA: 5 min)", "Build #7 is already in progress (ETA: 4 min)"] * 2
    queued, answer = trial.ask(), trial.fake.state.queue_item
    trial.fake.state.queue_item = lambda *a: answer(*a) | ({"why": said.pop(0)} if said else {})
    trial.follow(queued)
    assert [line for line in trial.lines if "waiting" in line] == [
        "Jenkins: waiting: In the quiet period. Expires in 9 sec",
        "Jenkins: waiting: Build #7 is already in progress (ETA: 5 min)",
        "Jenkins: waiting: Waiting for next available executor",
    ]


def test_a_build_that_somebody_cancels_in_the_queue_may_be_asked_for_again(trial):
    trial.job(queue_polls=9)
    queued = trial.ask()
    trial.during[2] = lambda: trial.fake.state.cancel(queued.item)
    with pytest.raises(TryAgain, match=f"cancelled .*queue/item/{queued.item}/ before it began"):
        trial.follow(queued)


def test_a_queue_item_that_jenkins_has_forgotten_leads_to_its_build(trial):
    job = trial.job()
    queued = trial.ask()
    for item in (queued.item, 999):
        trial.fake.state.start_build(job, queue_id=item)
    trial.fake.state.queue.clear()
    assert trial.follow(queued).number == 1


def test_a_queue_item_that_no_build_came_from_is_told(trial):
    trial.job()
    queued = trial.ask()
    trial.fake.state.queue.clear()
    with pytest.raises(TryAgain, match=f"forgotten queue item {queued.item}"):
        trial.follow(queued)


def test_a_second_request_that_joins_the_first_follows_its_build(trial):
    trial.job(quiet=True, queue_polls=2)
    first, second = trial.ask(), trial.ask()
    assert (first.joined, second.joined, first.item) == (False, True, second.item)
    assert trial.follow(second).number == 1


def test_a_restart_while_it_waits_and_another_while_it_builds_are_each_told_once(trial):
    trial.job(queue_polls=6, console=[f"line {each}\n" for each in range(8)], result="UNSTABLE")
    stop, start = trial.fake.stop, lambda: trial.fake.start(starting=3)
    trial.during = {2: stop, 5: start, 17: stop, 20: start}
    build = trial.follow()
    assert (build.number, build.exit_code) == (1, 3)
    assert [line for line in trial.lines if line.startswith("line")] == [f"line {each}" for each in range(8)]
    assert [re.sub(r".*: ", "", line) for line in trial.lines if "waiting for it" in line] == [
        "connection refused; waiting for it, the build goes on where it was"
    ] * 2
    assert trial.lines.count("Jenkins answers again") == 2


def test_a_jenkins_that_does_not_come_back_ends_the_wait(trial):
    trial.job(queue_polls=9)
    trial.during[1] = trial.fake.stop
    with pytest.raises(TryAgain, match="connection refused, for 15 minutes") as error:
        trial.follow(seconds=10_000.0)
    assert "queue/item/" in error.value.hint


def test_the_time_is_limited_and_the_build_goes_on(trial):
    job = trial.job(end_polls=10**6)
    with pytest.raises(TryAgain, match="not at its end after 2 minutes") as error:
        trial.follow(seconds=120.0)
    assert f"{trial.fake.url}job/digits/job/code/1/" in error.value.hint
    assert not job.builds[1].aborted
    trial.fake.state.hold = True
    with pytest.raises(TryAgain, match="not at its end after 2 minutes"):
        trial.follow(seconds=120.0)


@pytest.mark.parametrize("place", ["{url}job/digits/", "https://login.example.org/?from=queue", ""])
def test_a_build_that_jenkins_does_not_take_is_no_success(trial, place, monkeypatch):
    trial.job()
    monkeypatch.setattr("fake_jenkins._Handler._start", lambda *_: (
        302, "", {"Location": place.format(url=trial.fake.url)}
    ))  # fmt: skip
    with pytest.raises(ConfigError, match="has not taken a build"):
        trial.ask()


def test_a_queue_item_elsewhere_is_asked_for_here(trial):
    """Jenkins answers with the address that it takes for its own; the token stays where the settings send it."""
    trial.job()
    queued = trial.ask()
    assert queued.url == f"{trial.fake.url}queue/item/{queued.item}/"


def test_the_console_is_cleaned_and_bounded():
    assert plain("\x1b[31mred\x1b[0m\tt\x00a\x07b\r\nc\x1b]0;title\x07d\u202ee") == "red\ttab\ncde"
    shown = []
    console = Console(shown.append)
    console.feed("x" * (3 * MAX_LINE) + "\n")
    assert [len(line) for line in shown] == [MAX_LINE + 1]
    for _ in range(MAX_SHOWN // 1000 + 100):
        console.feed("y" * 999 + "\n")
    console.feed("trainyard: exit 75\n")
    assert sum(map(len, shown)) < MAX_SHOWN + MAX_LINE
    assert shown[-1] == "… the console is longer than can be shown here"
    assert console.exit_code == 75
    for _ in range(100):
        console.feed("z" * 10_000)  # no line feed, for ever
    assert len(console._rest) <= 10 * MAX_LINE


SETTINGS = """
model = "digits"
home = "home"
repositories = {{code = "code", dataset = "dataset", tests = "tests"}}
jenkins = {{url = "{url}", user = "alice"}}
"""


@contextmanager
def trainyard(fake, folder, *words):
    (folder / "trainyard.toml").write_text(SETTINGS.format(url=fake.url))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pipelines", "jenkins", *words, "--config", folder / "trainyard.toml"],
        env=os.environ, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield process


def test_as_a_command_it_shows_the_console_and_ends_with_the_pipelines_exit_code(trial, tmp_path):
    trial.job(console=["hello\n", "world\n"], result="UNSTABLE", queue_polls=0, end_polls=0)
    with trainyard(trial.fake, tmp_path, "trigger", "code", "--wait", "--json", "--reason", "by hand") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    said = json.loads(stdout)
    assert (said["number"], said["result"], said["exit_code"]) == (1, "UNSTABLE", 3)
    assert "hello\nworld\n" in stderr
    assert trial.fake.token not in stdout + stderr


def test_as_a_command_without_wait_it_prints_where_the_build_waits(trial, tmp_path):
    trial.job()
    with trainyard(trial.fake, tmp_path, "trigger", "code", "--force") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, f"asked for {trial.fake.url}queue/item/101/\n"), stderr
    assert trial.fake.posts()[0].form["FORCE"] == "true"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"])
def test_who_stops_waiting_is_told_that_the_build_goes_on(trial, tmp_path, sent, code):
    job = trial.job(end_polls=10**6, queue_polls=0)
    with trainyard(trial.fake, tmp_path, "trigger", "code", "--wait") as process:
        for line in process.stderr:
            if "has begun" in line:
                process.send_signal(sent)
                break
        rest = process.stderr.read()
        assert process.wait(60) == code
    assert f"Jenkins goes on with {trial.fake.url}job/digits/job/code/1/" in rest
    assert not job.builds[1].aborted


def test_a_missing_job_and_a_missing_pipeline_are_told(trial, tmp_path):
    for words, said in ((["trigger"], "which pipeline?"), (["trigger", "tests"], "jenkins apply")):
        with trainyard(trial.fake, tmp_path, *words) as process:
            _, stderr = process.communicate(timeout=60)
        assert (process.returncode, said in stderr) == (2, True), stderr


def declared(jenkinsfile):
    """The parameters that a Jenkinsfile declares; Jenkins drops all others without a word."""
    return set(re.findall(r"\w+\(name: '(\w+)'", (ROOT / jenkinsfile).read_text(encoding="utf-8")))


def test_the_jenkinsfiles_take_the_parameters_that_are_sent_and_tell_the_code_that_is_read(tmp_path):
    for name in ("Jenkinsfile", "jenkins/dataset.Jenkinsfile", "jenkins/unit_tests.Jenkinsfile"):
        assert declared(name) >= {"FORCE", "REASON", "COMMIT"}, name
    config = FakeJenkins().config(tmp_path)
    sent = promotion.promote(config, 1, "x.y") | promotion.rollback(config, 1, "a reason")
    assert declared("jenkins/promotion.Jenkinsfile") >= set(sent)
    text = (ROOT / "jenkins/trainyard.groovy").read_text(encoding="utf-8")
    (line,) = re.findall(r'echo\("(trainyard: [^"]*)"\)', text)
    assert EXIT_LINE.fullmatch(line.replace("${code}", "75"))[1] == "75"


def test_it_waits_between_two_looks(trial):
    trial.job(queue_polls=3, end_polls=3)
    trial.follow()
    assert trial.waits >= 5
    assert trial.now == pytest.approx(trial.waits * follow.LOOK_SECONDS)
    assert len(trial.fake.requests) < 4 * trial.waits
    assert threading.active_count() < 10
