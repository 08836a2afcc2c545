"""A worker and its guard, seen from the controller: followed, ended. The same for every runner."""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self, cast

from pipelines.runners import Job, Service
from pipelines.runners.job_folder import remove
from pipelines.runners.supervisor.exit import Ending, Why, explain
from pipelines.runners.supervisor.output import OURS, Output
from registry.errors import Corrupt, PipelineError, TryAgain
from registry.records import utc_now
from training.worker.protocol import MAX_RESULT, read_foreign

GUARD_SECONDS = 20.0  # beyond the grace, after which a guard is given up; it needs 10 at most
NOTICE = 0.2  # seconds until the end of a server is known
REPORT_BYTES = 16 << 10  # a guard says less; in a container the worker could reach its descriptor

_ENDED = re.compile(
    r"^ended (exited|timeout|memory|disk|stopped) (-|\d{1,9}) (\d{1,15})((?: \d{1,9})*) ?$", re.MULTILINE
)
_SAID = re.compile(r"(worker|ended) ")


class Link(Protocol):
    """What connects the controller with one guard."""

    told: bytearray
    """What the guard has reported so far."""

    def pieces(self, seconds: float) -> Iterator[bytes]:
        """The worker's output, as it comes, until the guard has ended, or for `seconds`."""

    def stop(self) -> None:
        """Ask the guard to end the worker, from any thread. Twice does no harm."""

    def give_up(self) -> None:
        """The guard has ended without a report, or hangs: end what there is."""

    def lost(self, *, late: bool) -> Ending:
        """What can be known about the end of a worker whose guard reported nothing; `late`: in all its time."""

    def close(self) -> None:
        """The worker has ended: its files stand in the job folder, nothing else of it is left.

        Raises PipelineError when they cannot be brought there.
        """


class Guarded:
    """A worker and its guard, seen from the controller. At the end of the block none of its processes is left."""

    def __init__(self, job: Job, output: Output, link: Link, grace: float) -> None:
        self.job, self.output, self.link = job, output, link
        self.folder = output.log.path.parent
        self.patience = grace + GUARD_SECONDS
        """Seconds until a guard that should have ended is given up."""
        self._ending: Ending | None = None
        self._released = False
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._calls: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.output.quiet = True  # `on_line` or the disk may be what has failed
        self._released = True
        try:
            self.link.stop()
            if self._thread:
                self.wait(self.patience)
                if not self._ending:
                    self.link.give_up()
                    self.wait(self.patience)
            elif not self._ending:
                self.follow(self.patience)
        finally:
            self._close(error)

    def follow(self, seconds: float = 0) -> None:
        """Pass the output on until the guard has ended; after `seconds` it is given up, and killed. 0: when the job's time
        is over, and the guard, which should have seen to that, has not."""
        seconds = seconds or (self.job.limits.seconds or math.inf) + self.patience
        until = time.monotonic() + seconds
        for data in self.link.pieces(seconds):
            self.output.feed(data)
        ending = parse(self.link.told)
        if ending.why == "lost":
            late = not self._released and time.monotonic() >= until
            self.link.give_up()
            ending = self.link.lost(late=late)
        try:
            for line in self.link.told.splitlines(keepends=True):  # a guard that could not even start says why
                if line.strip() and not _SAID.match(line.decode(errors="replace")):
                    self.output.feed(bytes(line))
            self.output.end()
        finally:
            with self._lock:
                self._ending = ending  # last: who sees it finds the last words in the log
            for call in self._calls:
                call()

    def follow_aside(self) -> None:
        """`follow` in a thread; what `on_line` raises is kept for `check`."""

        def follow() -> None:
            try:
                self.follow()
            except BaseException as error:  # noqa: BLE001  (raised again by `check`)
                self._fault = error
                self.output.quiet = True
                self.link.stop()
                self.follow(self.patience)

        self._thread = threading.Thread(target=follow, name=f"output of {self.job.name}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the thread that follows aside."""
        assert self._thread
        self._thread.join(seconds)

    def on_end(self, call: Callable[[], None]) -> None:
        """Call, from another thread, when the worker has ended; at once when it has already."""
        with self._lock:
            if not self._ending:
                self._calls.append(call)
                return
        call()

    def check(self) -> None:
        """Raise why a server does not run any more, unless it was ended on purpose."""
        if self._fault:
            raise self._fault
        if self._ending and not self._released:
            raise explain(self.job, self._ending, self.output.log)

    def failure(self) -> PipelineError | None:
        """Why the worker, which has ended, has no result; None when it has one."""
        assert self._ending
        if self._ending.well:
            try:
                read_foreign(self.folder / "result.json", MAX_RESULT)
            except Corrupt as error:
                return error
            except FileNotFoundError:
                pass
            else:
                return None
        return explain(self.job, self._ending, self.output.log)

    def _ended_well_or(self, fault: PipelineError) -> bool:
        """Whether `fault` says more than the end of the worker does."""
        end = self._ending
        return end is None or end.well or (end.why == "exited" and isinstance(fault, TryAgain))

    def _close(self, error: BaseException | None) -> None:
        how = self._ending.words if self._ending else "ended"
        try:
            self.link.close()
        except PipelineError as fault:
            how += f"; {fault}"
            if error is None and self._ended_well_or(fault):
                raise
        finally:
            remove(self.folder / "scratch")
            with contextlib.suppress(TryAgain):
                self.output.log.write([f"{OURS} {utc_now()} {self.job.name} {how}"])
                self.output.log.close()


def run_through(worker: Guarded) -> None:
    """See `Runner.run`."""
    with worker:
        if worker.job.reaches:
            worker.job.reaches.on_end(worker.link.stop)
        worker.follow()
    if failure := worker.failure():
        raise failure


@contextlib.contextmanager
def served(worker: Guarded, service: Callable[[Guarded], Service]) -> Iterator[Service]:
    """See `Runner.service`."""
    with worker:
        worker.follow_aside()
        try:
            yield service(worker)
        except Exception:
            worker.wait(NOTICE)  # a server that died just now is the cause, not the block
            worker.check()
            raise
        worker.check()


def parse(told: bytes | bytearray) -> Ending:
    """The guard's last line; see `guard.main`."""
    if found := _ENDED.findall(told.decode(errors="replace")):
        why, status, peak, left = found[-1]
        return Ending(cast("Why", why), None if status == "-" else int(status), int(peak) >> 10, tuple(left.split()))
    return Ending("lost")
