"""A worker and its supervisor, seen from the controller: followed, ended. The same for every runner.

A worker runs from the start of its `SupervisedWorker` on. Whoever follows it sets `exit_record` when it has ended, by
itself or not. `stopping` says that the caller has left, after which no end is a failure. `run_through` follows in the
caller's thread; `served` does so with a `BackgroundFollower`, while the caller's block runs.
"""

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
from pipelines.runners.supervisor.exit import ExitRecord, Why, explain
from pipelines.runners.supervisor.output import LOG_PREFIX, Output
from registry.errors import Corrupt, PipelineError, TryAgain
from registry.records import utc_now
from training.worker.protocol import MAX_RESULT, read_foreign

SUPERVISOR_SECONDS = 20.0  # beyond the grace, after which a supervisor is given up; it needs 10 at most
NOTICE = 0.2  # seconds until the end of a server is known
REPORT_BYTES = 16 << 10  # a supervisor reports less; in a container the worker could reach its descriptor

_ENDED = re.compile(r"^ended (exited|timeout|memory|disk|stopped) (-|\d{1,9})((?: \d{1,9})*) ?$", re.MULTILINE)
_REPORTED = re.compile(r"(worker|ended) ")


class Link(Protocol):
    """What connects the controller with one supervisor."""

    report: bytearray
    """What the supervisor has reported so far."""

    def pieces(self, seconds: float) -> Iterator[bytes]:
        """The worker's output, as it comes, until the supervisor has ended, or for `seconds`."""

    def stop(self) -> None:
        """Ask the supervisor to end the worker, from any thread. Twice does no harm."""

    def give_up(self) -> None:
        """The supervisor has ended without a report, or hangs: end what there is."""

    def lost(self, *, late: bool) -> ExitRecord:
        """What can be known about the end of a worker whose supervisor reported nothing; `late`: in all its time."""

    def close(self) -> None:
        """The worker has ended: bring its files into the job folder, and leave nothing else of it.

        Raises PipelineError when they cannot be brought there.
        """


