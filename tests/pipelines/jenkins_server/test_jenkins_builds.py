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
from fake_state import NOTE

from pipelines.jenkins_server import builds, promotion_job
from pipelines.jenkins_server.builds import BuildFollower, model_job_path, start_build
from pipelines.jenkins_server.client import open_jenkins
from pipelines.jenkins_server.console import EXIT_LINE, MAX_LINE, MAX_SHOWN, Console, plain, without_notes
from registry.errors import ConfigError, TryAgain

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = {"FORCE": "false", "REASON": "", "COMMIT": "", "ONLY_PREPARE": "false"}


class Scenario:
    """A Jenkins with the job digits/code; `lines` is what a person sees, `now` a clock that moves when we wait."""

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
        return start_build(self.client(), model_job_path(self.config, "code"), parameters)

    def follow(self, queued=None, seconds=600.0):
        follower = BuildFollower(self.client(), seconds, self.lines.append)
        return follower.follow(queued or self.ask())


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    with FakeJenkins() as fake:
        monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.token)
        yield Scenario(fake, fake.config(tmp_path))


def test_parameters_are_sent_in_the_body_and_never_in_the_url(scenario):
    job = scenario.job()
    scenario.follow(scenario.ask(FORCE="true", REASON="a b&c=ü", COMMIT="e" * 40))
    (post,) = scenario.fake.posts()
    assert post.path == "/job/digits/job/code/buildWithParameters"
    assert post.form == {"FORCE": "true", "REASON": "a b&c=ü", "COMMIT": "e" * 40, "delay": "0sec"}
    assert job.builds[1].parameters == PARAMETERS | {"FORCE": "true", "REASON": "a b&c=ü", "COMMIT": "e" * 40}


def test_the_build_of_our_queue_item_is_followed_though_others_start_meanwhile(scenario):
    job = scenario.job(queue_polls=3)
    scenario.during[2] = lambda: scenario.fake.state.start_build(job, queue_id=7)
    build = scenario.follow()
    assert (build.number, build.result, build.exit_code) == (2, "SUCCESS", 0)
    assert build.url == f"{scenario.fake.url}job/digits/job/code/2/"


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
def test_the_exit_code_is_the_pipelines(scenario, result, last, code):
    scenario.job(console=["begin\n", f"{last}\n", "Finished\n"], result=result)
    assert scenario.follow().exit_code == code


def test_a_line_that_comes_in_pieces_and_without_an_end_is_a_line(scenario):
    scenario.job(console=["a\ntrainyard: e", "xit 7", "5"], result="FAILURE")
    assert scenario.follow().exit_code == 75
    assert scenario.lines[-2:] == ["a", "trainyard: exit 75"]


def test_each_reason_to_wait_is_shown_once(scenario):
    scenario.job(queue_polls=10)
    said = [f"In the quiet period. Expires in {9 - each} sec" for each in range(4)]
    said += ["Build #7 is already in progress (ETA: 5 min)", "Build #7 is already in progress (ETA: 4 min)"] * 2
    queued, answer = scenario.ask(), scenario.fake.state.queue_item
    scenario.fake.state.queue_item = lambda *a: answer(*a) | ({"why": said.pop(0)} if said else {})
    scenario.follow(queued)
    assert [line for line in scenario.lines if "waiting" in line] == [
        "Jenkins: waiting: In the quiet period. Expires in 9 sec",
        "Jenkins: waiting: Build #7 is already in progress (ETA: 5 min)",
        "Jenkins: waiting: Waiting for next available executor",
    ]


def test_a_build_that_is_cancelled_in_the_queue_may_be_retried(scenario):
    scenario.job(queue_polls=9)
    queued = scenario.ask()
    scenario.during[2] = lambda: scenario.fake.state.cancel(queued.item)
    with pytest.raises(TryAgain, match=f"queue/item/{queued.item}/ was cancelled in the queue"):
        scenario.follow(queued)


def test_a_queue_item_that_jenkins_has_forgotten_leads_to_its_build(scenario):
    job = scenario.job()
    queued = scenario.ask()
    for item in (queued.item, 999):
        scenario.fake.state.start_build(job, queue_id=item)
    scenario.fake.state.queue.clear()
    assert scenario.follow(queued).number == 1


def test_a_queue_item_that_no_build_came_from_is_reported(scenario):
    scenario.job()
    queued = scenario.ask()
    scenario.fake.state.queue.clear()
    with pytest.raises(TryAgain, match=f"forgotten queue item {queued.item}"):
        scenario.follow(queued)


