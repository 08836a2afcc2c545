"""Keeps one worker process at the newest release: load and warm beside the old one, then swap one reference.

A request takes the model once and is answered by it to the end. The old model is dropped when the last such request
lets go of it. A release that cannot be loaded is told and tried again later; the old one goes on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from registry.errors import Corrupt, PipelineError
from serving.model import Model, forget_copies
from serving.model_source import Source
from serving.server import worker_status

POLL = 0.1  # seconds between looks at the registry: whoever promotes waits for us, and a look is a few stat calls
RETRY = 2.0  # seconds until a failed release is tried again; doubled each time
RETRY_MAX = 60.0
log = logging.getLogger("gunicorn.error")


class Watcher:
    """Holds the model that answers, `current`; None: nothing is live, or nothing could be loaded yet."""

    def __init__(self, source: Source, workers: Path, copies: Path, taking: Callable[[], bool] = lambda: True) -> None:
        """`taking` tells whether clients reach this worker; its status says so."""
        self.current: Model | None = None
        self.workers = workers
        self.first = threading.Event()
        """Set when the first attempt to load has ended, well or not."""
        self._source, self._copies, self._taking = source, copies, taking
        self._wanted = 0
        self._settled = False
        self._failures = 0
        self._retry_at = 0.0
        self._error = ""
        self._told: worker_status.Status | None = None

    @property
    def error(self) -> str:
        """Why the newest release is not served; empty when it is."""
        return self._error

    def start(self) -> None:
        """Follow the source in a thread of its own, as long as the process lives."""
        threading.Thread(target=self._follow, name="watcher", daemon=True).start()

    def step(self) -> None:
        """Look once; load and swap when there is something new."""
        if self._told is None:
            self._tell("loading")
        try:
            newest = self._source.newest()
            if newest < self._wanted:  # releases are never taken away, but a disk may be
                raise Corrupt(f"release {self._wanted} has gone; the newest in the registry is {newest}")
        except (PipelineError, OSError) as error:
            # The registry is away: what we have is what was live, and goes on.
            self._error = str(error)
            self._tell("failed" if self.current is None else "ready")
            return
        if newest != self._wanted or (not self._settled and time.monotonic() >= self._retry_at):
            if newest != self._wanted:
                self._failures = 0
            self._wanted = newest
            self._load(newest)
        elif self._settled and self._error:  # the registry was away and is back
            self._error = ""
            self._tell("ready" if self.current else "withdrawn")

    def _load(self, number: int) -> None:
        if not self._failures:  # a failed release stays `failed` while it is tried again
            self._error = ""
            self._tell("loading")
        try:
            model = self._source.load(number)
        except Exception as error:  # whatever is wrong with a new release, the old one goes on
            known = isinstance(error, (PipelineError, OSError))
            log.log(logging.ERROR, "release %s cannot be served: %s", number, error, exc_info=None if known else error)
            self._failures += 1
            self._settled = False
            self._retry_at = time.monotonic() + min(RETRY * 2 ** (self._failures - 1), RETRY_MAX)
            self._error = str(error) if known else f"{type(error).__name__}: {error}"
            self._tell("failed")
            return
        old, self.current = self.current, model  # the swap
        self._wanted = max(number, model.release or 0) if model else number
        self._settled, self._failures, self._error = True, 0, ""
        self._tell("ready" if model else "withdrawn")
        if model:
            log.info("serving release %s, version %s of %s", model.release, model.card.version, model.card.model)
        elif old or number:
            log.warning("nothing is live: release %s withdrew the model", number)
        forget_copies(self._copies, model)

    def _tell(self, state: worker_status.State) -> None:
        model = self.current
        told = worker_status.Status(
            os.getpid(),
            state,
            self._wanted,
            model.release if model else None,
            model.card.version if model else None,
            model.digest if model else "",
            self._error,
            self._taking(),
        )
        if told != self._told:
            self._told = told
            worker_status.tell(self.workers, told)

    def _follow(self) -> None:
        while True:
            try:
                self.step()
                if self._told and self._told.taking != self._taking():
                    self._tell(self._told.state)
            except Exception:  # a full disk under the status file must not end the watch
                log.exception("the watcher stumbled and goes on")
            self.first.set()
            time.sleep(POLL)
