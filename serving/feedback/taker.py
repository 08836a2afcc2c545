"""Takes reports: finds the answers that they are about, and adds labels to the store. One per server process.

Bounded, so that predictions have the other threads: one thread at a time works here, and one waits.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from registry.dataclass import dataclass
from registry.errors import PipelineError, TryAgain, from_os_error
from registry.label_store import MOST_PER_ROW, LabelStore
from registry.label_store import Outcome as LabelOutcome
from registry.records.labels import Label
from serving.errors import Refused
from serving.feedback.items import Invalid, Item, read_item
from serving.feedback.rules import gone, label_for
from serving.job import PredictionLogJob
from serving.prediction_log.find import Finder, Found
from serving.prediction_log.rules import is_chosen

AT_ONCE = 2
"""Requests, with the one that waits."""
BUSY_SECONDS = 2.0
"""So long one waits for another process that writes labels."""
SETTLE_SECONDS = 1.0
"""So long after an answer its line may not be there yet."""
LOOK_SECONDS = 0.1
TRIES = 3
STARTED_AGAIN = "retry in some seconds; if that stays so, whoever runs the API has to start it again. Nothing of this request was kept"
Outcome = Literal["added", "same", "invalid", "unknown", "forgotten", "failed"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one report."""

    outcome: Outcome
    request: str = ""
    row: int | None = None
    status: int = 200
    error: str = ""
    hint: str = ""

    def entry(self) -> dict[str, Any]:
        """For the client."""
        found: dict[str, Any] = {"request_id": self.request, "row": self.row, "outcome": self.outcome}
        if self.status >= 400:
            found |= {"status": self.status, "error": self.error} | ({"hint": self.hint} if self.hint else {})
        return found


class FeedbackTaker:
    """For all threads of a process. `counted` is called with each outcome; `lost` gives why nothing can be kept, or found, before
    the API is started again; empty: it can."""

    def __init__(
        self,
        job: PredictionLogJob,
        labels: Path,
        threads: int,
        counted: Callable[[str, int], None],
        lost: Callable[[], str] = str,
    ) -> None:
        self._job, self._path, self._counted, self._lost = job, labels, counted, lost
        self._patient = threads > AT_ONCE
        self._finder = Finder(job)
        self._store: LabelStore | None = None
        self._inode: tuple[int, int] | None = None
        self._places, self._lock = threading.BoundedSemaphore(AT_ONCE), threading.Lock()
        self._waits = threading.Lock()

    def take(self, entries: Sequence[Any], caller: str) -> list[Result]:
        """What became of each report; labels are on the disk when this returns. Raises Refused (503): none was added."""
        with self._turn():
            if why := self._lost():
                self._counted("failed", len(entries))
                raise Refused(503, f"labels cannot be kept: {why}", hint=STARTED_AGAIN, reason=why)
            try:
                results = self._take(entries, caller)
            except PipelineError as error:
                raise self._failed(len(entries), f"{error}; {error.hint}") from None
            except OSError as error:
                known = from_os_error(error, self._path)
                raise self._failed(len(entries), f"{known}; {known.hint}" if known else str(error)) from error
        for each in results:
            self._counted(each.outcome, 1)
        return results

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            if self._store:
                self._store.close()
                self._store = None

    def _take(self, entries: Sequence[Any], caller: str) -> list[Result]:
        now = datetime.now(UTC)
        results: dict[int, Result] = {}
        items: dict[int, Item] = {}
        for i, each in enumerate(entries):
            try:
                items[i] = read_item(each, caller, now)
            except Invalid as error:
                request = each.get("request_id") if isinstance(each, dict) else ""
                results[i] = _refused(error, request if isinstance(request, str) else "", None)
        known = self._find({each.request for each in items.values()})
        labels: dict[int, Label] = {}
        for i, item in items.items():
            try:
                labels[i] = label_for(item, known[item.request], "feedback")
            except Invalid as error:
                results[i] = _refused(error, item.request, item.row)
        with self._lock:
            added = self._keep(list(labels.values())) if labels else []
            purged = self._purged_since({each.request for each in labels.values()})
        for (i, label), outcome in zip(labels.items(), added, strict=True):
            if label.request in purged:
                results[i] = _refused(gone(label.request), label.request, label.row)
            elif outcome == "full":
                full = Invalid(422, f"row: {label.row} has {MOST_PER_ROW} labels already")
                results[i] = _refused(full, label.request, label.row)
            else:
                results[i] = Result(outcome, label.request, label.row)
        return [results[i] for i in range(len(entries))]

    def _find(self, requests: set[str]) -> dict[str, Found]:
        """The answers; those of a moment ago are waited for, by one request at a time."""
        found = self._look(requests)
        missing = [
            each for each, what in found.items() if what.state == "unknown" and is_chosen(each, self._job.fraction)
        ]
        if missing and self._patient and self._waits.acquire(blocking=False):
            try:
                until = time.monotonic() + SETTLE_SECONDS
                while missing and time.monotonic() < until:
                    time.sleep(LOOK_SECONDS)
                    found |= self._look(missing)
                    missing = [each for each in missing if found[each].state == "unknown"]
            finally:
                self._waits.release()
        return found

    def _look(self, requests: Sequence[str] | set[str]) -> dict[str, Found]:
        with self._lock:
            return self._finder.find(list(requests))

    def _keep(self, labels: Sequence[Label]) -> list[LabelOutcome]:
        """Add them, to the file that still is under its path afterwards: what was replaced meanwhile is nobody's any more."""
        for _ in range(TRIES):
            outcomes = self._opened().add(labels)
            if self._there() == self._inode:
                return outcomes
        raise TryAgain(f"{self._path}: replaced again and again", hint="retry when it stays")

    def _purged_since(self, requests: set[str]) -> set[str]:
        """Those that were purged after they had been looked for. A purge is noted before it removes labels: of one that is noted
        later it removes these, too."""
        found = self._finder.purged(requests)
        if found:
            self._opened().purge(found, "the API", "reports that came during a purge")
        return found

    def _opened(self) -> LabelStore:
        """The store. One that was moved away, or removed, is not written any more."""
        there = self._there()
        if self._store is None or there != self._inode:
            if self._store:
                self._store.close()
                self._store = None
            self._store = LabelStore(self._path, BUSY_SECONDS)
            self._inode = there or self._there()
        return self._store

    def _there(self) -> tuple[int, int] | None:
        """Which file is under the path now."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _failed(self, count: int, reason: str) -> Refused:
        self._counted("failed", count)
        return Refused(
            503, "labels cannot be kept now", hint="retry later: nothing of this request was kept", reason=reason
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):  # waiting for it would keep threads from predictions
            raise Refused(503, "other feedback is being taken", hint="retry soon, or send more in one request")
        try:
            yield
        finally:
            self._places.release()


def _refused(error: Invalid, request: str, row: int | None) -> Result:
    outcome: Outcome = {404: "unknown", 410: "forgotten"}.get(error.status, "invalid")  # type: ignore[assignment]
    return Result(outcome, request[:128], row, error.status, str(error), error.hint)