def test_a_second_request_that_joins_the_first_follows_its_build(scenario):
    scenario.job(quiet=True, queue_polls=2)
    first, second = scenario.ask(), scenario.ask()
    assert (first.joined, second.joined, first.item) == (False, True, second.item)
    assert scenario.follow(second).number == 1


def test_a_restart_while_it_waits_and_another_while_it_builds_are_each_reported_once(scenario):
    scenario.job(queue_polls=6, console=[f"line {each}\n" for each in range(8)], result="UNSTABLE")
    stop, start = scenario.fake.stop, lambda: scenario.fake.start(starting=3)
    scenario.during = {2: stop, 5: start, 17: stop, 20: start}
    build = scenario.follow()
    assert (build.number, build.exit_code) == (1, 3)
    assert [line for line in scenario.lines if line.startswith("line")] == [f"line {each}" for each in range(8)]
    assert [re.sub(r".*: ", "", line) for line in scenario.lines if "waiting for Jenkins" in line] == [
        "connection refused; waiting for Jenkins, which resumes the build"
    ] * 2
    assert scenario.lines.count("Jenkins answers again") == 2


def test_a_jenkins_that_does_not_come_back_ends_the_wait(scenario):
    scenario.job(queue_polls=9)
    scenario.during[1] = scenario.fake.stop
    with pytest.raises(TryAgain, match="connection refused, for 15 minutes") as error:
        scenario.follow(seconds=10_000.0)
    assert "queue/item/" in error.value.hint


def test_the_time_is_limited_and_the_build_continues(scenario):
    job = scenario.job(end_polls=10**6)
    with pytest.raises(TryAgain, match="still running after 2 minutes") as error:
        scenario.follow(seconds=120.0)
    assert f"{scenario.fake.url}job/digits/job/code/1/" in error.value.hint
    assert not job.builds[1].aborted
    scenario.fake.state.hold = True
    with pytest.raises(TryAgain, match="still running after 2 minutes"):
        scenario.follow(seconds=120.0)


@pytest.mark.parametrize("place", ["{url}job/digits/", "https://login.example.org/?from=queue", ""])
def test_a_build_that_jenkins_does_not_queue_is_an_error(scenario, place, monkeypatch):
    scenario.job()
    monkeypatch.setattr("fake_jenkins._Handler._start", lambda *_: (
        302, "", {"Location": place.format(url=scenario.fake.url)}
    ))  # fmt: skip
    with pytest.raises(ConfigError, match="did not queue a build"):
        scenario.ask()


def test_a_queue_item_at_another_address_is_asked_for_here(scenario):
    """Jenkins answers with what it takes for its own address; the token is only sent to that of the config."""
    scenario.job()
    queued = scenario.ask()
    assert queued.url == f"{scenario.fake.url}queue/item/{queued.item}/"


def shown(*pieces):
    """The lines of a console that comes in these pieces."""
    lines = []
    console = Console(lines.append)
    for piece in pieces:
        console.feed(piece)
    console.end()
    return lines


def test_jenkins_own_notes_are_not_shown(scenario):
    scenario.job(console=["Started by user Alice\n", "[Pipeline] Start of Pipeline\n[Pipeline] node\n", "hello\n"])
    scenario.follow()
    assert scenario.lines[-4:] == ["Started by user Alice", "[Pipeline] Start of Pipeline", "[Pipeline] node", "hello"]


def test_a_note_may_be_split_anywhere():
    text = f"a {NOTE}[Pipeline] b{NOTE}\n{NOTE}trainyard: exit 75\n"
    for at in range(len(text) + 1):
        assert shown(text[:at], text[at:]) == ["a [Pipeline] b", "trainyard: exit 75"], at
    assert shown(*text) == ["a [Pipeline] b", "trainyard: exit 75"]


@pytest.mark.parametrize("at", range(len(NOTE)))
def test_a_note_may_be_split_where_a_line_without_an_end_is(at):
    """What is shown of it before its line feed ends before the note."""
    first, *more = shown("x" * (10 * MAX_LINE + 1) + NOTE[:at], f"{NOTE[at:]}end\n")
    assert first == "x" * MAX_LINE + "…"
    assert more == ["end"]


def test_a_note_does_not_hide_an_exit_code_and_is_no_place_to_hide_text():
    console = Console(lambda line: None)
    console.feed(f"{NOTE}{NOTE}trainyard: exit 75\n")
    assert console.exit_code == 75
    assert shown("\x1b[8mha:hidden\x1b[0m \x1b[8malso hidden\x1b[0m\n") == ["ha:hidden also hidden"]
    assert shown("\x1b[8mha:////half a note, it is\n") == [" a note, it is"]
    assert without_notes("plain \x1b[31mred") == "plain \x1b[31mred"


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


