"""What a person sees while a pipeline runs: a live view in a terminal, plain lines with a heartbeat elsewhere.

Both are made of the same state. Neither can stop the work: when nobody listens any more (the pusher has gone, the
terminal is closed), they go on in silence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TextIO

from training.worker.protocol import one_line, parse_event

HEARTBEAT = 20.0  # seconds; Jenkins and people give up on what is silent for longer than 30
STEP_LINES = 200  # of a worker's log, in the plain view; all of it is in worker.log
EPOCH_LINES = 40  # at most, for one attempt
TAIL = 10  # lines of a failed step that are shown again
LONGEST = 400  # characters of one line


class Progress(Protocol):
    """What the steps report to. Every method may be called from any thread.

    Texts may be foreign: each is shown on one line, without control characters."""

    def start(self, title: str, steps: Sequence[str]) -> None:
        """A run begins that has these steps."""

    def step(self, name: str) -> None:
        """A step begins."""

    def line(self, text: str) -> None:
        """A worker's line: log, or an event (see `training.worker.protocol.tell`)."""

    def done(self, name: str, outcome: str, seconds: float) -> None:
        """A step has ended: `done`, `kept`, `no`, `failed`, or any other word."""

    def note(self, text: str) -> None:
        """Words for a person: what happens, and why."""

    def stop(self) -> None:
        """The run has ended. The terminal is as it was, no thread is left; `start` may follow again."""


def open_progress(stream: TextIO | None = None, *, live: bool | None = None, heartbeat: float = HEARTBEAT) -> Progress:
    """The live view when `stream` (stderr) is a terminal that can draw, else plain lines; `live` decides otherwise."""
    patient = PatientStream(sys.stderr if stream is None else stream)
    if live is None:
        live = patient.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}
    if live:
        from pipelines.progress.live import LiveProgress  # rich costs 0.1 s

        return LiveProgress(patient)
    return PlainProgress(patient, heartbeat)


class PatientStream:
    """A text stream that takes everything; when its reader has gone, it takes it in silence."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write what the encoding can show; the rest becomes `?`."""
        with self._patience():
            if self.stream:
                self.stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with self._patience():
            if self.stream:
                self.stream.flush()

    def isatty(self) -> bool:
        """Whether a person can see a cursor move."""
        with self._patience():
            return bool(self.stream and self.stream.isatty())
        return False

    def fileno(self) -> int:
        """The descriptor; raises OSError when there is none."""
        if not self.stream:
            raise OSError(errno.EBADF, "no stream")
        return self.stream.fileno()

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            yield
        except ValueError:  # closed
            self.stream = None
        except OSError as error:
            if error.errno in {errno.EPIPE, errno.EIO, errno.EBADF}:
                self._gone()

    def _gone(self) -> None:
        """Nobody reads. The descriptor is turned to nowhere: what Python still holds is flushed at exit, and would
        fail again."""
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno() if stream else nowhere)
            os.close(nowhere)


class Work:
    """How far the worker of the current step has come, from its events."""

    def __init__(self) -> None:
        self.attempt = ""
        self.what = "epoch"
        self.at = self.of = 0
        self.metric = ""

    def take(self, event: Mapping[str, Any]) -> bool:
        """Take an event over; False when it does not hold what it should (workers run foreign code)."""
        kind = event["event"]
        try:
            if kind == "attempt":
                self.attempt = f"attempt {int(event['attempt'])}/{int(event['of'])}"
                self.at, self.metric = 0, ""
            elif kind == "epoch":
                self.what, self.at, self.of = "epoch", int(event["epoch"]), int(event["of"])
                self.metric = f"{one_line(event['metric'])} {float(event['value']):.4g}"
            elif kind == "progress":
                self.what, self.at, self.of = one_line(event["what"]), int(event["done"]), int(event["of"])
                self.metric = ""
            else:
                return False
        except (KeyError, TypeError, ValueError, OverflowError):
            return False
        return True

    @property
    def words(self) -> str:
        """`attempt 1/3, epoch 3/20, accuracy 0.912`, or `12,000/20,000 pictures read`."""
        count = f"{self.at:,}/{self.of:,}"
        far = (f"epoch {count}" if self.what == "epoch" else f"{count} {self.what}") if self.at else ""
        return ", ".join(each for each in (self.attempt, far, self.metric) if each)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class PlainProgress:
    """Lines for logs and for `git push`: no colours, one line per epoch at most, never silent for long."""

    def __init__(
        self, stream: PatientStream, heartbeat: float = HEARTBEAT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._heartbeat, self._clock = stream, heartbeat, clock
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._running = False
        self._steps: list[str] = []
        self._step = ""
        self._since = self._spoke = clock()
        self._work = Work()
        self._lines = 0
        self._hidden: deque[str] = deque(maxlen=TAIL)

    def start(self, title: str, steps: Sequence[str]) -> None:
        """See `Progress`."""
        self.stop()
        with self._change:
            self._steps, self._running = list(steps), True
            self._say(title)
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def step(self, name: str) -> None:
        """See `Progress`."""
        with self._change:
            self._step, self._since, self._work, self._lines = name, self._clock(), Work(), 0
            self._hidden.clear()
            self._say(f"{self._number(name)}{name} …")

    def line(self, text: str) -> None:
        """See `Progress`."""
        event = parse_event(text)
        with self._change:
            if event and event["event"] == "note":
                self._say(f"    {event.get('text', '')}")
            elif event and self._work.take(event):
                if event["event"] == "epoch" and self._worth_a_line():
                    self._say(f"    {self._work.words}")
            elif self._lines < STEP_LINES:
                self._lines += 1
                self._say(f"    {text}")
            else:
                if not self._hidden:
                    self._say(f"    … more than {STEP_LINES} lines: the rest is in worker.log only")
                self._hidden.append(text)

    def done(self, name: str, outcome: str, seconds: float) -> None:
        """See `Progress`."""
        with self._change:
            if outcome == "failed":
                for text in self._hidden:
                    self._say(f"    {text}")
            self._hidden.clear()
            self._step = ""
            self._say(f"{self._number(name)}{name}: {outcome}, {duration(seconds)}")

    def note(self, text: str) -> None:
        """See `Progress`."""
        with self._change:
            self._say(f"  {text}")

    def stop(self) -> None:
        """See `Progress`."""
        with self._change:
            self._running, self._step = False, ""
            self._change.notify_all()
            thread, self._thread = self._thread, None
        if thread:
            thread.join()

    def _number(self, name: str) -> str:
        return f"[{self._steps.index(name) + 1}/{len(self._steps)}] " if name in self._steps else ""

    def _worth_a_line(self) -> bool:
        work = self._work
        return work.at in {1, work.of} or work.at % max(1, -(-work.of // EPOCH_LINES)) == 0

    def _say(self, text: str) -> None:
        self._spoke = self._clock()
        self._stream.write(one_line(text)[:LONGEST].rstrip() + "\n")
        self._stream.flush()

    def _beat(self) -> None:
        with self._change:
            while self._running:
                left = self._spoke + self._heartbeat - self._clock()
                if left > 0:
                    self._change.wait(left)
                elif self._step:
                    words = f", {self._work.words}" if self._work.words else ""
                    self._say(f"    {self._step}: still at work, {duration(self._clock() - self._since)}{words}")
                else:
                    self._spoke = self._clock()
