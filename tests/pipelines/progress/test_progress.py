import io
import json
import os
import re
import subprocess
import sys
import termios
import threading
import time

import pytest

from pipelines.progress.lines import PlainProgress
from pipelines.progress.state import Work
from pipelines.progress.stream import PatientStream
from pipelines.progress.view import open_progress
from training.worker.protocol import EVENT

STEPS = ("resolve", "train", "gate")
RUN = """
import sys
from pipelines.progress.view import open_progress
progress = open_progress(sys.stderr)
progress.start("digits: push to code, run 1a2b", ("resolve", "train", "gate"))
progress.done("resolve", "done before", 0.1)
progress.step("train")
for line in sys.argv[1:]:
    progress.line(line)
progress.note("a remark that is too long for a narrow terminal, and is wrapped there and not cut")
progress.done("train", "failed", 12.0)
progress.stop()
print("the result")
"""
FORGED = "\x1b[1A\r\nACCEPTED: push to code\u2028ACCEPTED: all is well\x1b[8m\u202e"
TITLE = "digits: push to code, run 1a2b"


def event(**fields):
    return EVENT + json.dumps(fields)


def epoch(number, of=20, value=0.5):
    return event(event="epoch", epoch=number, of=of, metric="accuracy", value=value)


class Pipe(io.StringIO):
    """Counts its flushes."""

    flushes = 0

    def flush(self):
        self.flushes += 1

    @property
    def lines(self):
        return self.getvalue().splitlines()


@pytest.fixture
def pipe():
    return Pipe()


@pytest.fixture
def plain(pipe):
    progress = open_progress(pipe, live=False)
    yield progress
    progress.stop()


def wait_for(true):
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


