"""Takes what was answered from the threads of a server process, and writes it in a thread of its own.

A request's thread puts a reference into a bounded queue, and that is all. What does not fit, or cannot be written, is
dropped and counted: a prediction waits for nothing here, and fails for nothing here.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.files import sweep
from serving.job import PredictionLogJob
from serving.model import Model
from serving.prediction_log import bounds, lines
from serving.prediction_log.images import ImageFile
from serving.prediction_log.key import read_key
from serving.prediction_log.lines import Answered
from serving.prediction_log.losses import Losses
from serving.prediction_log.rules import Plan, is_chosen, make_plan, unknown_columns
from serving.prediction_log.segments import CLOSED, IMAGES, ROTATE, OpenSegment, recover, stem

MOST_REQUESTS = 8192
MOST_BYTES = 64 << 20
"""What may wait, as the inputs have it."""
TEXT_BYTES = 100
"""Of a text among the inputs, beside what the body has."""
GATHER_SECONDS = 0.25
"""What comes within is written at once: each operation on its numbers is a change of threads, and the first ones find their code
and data in no cache."""
IDLE_SECONDS = 0.5
SEGMENT_BYTES = 16 << 20
SEGMENT_SECONDS = 300.0
MOST_RELEASES = 5
"""Segments that are open at once: of the live release, of one before it, and of earlier versions that are asked for."""
REFUSED_PER_SECOND = 10
"""Refused requests that are kept: who sends nothing but those shall not push the others out."""
MOST_AT_ONCE, BYTES_AT_ONCE = 200, 1 << 20
"""Requests that are formatted in one go, and their bytes: between two such, other threads run. More do not stay in the cache of
a core, and get memory from the kernel that is new each time: small images then take half as long again."""
log = logging.getLogger(__name__)


class PredictionLog:
    """One per server process. `dropped` is called with how many lines were lost; `clock` gives seconds since 1970."""

    def __init__(
        self, job: PredictionLogJob, dropped: Callable[[int], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._job, self._clock = job, clock
        self._losses = Losses(Path(job.folder), dropped, clock)
        self._queue: deque[tuple[Answered, int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._refused, self._refused_until = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._segments: _Segments | None = None
        self._sizes: dict[int, tuple[Model, int]] = {}

    def start(self) -> None:
        """Start to write; in the process that answers, after it was forked."""
        self._thread.start()

    def offer(self, answered: Answered) -> None:
        """Keep it, if it is to be kept and there is room. Takes the same short time whatever it is."""
        if not is_chosen(answered.request_id, self._job.fraction):
            return
        if answered.model is None or not answered.rows:
            if not self._takes_refused():
                return
            answered = _bare(answered)
        size = self._size_of(answered)
        with self._lock:
            fits = len(self._queue) < MOST_REQUESTS and (self._bytes + size <= MOST_BYTES or not self._queue)
            if fits:
                self._bytes += size
                self._queue.append((answered, size))
        if not fits:
            self._losses.add(max(answered.rows, 1))
        elif not self._wake.is_set():
            self._wake.set()

    def said(self, model: Model) -> dict[str, object]:
        """For who asks the API what it keeps of a request."""
        plan = make_plan(model.signature, model.data, self._job.columns, self._job.images)
        kept = {"inputs": plan.said(), "fraction": self._job.fraction, "days": self._job.keep_days}
        return kept | ({"sent_elsewhere": True} if self._job.sent else {})

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits and close the segment, for at most so long."""
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _takes_refused(self) -> bool:
        now = time.monotonic()
        if now >= self._refused_until:
            self._refused, self._refused_until = 0, now + 1
        self._refused += 1
        return self._refused <= REFUSED_PER_SECOND

    def _size_of(self, answered: Answered) -> int:
        model = answered.model
        if model is None:
            return answered.size
        known = self._sizes.get(id(model))
        if known is None or known[0] is not model:
            sizes = [TEXT_BYTES if each.dtype == object else each[:1].nbytes for each in model.warm_inputs.values()]
            known = self._sizes[id(model)] = (model, sum(sizes))
        return answered.size + answered.rows * known[1]

    def _run(self) -> None:
        self._segments = segments = _Segments(self._job, self._losses.add, self._clock)
        while not self._ended.is_set():
            self._wake.wait(IDLE_SECONDS)
            if self._wake.is_set():
                self._ended.wait(GATHER_SECONDS)
            self._write(segments)
        self._write(segments)
        segments.close()
        self._losses.note(now=True)

    def _write(self, segments: _Segments) -> None:
        self._wake.clear()
        while batch := self._take():
            try:
                segments.write(batch)
            except Exception as error:  # noqa: BLE001  (a bug must not end what keeps the others)
                segments.failed(error)
                self._losses.add(sum(max(each.rows, 1) for each in batch))
        sizes = self._sizes.copy()  # in one step: threads that answer add to it
        for kept in [key for key, (model, _) in sizes.items() if not segments.knows(model)]:
            self._sizes.pop(kept, None)  # of a release that is gone
        segments.tick()
        self._losses.note()

    def _take(self) -> list[Answered]:
        with self._lock:
            taken, size = list[Answered](), 0
            while self._queue and len(taken) < MOST_AT_ONCE and size < BYTES_AT_ONCE:
                answered, own = self._queue.popleft()
                taken.append(answered)
                size += own
            self._bytes -= size
        return taken