class SupervisedWorker:
    """A worker that runs, and its supervisor. At the end of the `with` block none of its processes is left."""

    def __init__(self, job: Job, output: Output, link: Link, grace: float) -> None:
        self.job, self.output, self.link = job, output, link
        self.folder = output.log.path.parent
        self.patience = grace + SUPERVISOR_SECONDS
        """Seconds until a supervisor that should have ended is given up."""
        self.exit_record: ExitRecord | None = None
        """None while it runs."""
        self.stopping = False
        """The caller has left: the worker is to end, and its end does not count as a failure."""
        self._follower: BackgroundFollower | None = None
        self._calls: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.output.quiet = True  # `on_line` or the disk may be what has failed
        self.stopping = True
        try:
            self.link.stop()
            if self._follower:
                self._follower.end()
            elif not self.exit_record:
                self.follow(self.patience)
        finally:
            self._close(error)

    def follow(self, seconds: float = 0) -> None:
        """Pass the output on until the supervisor has ended, and set `exit_record`. After `seconds` the supervisor is given
        up and killed; 0: when the job's time is over and the supervisor, which should have seen to that, has not."""
        seconds = seconds or (self.job.limits.seconds or math.inf) + self.patience
        until = time.monotonic() + seconds
        for data in self.link.pieces(seconds):
            self.output.feed(data)
        record = parse(self.link.report)
        if record.why == "lost":
            late = not self.stopping and time.monotonic() >= until
            self.link.give_up()
            record = self.link.lost(late=late)
        try:
            self._log_what_else_was_reported()
            self.output.end()
        finally:
            with self._lock:
                self.exit_record = record  # last: who sees it finds the last lines in the log
            for call in self._calls:
                call()

    def follow_in_background(self) -> None:
        """`follow` in a thread; `check` raises what `on_line` raises there."""
        self._follower = BackgroundFollower(self)
        self._follower.start()

    def wait(self, seconds: float) -> None:
        """Wait until a worker that is followed in the background has ended, for `seconds` at most."""
        assert self._follower
        self._follower.wait(seconds)

    def on_end(self, call: Callable[[], None]) -> None:
        """Call, from another thread, when the worker has ended; at once when it has already."""
        with self._lock:
            if not self.exit_record:
                self._calls.append(call)
                return
        call()

    def check(self) -> None:
        """Raise why a server does not run any more, unless it was ended on purpose."""
        if self._follower and self._follower.error:
            raise self._follower.error
        if self.exit_record and not self.stopping:
            raise explain(self.job, self.exit_record, self.output.log)

    def failure(self) -> PipelineError | None:
        """Why the worker, which has ended, has no result; None when it has one."""
        assert self.exit_record
        if self.exit_record.succeeded:
            try:
                read_foreign(self.folder / "result.json", MAX_RESULT)
            except Corrupt as error:
                return error
            except FileNotFoundError:
                pass
            else:
                return None
        return explain(self.job, self.exit_record, self.output.log)

    def _log_what_else_was_reported(self) -> None:
        """A supervisor that could not even start says why."""
        for line in self.link.report.splitlines(keepends=True):
            if line.strip() and not _REPORTED.match(line.decode(errors="replace")):
                self.output.feed(bytes(line))

    def _explains_more_than_the_exit(self, error: PipelineError) -> bool:
        record = self.exit_record
        return record is None or record.succeeded or (record.why == "exited" and isinstance(error, TryAgain))

    def _close(self, raised: BaseException | None) -> None:
        """Close the link and the log; raises what closing the link does, unless `raised` or the exit explains more."""
        how = self.exit_record.description if self.exit_record else "ended"
        try:
            self.link.close()
        except PipelineError as error:
            how += f"; {error}"
            if raised is None and self._explains_more_than_the_exit(error):
                raise
        finally:
            remove(self.folder / "scratch")
            with contextlib.suppress(TryAgain):
                self.output.log.write([f"{LOG_PREFIX} {utc_now()} {self.job.name} {how}"])
                self.output.log.close()


class BackgroundFollower:
    """Follows a worker in a thread."""

    def __init__(self, worker: SupervisedWorker) -> None:
        self.error: BaseException | None = None
        """What `on_line` raised; the worker is ended then."""
        self._worker = worker
        self._thread = threading.Thread(target=self._follow, name=f"output of {worker.job.name}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until the worker has ended, for `seconds` at most."""
        self._thread.join(seconds)

    def end(self) -> None:
        """Wait for the end of a worker that is stopping; one that does not end in time is killed."""
        patience = self._worker.patience
        self.wait(patience)
        if not self._worker.exit_record:
            self._worker.link.give_up()
            self.wait(patience)

    def _follow(self) -> None:
        worker = self._worker
        try:
            worker.follow()
        except BaseException as error:  # noqa: BLE001  (raised again by `check`)
            self.error = error
            worker.output.quiet = True
            worker.link.stop()
            worker.follow(worker.patience)


def run_through(worker: SupervisedWorker) -> None:
    """See `Runner.run`."""
    with worker:
        if worker.job.reaches:
            worker.job.reaches.on_end(worker.link.stop)
        worker.follow()
    if failure := worker.failure():
        raise failure


@contextlib.contextmanager
def served(worker: SupervisedWorker, service: Callable[[SupervisedWorker], Service]) -> Iterator[Service]:
    """See `Runner.service`."""
    with worker:
        worker.follow_in_background()
        try:
            yield service(worker)
        except Exception:
            worker.wait(NOTICE)  # a server that died just now is the cause, not the block
            worker.check()
            raise
        worker.check()


def parse(report: bytes | bytearray) -> ExitRecord:
    """The supervisor's last line; see `supervisor.main`."""
    if found := _ENDED.findall(report.decode(errors="replace")):
        why, status, left = found[-1]
        return ExitRecord(cast("Why", why), None if status == "-" else int(status), tuple(left.split()))
    return ExitRecord("lost")