class TestPlain:
    def test_a_run_reads_as_a_story(self, plain, pipe):
        plain.start(TITLE, STEPS)
        plain.done("resolve", "done before", 0.1)
        plain.step("train")
        plain.line(event(event="attempt", attempt=1, of=3))
        plain.line("reading the data")
        plain.line(epoch(1))
        plain.line(event(event="note", text="resuming after epoch 1"))
        plain.done("train", "done", 80.0)
        plain.note("train: accuracy 0.5")
        plain.stop()
        assert pipe.lines == [
            TITLE,
            "[1/3] resolve: done before, 0.1 s",
            "[2/3] train …",
            "    reading the data",
            "    attempt 1/3, epoch 1/20, accuracy 0.5",
            "    resuming after epoch 1",
            "[2/3] train: done, 1 min 20 s",
            "  train: accuracy 0.5",
        ]

    def test_each_line_is_passed_on_at_once(self, plain, pipe):
        plain.start(TITLE, STEPS)
        plain.note("one")
        plain.note("two")
        assert pipe.flushes >= 3

    def test_a_silent_step_has_a_heartbeat(self, pipe):
        progress = open_progress(pipe, live=False, heartbeat=0.01)
        progress.start(TITLE, STEPS)
        progress.step("train")
        progress.line(epoch(3))
        wait_for(lambda: len(pipe.lines) > 4)
        progress.stop()
        assert re.fullmatch(r"    train: still running, \d\.\d s, epoch 3/20, accuracy 0.5", pipe.lines[-1])

    def test_nothing_is_said_between_the_steps(self, pipe):
        progress = open_progress(pipe, live=False, heartbeat=0.005)
        progress.start(TITLE, STEPS)
        progress.step("train")
        wait_for(lambda: len(pipe.lines) > 2)
        progress.done("train", "done", 1.0)
        count = len(pipe.lines)
        time.sleep(0.05)
        progress.stop()
        assert len(pipe.lines) == count

    def test_the_heartbeat_says_how_long_and_counts_from_the_last_line(self, pipe):
        now = [100.0]
        progress = PlainProgress(PatientStream(pipe), heartbeat=20.0, clock=lambda: now[0])
        progress.start(TITLE, STEPS)
        progress.step("train")
        now[0] = 119.0
        progress.line("a line")
        now[0] = 138.9
        with progress._change:
            progress._change.notify_all()
        now[0] = 160.0
        with progress._change:
            progress._change.notify_all()
        wait_for(lambda: len(pipe.lines) > 3)
        progress.stop()
        assert pipe.lines[3:] == ["    train: still running, 1 min 0 s"]

    def test_many_epochs_become_few_lines_with_the_first_and_the_last(self, plain, pipe):
        plain.start(TITLE, STEPS)
        plain.step("train")
        for number in range(1, 1001):
            plain.line(epoch(number, of=1000))
        shown = [line for line in pipe.lines if "epoch" in line]
        assert len(shown) < 45
        assert "epoch 1/1,000" in shown[0]
        assert "epoch 1,000/1,000" in shown[-1]

    def test_a_chatty_worker_is_cut_short_and_its_end_is_shown_when_it_fails(self, plain, pipe):
        plain.start(TITLE, STEPS)
        plain.step("train")
        for number in range(5000):
            plain.line(f"line {number}")
        assert len(pipe.lines) < 210
        assert "worker.log" in pipe.lines[-1]
        plain.done("train", "failed", 1.0)
        assert "    line 4999" in pipe.lines
        plain.step("gate")
        plain.line("the next step is heard again")
        assert pipe.lines[-1] == "    the next step is heard again"

    def test_progress_that_is_cut_off_or_unknown_is_not_shown(self, plain, pipe):
        """A worker that is ended while it writes leaves half a line; its log has it."""
        plain.start(TITLE, STEPS)
        plain.step("train")
        for wrong in (
            event(event="epoch"),
            event(event="epoch", epoch="x", of=[], metric=1, value=None),
            event(event="dance"),
            EVENT + "{",
            EVENT + '{"event": "epoch", "epo',
            EVENT + "[1]",
        ):
            plain.line(wrong)
        assert len(pipe.lines) == 2
        for number in range(1000):
            plain.line(f"line {number}")
        plain.line(EVENT + '{"event": "epoch", "epo')
        plain.done("train", "failed", 1.0)
        assert not [line for line in pipe.lines if EVENT in line]

    def test_a_worker_writes_no_line_and_no_escape_sequence_of_its_own(self, plain, pipe):
        plain.start(f"{TITLE}{FORGED}", STEPS)
        plain.step("train")
        plain.line("  columns  stay" + FORGED)
        plain.line(event(event="note", text=FORGED))
        plain.line(event(event="epoch", epoch=1, of=1, metric=FORGED, value=1))
        plain.note(FORGED)
        assert len(pipe.lines) == 6
        assert "      columns  stay" in pipe.lines[2]
        assert all(line.isprintable() and not line.startswith("ACCEPTED") for line in pipe.lines)

    def test_a_value_that_is_not_a_number_is_reported_as_such(self, plain, pipe):
        plain.start(TITLE, STEPS)
        plain.step("train")
        plain.line(EVENT + '{"event": "epoch", "epoch": 1, "of": 2, "metric": "loss", "value": NaN}')
        assert pipe.lines[-1] == "    epoch 1/2, loss nan"

    def test_no_thread_is_left_and_a_second_run_may_follow(self, pipe):
        before = threading.active_count()
        progress = open_progress(pipe, live=False)
        for _ in range(2):
            progress.start(TITLE, STEPS)
            progress.step("train")
            progress.stop()
            progress.stop()
        assert threading.active_count() == before
        assert pipe.lines.count(TITLE) == 2

    def test_a_stream_without_unicode_is_enough(self):
        raw = io.BytesIO()
        progress = open_progress(io.TextIOWrapper(raw, encoding="ascii"), live=False)
        progress.note("früh …")
        assert raw.getvalue() == b"  fr?h ?\n"


