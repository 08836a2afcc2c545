"""Keeps one worker process at the newest release: load and warm up beside the old model, then swap one reference.

A request takes the model once and is answered by it to the end. The old model is dropped when the last such request has
ended. A release is loaded here only when it has come through in a process that nobody misses (`serving.preflights`); one that
has not is reported, and retried later where that can help. Meanwhile the old model answers, and in a worker that has just
started the last release that is known to.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from registry.errors import Corrupt, PipelineError
from serving import worker_status
from serving.known_good import KnownGood, Live
from serving.model_source import Source
from serving.predictor import Predictor
from serving.preflights import Preflights, Result
from serving.protocols.dialects import predictor_for
from serving.reach import OutOfReach
from serving.version_files import remove_copies

POLL = 0.1  # seconds between two checks of the registry: whoever promotes waits for it, and a check is a few stat calls
RETRY = 2.0  # seconds until a failed release is retried; doubled each time
RETRY_MAX = 60.0
log = logging.getLogger(__name__)


class PreflightFailed(Exception):
    """The release did not come through in a process of its own; the message says how."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.reason)
        self.result = result


class Superseded(Exception):
    """There is a newer release by now."""


class Unread(Exception):
    """The registry cannot be read at the moment."""


class ModelSwap:
    """Holds the predictor that answers, `current`; None: nothing is live, or nothing could be loaded yet."""

    def __init__(
        self,
        source: Source,
        preflights: Preflights,
        known_good: KnownGood,
        folder: Path,
        taking: Callable[[], bool] = lambda: True,
        not_kept: Callable[[], str] = str,
    ) -> None:
        """`folder` is the API's. For its status: `taking`, whether clients reach this worker; `not_kept`, why what it keeps of
        answers cannot be kept."""
        self.current: Predictor | None = None
        self.first_attempt = threading.Event()
        """Set when the first attempt to load has ended, successful or not, or an earlier release is served meanwhile."""
        self._source, self._preflights, self._known_good = source, preflights, known_good
        self._taking, self._not_kept = taking, not_kept
        self._statuses, self._copies = folder / "workers", folder / "models"
        self._wanted = 0
        self._settled = False
        self._failures = 0
        self._retry_at = 0.0
        self._error = ""
        self._unread = ""
        """The last error for which the registry could not be read."""
        self._cut_off = False
        self._state: worker_status.State = "loading"
        self._loading = self._verified = ""
        self._written: worker_status.Status | None = None
        self._write_failed = False

    @property
    def error(self) -> str:
        """Why the newest release is not served; empty when it is."""
        return self._error

    def start(self) -> None:
        """Follow the source in a thread of its own, as long as the process lives."""
        threading.Thread(target=self._follow, name="model-swap", daemon=True).start()

    def poll(self) -> None:
        """Check the source once; load and swap when there is something new."""
        self.write_status()
        try:
            newest = self._source.newest()
            if newest < self._wanted:  # no release is ever removed, but a disk may be
                raise Corrupt(f"release {self._wanted} is gone; the newest in the registry is {newest}")
        except (PipelineError, OSError) as error:
            # The registry cannot be read: what was live still is, as far as anyone knows, so it is served on.
            self._cannot_read(error, "failed" if self.current is None else "ready")
            return
        self._cut_off = False
        if newest != self._wanted:
            self._failures = 0
            self._wanted = newest
            self._load(newest)
        elif not self._settled:
            if time.monotonic() >= self._retry_at:
                self._load(newest)
        elif self.current and self._failed_preflight(self.current.model.digest):  # it has ended other workers
            self._load(newest)
        elif self._error:  # the registry can be read again
            self._error = self._unread = ""
            self._publish("ready" if self.current else "withdrawn")

    def _load(self, number: int) -> None:
        if not self._failures:  # a failed release stays `failed` while it is retried
            self._error = ""
            self._publish("loading")
        live = None
        try:
            live = self._find(number)
            if live:
                self._must_come_through(live, number)
            predictor = self._loaded(live) if live else None
        except Unread as error:
            self._settled, self._retry_at = False, time.monotonic() + RETRY
            if self.current is None:
                self._fall_back(None, number)
            self._cannot_read(error, "loading")
            return
        except Superseded:
            self._settled, self._retry_at = False, 0.0
            return
        except Exception as error:  # noqa: BLE001  (whatever is wrong with a new release, the old one is served)
            if not self._out_of_reach():
                self._not_served(live, number, error)
            return
        withdrawn = self.current is not None or number > 0
        self._take(predictor, live)
        self._wanted = max(number, live.release or 0) if live else number
        self._settled, self._failures, self._error, self._unread = True, 0, "", ""
        if live:
            self._note_verified()
        self._publish("ready" if live else "withdrawn")
        if predictor and live:
            model = predictor.model
            log.info("serving release %s, version %s of %s", live.release, live.version, model.manifest.model)
            if model.batching:
                log.info("%s", model.batching.said())
        elif withdrawn:
            log.warning("nothing is live: release %s withdrew the model", number)

    def _find(self, number: int) -> Live | None:
        """Raises Unread when the registry cannot be read: that is not the release's doing, so nobody shall revert it."""
        try:
            return self._source.find(number)
        except Corrupt:
            raise
        except (PipelineError, OSError) as error:
            raise Unread(str(error)) from None

    def _out_of_reach(self) -> bool:
        """Whether the registry has gone while a release was loaded: that is why it failed."""
        try:
            self._source.newest()
        except OutOfReach as error:
            self._settled, self._retry_at = False, 0.0
            self._cannot_read(error, "loading")
            return True
        except (PipelineError, OSError):
            pass
        return False

    def _cannot_read(self, error: Exception, state: worker_status.State) -> None:
        if str(error) != self._unread:
            self._unread = str(error)
            log.error("the registry cannot be read: %s", error)
        self._error, self._cut_off = str(error), isinstance(error, OutOfReach)
        self._publish(state)

    def _must_come_through(self, live: Live, number: int) -> None:
        """Raise PreflightFailed unless the version has served on this machine, or comes through in a process of its own."""
        known = self._preflights.known(live.card)
        served = [each.card for each in self._known_good.all()]
        if self.current:
            served.append(self.current.model.digest)
        if known is None and live.card in served:
            return
        if self.current is None and live.card not in served:
            self._fall_back(live, number)
        if known and known.outcome == "loaded":
            return
        result = self._preflights.of(live, lambda: self._superseded(number))
        if result is None:
            raise Superseded
        if result.outcome != "loaded":
            raise PreflightFailed(result)

    def _note_verified(self) -> None:
        """That nothing is verified must not stay unseen."""
        now = self._source.verified()
        if now != self._verified:
            log.log(logging.WARNING if now.startswith("not ") else logging.INFO, "the registry's records are %s", now)
        self._verified = now

    def _superseded(self, number: int) -> bool:
        try:
            return self._source.newest() != number
        except (PipelineError, OSError):  # the next poll reports it
            return False

    def _failed_preflight(self, card: str) -> bool:
        known = self._preflights.known(card)
        return known is not None and known.outcome != "loaded"

    def _not_served(self, live: Live | None, number: int, error: Exception) -> None:
        """Report it, and serve what is known to work, if nothing else answers."""
        known = isinstance(error, (PipelineError, OSError, PreflightFailed))
        log.log(logging.ERROR, "release %s cannot be served: %s", number, error, exc_info=None if known else error)
        final = isinstance(error, PreflightFailed) and error.result.final
        self._failures += 1
        self._settled = False
        self._retry_at = math.inf if final else time.monotonic() + min(RETRY * 2 ** (self._failures - 1), RETRY_MAX)
        self._error = str(error) if known else f"{type(error).__name__}: {error}"
        ended_others = self.current and live and final and self.current.model.digest == live.card
        if self.current is None or ended_others:
            self._fall_back(live, number)
        if self.current is None and isinstance(error, PreflightFailed) and error.result.outcome != "refused":
            self._fall_back_to_history(number)
        self._publish("failed")

    def _fall_back(self, live: Live | None, number: int) -> None:
        """Serve the last release that has answered on this machine and is not `live`'s version, if there is one.

        Without `live` the registry is not believed: then no release is served that is older than the last one, or who shortens a
        registry could bring an older one back.
        """
        for each in self._known_good.all()[: None if live else 1]:
            if (
                not (live and each.card == live.card)
                and not self._failed_preflight(each.card)
                and self._serve(each, number)
            ):
                return

    def _fall_back_to_history(self, number: int) -> None:
        """None has answered on this machine, as in a new container: serve what was live before, after a preflight."""
        try:
            earlier = self._source.before(number)
        except (PipelineError, OSError) as error:
            log.warning("the releases before release %s cannot be read: %s", number, error)
            return
        result = self._preflights.of(earlier, lambda: self._superseded(number)) if earlier else None
        if earlier and result and result.outcome == "loaded":
            self._serve(earlier, number)

    def _serve(self, earlier: Live, number: int) -> bool:
        """Serve an earlier release instead of release `number`."""
        try:
            predictor = self._loaded(earlier)
        except Exception as error:  # noqa: BLE001  (another one may do)
            log.warning("release %s cannot be served any more: %s", earlier.release, error)
            return False
        self._take(predictor, earlier)
        log.warning("release %s is served instead of release %s", earlier.release, number)
        self.write_status()
        self.first_attempt.set()
        return True

    def _loaded(self, live: Live) -> Predictor:
        """Load it in this process."""
        self._loading = live.card
        self.write_status()
        try:
            return predictor_for(self._source.load(live))
        finally:
            self._loading = ""

    def _take(self, predictor: Predictor | None, live: Live | None) -> None:
        self.current = predictor  # the swap
        if live and live.release:
            try:
                self._known_good.add(live)
            except OSError as error:  # a full disk
                log.warning("release %s is served, but not noted as good: %s", live.release, error)
        remove_copies(self._copies, keep=predictor.model.manifest if predictor else None)

    def _publish(self, state: worker_status.State) -> None:
        self._state = state
        self.write_status()

    def write_status(self) -> None:
        """Write the status file, when it would change; one that cannot be written is written at one of the next polls."""
        model = self.current.model if self.current else None
        status = worker_status.Status(
            os.getpid(),
            self._state,
            self._wanted,
            model.release if model else None,
            model.manifest.version if model else None,
            model.digest if model else "",
            self._error,
            self._taking(),
            self._verified,
            self._loading,
            self._cut_off,
            model.manifest.created_at if model else "",
            model.batching.said() if model and model.batching else "",
            self._not_kept(),
        )
        if status == self._written:
            return
        try:
            worker_status.write(self._statuses, status)
        except OSError as error:
            if not self._write_failed:
                log.warning("the status cannot be written, retrying: %s", error)
            self._write_failed = True
        else:
            self._written, self._write_failed = status, False

    def _follow(self) -> None:
        while True:
            try:
                self.poll()
                self.write_status()
            except Exception:  # whatever it is, it must not end the thread
                log.exception("checking for a new release failed, retrying")
            self.first_attempt.set()
            time.sleep(POLL)
