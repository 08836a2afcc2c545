"""Requests that the main loop of a server process answers itself, instead of handing them to a thread.

Where a model takes a few microseconds, the way to a thread and back takes as long as the model, and each call of the model,
which releases the GIL, one more change of threads. So small requests for predictions of such a model are answered by the main
loop, a few in each of its turns; between these it receives, sends and accepts as always. All else goes to the threads: pages,
explanations, files, compressed and large bodies, and whatever comes while nobody reads the log.

This is only about who answers: how is the same for both.
"""

from __future__ import annotations

import os
import re
import select
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from serving.server.connection import Connection

if TYPE_CHECKING:
    from serving.predictor import Predictor

T = TypeVar("T")
PATHS = re.compile(rb"POST (?:/predict|/invocations|/v1/models/[^/ ?]+:predict|/v2/models/[^/ ?]+/infer) HTTP/1\.1\r\n")
"""What is answered by the live model alone: other versions may have to be loaded first."""
MOST_BYTES = 8 << 10
"""Of a request: one image of 28x28 pixels has half of it. A few hundred rows of a table take some milliseconds to read and
write, and the engine as long."""
TURN = 4
"""Requests that are answered in one turn of the main loop."""
SLOW = 0.05
"""Seconds of CPU after which the answers of a turn were not quick, whatever was measured: their model gives no more here."""


class QuickRequests:
    """Those that wait for the main loop. Used by the main thread alone."""

    def __init__(
        self, current: Callable[[], Predictor | None] = lambda: None, clock: Callable[[], float] = time.thread_time
    ) -> None:
        """`current` gives the predictor that answers now. `clock`: seconds of the CPU that this thread has had."""
        self._current, self._clock = current, clock
        self._waiting: deque[Connection] = deque()
        self._slow = ""

    def __bool__(self) -> bool:
        """Whether one waits."""
        return bool(self._waiting)

    def take(self, conn: Connection) -> bool:
        """Whether its request is to be answered by the main loop; then it waits here."""
        model = self._model()
        if not model or model == self._slow or not is_small(conn):
            return False
        self._waiting.append(conn)
        return True

    def _model(self) -> str:
        """The digest of the one that answers, when it is quick; else empty."""
        predictor = self._current()
        return predictor.model.digest if predictor and predictor.model.is_quick else ""

    def all(self) -> list[Connection]:
        """All that wait, which do not any more."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def answered(self, answer: Callable[[Connection], T]) -> list[tuple[Connection, T]]:
        """The next ones, which do not wait any more, each with what `answer` makes of it."""
        began = self._clock()
        some = [self._waiting.popleft() for _ in range(min(len(self._waiting), TURN))]
        found = [(conn, answer(conn)) for conn in some]
        if self._clock() - began > SLOW:
            self._slow = self._model()
        return found


def is_small(conn: Connection) -> bool:
    """Whether it is JSON for predictions of the live model, in few bytes as they are, with no other request behind it."""
    scan = conn.scan
    return (
        conn.complete
        and scan.end == len(conn.input) <= MOST_BYTES
        and scan.media_type == b"application/json"
        and PATHS.match(conn.input) is not None
    )


class LogReader:
    """Whoever reads what this process prints, e.g. a Docker engine: a pipe that nobody empties blocks who writes to it."""

    def __init__(self, files: Iterable[int] = (1, 2)) -> None:
        self._poll = select.poll()
        self._count = 0
        for each in files:
            if not stat.S_ISREG(os.fstat(each).st_mode):
                self._poll.register(each, select.POLLOUT)
                self._count += 1

    def takes_lines(self) -> bool:
        """Whether a few lines can be written now without a wait."""
        return not self._count or len(self._poll.poll(0)) == self._count