@dataclass(slots=True)
class _Release:
    """What the answers of one model are written into."""

    model: Model | None = None
    plan: Plan = field(default_factory=lambda: Plan((), ()))
    segment: OpenSegment | None = None
    images: ImageFile | None = None
    until: float = 0.0
    """As time.monotonic(): when the segment is closed."""


class _Segments:
    """The segments that the writer's thread writes, and what closes them. No error of a disk leaves it."""

    def __init__(self, job: PredictionLogJob, dropped: Callable[[int], None], clock: Callable[[], float]) -> None:
        self._job, self._dropped, self._clock = job, dropped, clock
        self._folder = Path(job.folder)
        self._process, self._number = f"{os.getpid():x}{secrets.token_hex(3)}", 0
        self._last = _Release()
        self._releases: dict[int, _Release] = {0: self._last}
        self._key = b""
        self._asked = self._mark()
        self._problem = ""
        self._tidy()

    def write(self, batch: Sequence[Answered]) -> None:
        """Add lines for all of them."""
        for group in _groups(batch):
            model = group[0].model
            if model is not None and model is not self._last.model:
                self._last = self._release_of(model)
            release = self._last
            if model is None:
                self._append(release, [lines.refused_line(each, release.model) for each in group], group)
                continue
            self._append(release, lines.lines(group, release.plan, self._key), group)
            if release.plan.has_files and release.segment is not None:
                self._keep_images(release, group)

    def failed(self, error: Exception) -> None:
        """Note in the API's log why answers could not be written, once for one reason."""
        if self._say(f"answers could not be written: {type(error).__name__}: {error}"):
            log.debug("prediction log", exc_info=error)

    def tick(self) -> None:
        """Close segments that are large, old, or that another process asks for; a release that answers no longer is forgotten with
        its own, as its model takes memory."""
        mark = self._mark()
        asked, self._asked = mark != self._asked, mark
        for key, each in list(self._releases.items()):
            if each.segment and (asked or each.segment.size >= SEGMENT_BYTES or time.monotonic() >= each.until):
                self._close(each)
            if each.segment is None and each.model is not None and each is not self._last:
                del self._releases[key]

    def close(self) -> None:
        """Have all segments appear among the closed ones."""
        for each in list(self._releases.values()):
            self._close(each)

    def knows(self, model: Model) -> bool:
        """Whether it is one of those that answered last."""
        return any(each.model is model for each in self._releases.values())

    def _close(self, release: _Release) -> None:
        segment, release.segment = release.segment, None
        images, release.images = release.images, None
        if segment is None:
            return
        if not segment.is_there():
            self._leave(segment, images)
            return
        try:
            if images:
                images.close()
            segment.close()
        except OSError as error:
            self._say(f"a segment could not be closed, which is retried: {error}")
        self._tidy()

    def _release_of(self, model: Model) -> _Release:
        """A segment is about one release; of several that answer in turns each has its own."""
        found = self._releases.pop(id(model), None)
        if found is None or found.model is not model:
            if found is not None:
                self._close(found)
            found = _Release(model, make_plan(model.signature, model.data, self._job.columns, self._job.images))
            self._key = self._key or read_key(Path(self._job.key))
            if unknown := unknown_columns(found.plan, self._job.columns):
                log.warning("[prediction_log] columns: the model has no %s", ", ".join(unknown)[:300])
        while len(self._releases) >= MOST_RELEASES:
            self._close(self._releases.pop(next(iter(self._releases))))
        self._releases[id(model)] = found
        return found

    def _append(self, release: _Release, made: Sequence[bytes], group: Sequence[Answered]) -> None:
        try:
            requests = [(each.request_id, 0 if each.model is None else each.rows) for each in group]
            self._segment_of(release).append(b"".join(made), len(made), requests)
        except OSError as error:
            self._dropped(len(made))
            self._say(f"predictions are not kept: {error}")
        else:
            self._problem = ""

    def _segment_of(self, release: _Release) -> OpenSegment:
        """The open one; another one, once that can be made, when the log's folder was replaced. Raises OSError."""
        old = release.segment
        if old is not None and (old.is_there() or not (old.is_removed or self._folder.is_dir())):
            return old  # also while no other folder is there: who moves one there must not find ours
        self._number += 1
        name = stem(self._clock(), self._process, self._number)
        try:
            new = OpenSegment(self._folder, name, lines.header(release.model, release.plan))
        except OSError:
            if old is None or old.is_removed:
                raise
            return old  # out of reach, behind a fence: the lines are where the folder went
        release.segment, release.until = new, time.monotonic() + SEGMENT_SECONDS
        if old is not None:
            images, release.images = release.images, None
            self._leave(old, images)
        return new

    def _leave(self, segment: OpenSegment, images: ImageFile | None) -> None:
        """A segment whose folder was replaced."""
        where = "removed" if segment.is_removed else "moved away"
        lost = segment.leave()
        if lost:
            self._dropped(lost)
        if images:
            images.leave()
        self._say(f"the log's folder was {where}, with {segment.lines} lines" + (" and their images" if images else ""))

    def _keep_images(self, release: _Release, group: Sequence[Answered]) -> None:
        assert release.segment is not None
        try:
            release.images = release.images or ImageFile(self._folder, release.segment.name)
            names = [each.name for each in release.plan.inputs if each.how == "file"]
            for each in group:
                release.images.add(each, names[0])
        except OSError as error:
            self._say(f"images are not kept: {error}")

    def _tidy(self) -> None:
        """Close what others have left, and remove what is too old or too much."""
        gone = list[bounds.File]()
        try:
            gone = bounds.enforce(self._folder, self._job.keep_days, self._job.max_mb)  # first: the disk may be full
            recover(self._folder)
            for name in (CLOSED, IMAGES):
                sweep(self._folder / name)
        except OSError as error:
            self._say(f"the prediction log cannot be tidied: {error}")
        if lost := sum(each.lines for each in gone) if self._job.sent else 0:
            self._dropped(lost)
            self._say(f"{lost} lines were removed before they were sent")

    def _mark(self) -> int:
        try:
            return (self._folder / ROTATE).stat().st_mtime_ns
        except OSError:
            return 0

    def _say(self, problem: str) -> bool:
        """Once, until it was well again; whether it is news."""
        if problem == self._problem:
            return False
        self._problem = problem
        log.error("prediction log: %s", problem)
        return True


def _groups(batch: Sequence[Answered]) -> list[list[Answered]]:
    """Those of one model and one shape of inputs, in the order in which they came."""
    groups: dict[object, list[Answered]] = {}
    varies: dict[int, bool] = {}
    for each in batch:
        key: object = id(each.model)
        if each.model is not None:
            if id(each.model) not in varies:
                varies[id(each.model)] = _varies(each.model)
            if varies[id(each.model)]:
                arrays = (*(each.inputs or {}).values(), *(each.outputs or {}).values())
                key = id(each.model), tuple(array.shape[1:] for array in arrays)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _varies(model: Model) -> bool:
    """Whether its rows can have several shapes."""
    return any(None in each.shape[1:] for each in (*model.signature.inputs, *model.signature.outputs))


def _bare(answered: Answered) -> Answered:
    """Without its inputs: of a request that was refused only that is kept."""
    return Answered(
        answered.request_id, answered.at, answered.caller, answered.protocol, answered.status, answered.seconds
    )
