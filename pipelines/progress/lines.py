"""The view for logs and for `git push`: plain lines, with a heartbeat."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from pipelines.progress.state import Work
from pipelines.progress.stream import PatientStream
from pipelines.text.duration import duration
from training.worker.protocol import EVENT, one_line, parse_event

HEARTBEAT = 20.0  # seconds; Jenkins and people give up on what is silent for longer than 30
STEP_LINES = 200  # of a worker's log, in the plain view; all of it is in worker.log
EPOCH_LINES = 40  # at most, for one attempt
TAIL = 10  # lines of a failed step that are shown again
LONGEST = 400  # characters of one line


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
            elif text.startswith(EVENT):
                pass  # unknown, or cut off when its worker was ended: for programs, not for people
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
                    self._say(f"    {self._step}: still running, {duration(self._clock() - self._since)}{words}")
                else:
                    self._spoke = self._clock()