def test_as_a_command_it_shows_the_console_and_ends_with_the_pipelines_exit_code(scenario, tmp_path):
    scenario.job(console=["hello\n", "world\n"], result="UNSTABLE", queue_polls=0, end_polls=0)
    with trainyard(scenario.fake, tmp_path, "trigger", "code", "--wait", "--json", "--reason", "by hand") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    said = json.loads(stdout)
    assert (said["number"], said["result"], said["exit_code"]) == (1, "UNSTABLE", 3)
    assert "hello\nworld\n" in stderr
    assert scenario.fake.token not in stdout + stderr


def test_as_a_command_without_wait_it_prints_where_the_build_waits(scenario, tmp_path):
    scenario.job()
    with trainyard(scenario.fake, tmp_path, "trigger", "code", "--force") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, f"queued {scenario.fake.url}queue/item/101/\n"), stderr
    assert scenario.fake.posts()[0].form["FORCE"] == "true"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"])
def test_an_interrupt_ends_the_waiting_and_says_that_the_build_continues(scenario, tmp_path, sent, code):
    job = scenario.job(end_polls=10**6, queue_polls=0)
    with trainyard(scenario.fake, tmp_path, "trigger", "code", "--wait") as process:
        for line in process.stderr:
            if "has started" in line:
                process.send_signal(sent)
                break
        rest = process.stderr.read()
        assert process.wait(60) == code
    assert f"Jenkins continues the build: {scenario.fake.url}job/digits/job/code/1/" in rest
    assert not job.builds[1].aborted


def test_a_missing_job_and_a_missing_pipeline_are_reported(scenario, tmp_path):
    for words, said in ((["trigger"], "which pipeline?"), (["trigger", "tests"], "jenkins apply")):
        with trainyard(scenario.fake, tmp_path, *words) as process:
            _, stderr = process.communicate(timeout=60)
        assert (process.returncode, said in stderr) == (2, True), stderr


def declared(jenkinsfile):
    """The parameters that a Jenkinsfile declares; Jenkins silently drops all others."""
    return set(re.findall(r"\w+\(name: '(\w+)'", (ROOT / jenkinsfile).read_text(encoding="utf-8")))


def test_the_jenkinsfiles_declare_the_parameters_that_are_sent_and_print_the_code_that_is_read(tmp_path):
    for name in ("Jenkinsfile", "jenkins/dataset.Jenkinsfile", "jenkins/unit_tests.Jenkinsfile"):
        assert declared(name) >= {"FORCE", "REASON", "COMMIT"}, name
    config = FakeJenkins().config(tmp_path)
    sent = promotion_job.promote(config, 1, "x.y", "why") | promotion_job.rollback(config, 1, "a reason")
    assert declared("jenkins/promotion.Jenkinsfile") >= set(sent)
    text = (ROOT / "jenkins/trainyard.groovy").read_text(encoding="utf-8")
    (line,) = re.findall(r'echo\("(trainyard: [^"]*)"\)', text)
    assert EXIT_LINE.fullmatch(line.replace("${code}", "75"))[1] == "75"


def test_it_waits_between_two_polls(scenario):
    scenario.job(queue_polls=3, end_polls=3)
    scenario.follow()
    assert scenario.waits >= 5
    assert scenario.now == pytest.approx(scenario.waits * builds.POLL_SECONDS)
    assert len(scenario.fake.requests) < 4 * scenario.waits
    assert threading.active_count() < 10


PROMOTION = {"ACTION": "promote", "MODEL": "digits", "VERSION": "2", "APPROVAL": "", "ALTHOUGH": "", "REASON": ""}


def test_a_decision_elsewhere_answers_the_build_that_asks_for_this_version(scenario):
    job = scenario.fake.add_job("digits/promotion", parameters=PROMOTION)
    for item, version, asks in ((101, "1", "Approve"), (102, "2", ""), (103, "2", "Approve")):
        scenario.fake.state.start_build(job, PROMOTION | {"VERSION": version}, item).asks = asks
    path, asked = (
        model_job_path(scenario.config, "promotion"),
        promotion_job.promote(scenario.config, 2, "recorded", ""),
    )
    found = promotion_job.answer_waiting(scenario.client(), path, asked)
    assert (found.item, found.url, found.joined) == (103, f"{scenario.fake.url}job/digits/job/promotion/3/", True)
    assert [(each.asks, each.answered_by) for each in job.builds.values()] == [("Approve", ""), ("", ""), ("", "alice")]
    assert scenario.follow(found).number == 3
    assert promotion_job.answer_waiting(scenario.client(), path, asked) is None
