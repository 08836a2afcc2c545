"""Counts the workers that a version ends while it is loaded or serves, and takes it out of service when there are too many.

A crash ends a process without a word, so gunicorn's master does it, by the status file that the worker has left. Light.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from serving import worker_status
from serving.known_good import KnownGood
from serving.preflights import Preflights, Result

CRASHES = 3
"""Of workers with the same version …"""
SECONDS = 60.0
"""… within this time are the version's doing: one alone may be the machine's, or an operator's."""
log = logging.getLogger(__name__)


class WorkerCrashes:
    """Those of the workers whose status files are in `status`."""

    def __init__(
        self, preflights: Preflights, known_good: KnownGood, status: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._preflights, self._known_good, self._status, self._clock = preflights, known_good, status, clock
        self._times: dict[str, deque[float]] = {}
        """By the version's card."""

    def worker_ended(self, pid: int) -> None:
        """One that has ended in order has removed its status file before."""
        if left := worker_status.read(self._status, pid):
            worker_status.remove(self._status, pid)
            if card := left.get("loading") or left["card"]:
                self._count(card)

    def _count(self, card: str) -> None:
        times = self._times.setdefault(card, deque(maxlen=CRASHES))
        times.append(self._clock())
        if len(times) < CRASHES or times[-1] - times[0] > SECONDS:
            return
        others = [each for each in self._known_good.all() if each.card != card and not self._failed(each.card)]
        if not others:  # better a version that crashes now and then than none
            log.error(
                "the live version has ended %s server processes within %.0f s; no other has answered", CRASHES, SECONDS
            )
            return
        reason = f"it has ended {CRASHES} server processes within {times[-1] - times[0]:.1f} s"
        log.error("the live version is taken out of service: %s; release %s is served", reason, others[0].release)
        self._preflights.note(card, Result("crashed", reason, final=True, at=self._clock()))

    def _failed(self, card: str) -> bool:
        known = self._preflights.known(card)
        return known is not None and known.outcome != "loaded"
