"""Keeps one worker process at the newest release: load and warm up beside the old model, then swap one reference.

A request takes the model once and is answered by it to the end. The old model is dropped when the last such request has
ended. A release that cannot be loaded is reported and retried later; the old model answers meanwhile.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from registry.errors import Corrupt, PipelineError
from serving import worker_status
from serving.model_source import Source
from serving.predictor import Predictor, predictor_for
from serving.version_files import remove_copies

POLL = 0.1  # seconds between two checks of the registry: whoever promotes waits for it, and a check is a few stat calls
RETRY = 2.0  # seconds until a failed release is retried; doubled each time
RETRY_MAX = 60.0
log = logging.getLogger(__name__)


class ModelSwap:
    """Holds the predictor that answers, `current`; None: nothing is live, or nothing could be loaded yet."""

    def __init__(self, source: Source, status: Path, copies: Path, taking: Callable[[], bool] = lambda: True) -> None:
        """`status`: the folder for the worker's status file. `taking`: whether clients reach this worker, for its status."""
        self.current: Predictor | None = None
        self.first_attempt = threading.Event()
        """Set when the first attempt to load has ended, successful or not."""
        self._source, self._status, self._copies, self._taking = source, status, copies, taking
        self._wanted = 0
        self._settled = False
        self._failures = 0
        self._retry_at = 0.0
        self._error = ""
        self._published: worker_status.Status | None = None

    @property
    def error(self) -> str:
        """Why the newest release is not served; empty when it is."""
        return self._error

    def start(self) -> None:
        """Follow the source in a thread of its own, as long as the process lives."""
        threading.Thread(target=self._follow, name="model-swap", daemon=True).start()

    def poll(self) -> None:
        """Check the source once; load and swap when there is something new."""
        if self._published is None:
            self._publish("loading")
        try:
            newest = self._source.newest()
            if newest < self._wanted:  # no release is ever removed, but a disk may be
                raise Corrupt(f"release {self._wanted} is gone; the newest in the registry is {newest}")
        except (PipelineError, OSError) as error:
            # The registry cannot be read: what was live still is, as far as anyone knows, so it is served on.
            self._error = str(error)
            self._publish("failed" if self.current is None else "ready")
            return
        if newest != self._wanted or (not self._settled and time.monotonic() >= self._retry_at):
            if newest != self._wanted:
                self._failures = 0
            self._wanted = newest
            self._load(newest)
        elif self._settled and self._error:  # the registry can be read again
            self._error = ""
            self._publish("ready" if self.current else "withdrawn")

    def _load(self, number: int) -> None:
        if not self._failures:  # a failed release stays `failed` while it is retried
            self._error = ""
            self._publish("loading")
        try:
            model = self._source.load(number)
            predictor = predictor_for(model) if model else None
        except Exception as error:  # whatever is wrong with a new release, the old one is served
            known = isinstance(error, (PipelineError, OSError))
            log.log(logging.ERROR, "release %s cannot be served: %s", number, error, exc_info=None if known else error)
            self._failures += 1
            self._settled = False
            self._retry_at = time.monotonic() + min(RETRY * 2 ** (self._failures - 1), RETRY_MAX)
            self._error = str(error) if known else f"{type(error).__name__}: {error}"
            self._publish("failed")
            return
        old, self.current = self.current, predictor  # the swap
        self._wanted = max(number, model.release or 0) if model else number
        self._settled, self._failures, self._error = True, 0, ""
        self._publish("ready" if model else "withdrawn")
        if model:
            log.info(
                "serving release %s, version %s of %s", model.release, model.manifest.version, model.manifest.model
            )
        elif old or number:
            log.warning("nothing is live: release %s withdrew the model", number)
        remove_copies(self._copies, keep=model.manifest if model else None)

    def _publish(self, state: worker_status.State) -> None:
        """Write the status file, when it would change."""
        model = self.current.model if self.current else None
        status = worker_status.Status(
            os.getpid(),
            state,
            self._wanted,
            model.release if model else None,
            model.manifest.version if model else None,
            model.digest if model else "",
            self._error,
            self._taking(),
        )
        if status != self._published:
            self._published = status
            worker_status.write(self._status, status)

    def _follow(self) -> None:
        while True:
            try:
                self.poll()
                if self._published and self._published.taking != self._taking():
                    self._publish(self._published.state)
            except Exception:  # a full disk under the status file must not end the thread
                log.exception("checking for a new release failed, retrying")
            self.first_attempt.set()
            time.sleep(POLL)