class TestGoneReader:
    def test_a_reader_that_leaves_does_not_end_the_work(self):
        with subprocess.Popen(
            [sys.executable, "-P", "-c", RUN, *(f"line {i} " + "x" * 300 for i in range(150))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            process.stderr.readline()
            process.stderr.close()
            assert process.stdout.read() == b"the result\n"
            assert process.wait(20) == 0

    def test_a_terminal_that_is_closed_does_not_end_the_work(self):
        code = RUN.replace("progress.step", "sys.stdin.readline(); progress.step")
        process, master = start_in_terminal(code, stdin=subprocess.PIPE)
        os.read(master, 1)
        os.close(master)
        out, _ = process.communicate(b"go on\n", timeout=20)
        assert (out, process.returncode) == (b"the result\n", 0)

    def test_a_closed_stream_is_silence(self, pipe):
        progress = open_progress(pipe)
        pipe.close()
        progress.start(TITLE, STEPS)
        progress.note("nobody hears")
        progress.stop()

    def test_no_stream_at_all_is_silence(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", None)
        progress = open_progress()
        progress.start(TITLE, STEPS)
        progress.stop()


class TestLive:
    def test_it_shows_steps_times_the_epoch_and_the_log(self):
        seen = run_in_terminal(event(event="attempt", attempt=2, of=3), epoch(7), "a line of log")
        for text in (TITLE, "resolve", "done before", "train", "12 s", "failed", "gate", "a line of log"):
            assert text in seen
        assert "not cut" in seen

    def test_progress_that_is_cut_off_is_not_shown(self):
        assert EVENT not in run_in_terminal(EVENT + '{"event": "epo', event(event="dance"), "a line of log")

    def test_a_worker_cannot_rewrite_it(self):
        shown = [FORGED, event(event="note", text=FORGED), event(event="epoch", epoch=1, of=1, metric=FORGED, value=1)]
        for line in shown:
            seen = run_in_terminal(line)
            assert "ACCEPTED: push" in seen or "epoch" in line
            assert "\x1b[8m" not in seen
            assert "\u202e" not in seen
            assert not re.search(r"[\r\n]ACCEPTED", seen)

    def test_it_draws_how_far_the_worker_is(self):
        code = RUN.replace("progress.note", "sys.stdin.readline(); progress.note")
        lines = [event(event="attempt", attempt=2, of=3), epoch(7)]
        process, master = start_in_terminal(code, *lines, stdin=subprocess.PIPE)
        seen = b""
        while b"attempt 2/3, epoch 7/20, accuracy 0.5" not in seen:  # it waits for us, and draws several times a second
            seen += os.read(master, 65536)
        process.stdin.write(b"go on\n")
        process.stdin.flush()
        assert "━" in seen.decode(errors="replace")
        drain(master)
        process.communicate(timeout=20)

    def test_the_cursor_is_given_back(self):
        seen = run_in_terminal()
        assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")

    def test_results_on_stdout_stay_apart(self):
        process, master = start_in_terminal(RUN)
        drain(master)
        assert process.communicate(timeout=20)[0] == b"the result\n"

    def test_colours_can_be_declined(self):
        colours = re.compile(r"\x1b\[[0-9;]*3[0-9]")
        assert colours.search(run_in_terminal())
        assert not colours.search(run_in_terminal(NO_COLOR="1"))

    @pytest.mark.parametrize("columns", [20, 40])
    def test_a_narrow_terminal_is_enough(self, columns):
        seen = run_in_terminal(epoch(7), "a line of log that is far too long for it", columns=columns)
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)):
            assert len(line) <= columns

    def test_a_terminal_that_cannot_draw_gets_plain_lines(self):
        seen = run_in_terminal(epoch(7), TERM="dumb")
        assert "\x1b" not in seen
        assert "[2/3] train: failed, 12 s" in seen


def test_rich_is_only_loaded_for_the_live_view():
    code = (
        "import sys; from pipelines.progress.view import open_progress; open_progress(); print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], ""),
        ([{"event": "attempt", "attempt": 1, "of": 3}], "attempt 1/3"),
        ([{"event": "progress", "done": 12000, "of": 20000, "what": "images"}], "12,000/20,000 images"),
        (
            [
                {"event": "epoch", "epoch": 9, "of": 9, "metric": "mae", "value": 12.3456},
                {"event": "attempt", "attempt": 2, "of": 3},
            ],
            "attempt 2/3",
        ),
    ],
)
def test_how_far_a_worker_is_in_words(events, words):
    work = Work()
    assert all(work.take(each) for each in events)
    assert work.words == words


def start_in_terminal(code, *lines, columns=100, stdin=subprocess.DEVNULL, **environment):
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    env = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, *lines], stdin=stdin, stdout=subprocess.PIPE, stderr=slave,
        env=env | {"TERM": "xterm-256color", "COLORTERM": ""} | environment,
    )  # fmt: skip
    os.close(slave)
    return process, master


def drain(master):
    seen = b""
    try:
        while data := os.read(master, 65536):
            seen += data
    except OSError:  # the other end is closed
        pass
    os.close(master)
    return seen.decode()


def run_in_terminal(*lines, code=RUN, columns=100, **environment):
    process, master = start_in_terminal(code, *lines, columns=columns, **environment)
    seen = drain(master)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == (b"the result\n", 0)
    return seen
