"""Other released versions than the live one, for clients that ask for them by number: loaded on demand, bounded, dropped
when unused.

A version is tried in a process of its own first, as every release is (serving.preflights). It is loaded in a thread of its own:
the request that asks first waits for a moment only, and others are never held up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from registry.errors import PipelineError
from serving.errors import Refused
from serving.known_good import Live
from serving.model_source import Source
from serving.predictor import Predictor
from serving.preflights import Preflights

WAIT = 10.0
"""Seconds for which a request waits for a version to be loaded; then it is 503, and the next one may find it there."""
UNUSED = 600.0
"""Seconds after which a version that nobody asks for is dropped."""
AT_LEAST = 10.0
"""Seconds for which a version stays, whoever asks for others: or two clients would have two versions loaded in turns."""
FAILED = 30.0
"""Seconds for which a version that did not load is not tried again."""
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    loaded: float = 0.0
    used: float = 0.0
    ready: threading.Event = field(default_factory=threading.Event)
    predictor: Predictor | None = None
    reason: str = ""
    """Why it is not there, for the log."""


class EarlierVersions:
    """At most `most` versions of `model` besides the live one; `make` builds the predictor of what `source` has loaded."""

    def __init__(
        self,
        model: str,
        most: int,
        source: Callable[[], Source],
        preflights: Preflights,
        make: Callable[[Source, Live], Predictor],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`source` opens one, for one thread at a time; that of the live release is not used."""
        self._model, self._most, self._open, self._preflights = model, most, source, preflights
        self._make, self._clock = make, clock
        self._source: Source | None = None
        self._released: tuple[int, dict[int, Live]] = (0, {})
        """The newest release, and what had been released then."""
        self._entries: dict[int, _Entry] = {}
        self._lock = threading.Lock()
        self._one = threading.Lock()

    def __call__(self, version: int) -> Predictor:
        """The predictor of a released version; raises Refused: 404 when it is not released, 503 while it cannot be had."""
        live = self._live(version)
        entry, begun = self._entry(version)
        if begun:
            threading.Thread(target=self._load, args=(live, entry), name="earlier-version", daemon=True).start()
        entry.ready.wait(WAIT)
        entry.used = self._clock()
        if entry.predictor is not None:
            return entry.predictor
        message = f"{self._model}: version {version} is being loaded"
        if entry.ready.is_set():
            message = f"{self._model}: version {version} cannot be loaded"
        raise Refused(503, message, hint="retry later, or ask the live version", reason=entry.reason)

    def drop_unused(self) -> None:
        """Forget what nobody has asked for in a while; called now and then."""
        with self._lock:
            now = self._clock()
            for version, each in list(self._entries.items()):
                if each.ready.is_set() and now - each.used > (UNUSED if each.predictor else FAILED):
                    del self._entries[version]

    def _live(self, version: int) -> Live:
        """What made the version live last; the registry's history is read when there is a new release."""
        try:
            with self._one:
                source = self._source = self._source or self._open()
                if (newest := source.newest()) != self._released[0]:
                    self._released = newest, source.released()
                found = self._released[1].get(version)
        except (PipelineError, OSError) as error:
            message = f"{self._model}: other versions cannot be asked now"
            raise Refused(503, message, hint="retry later, or ask the live version", reason=str(error)) from None
        if found is None:
            raise Refused(404, f"{self._model}: version {version} is not released", hint="ask one that was released")
        return found

    def _entry(self, version: int) -> tuple[_Entry, bool]:
        """That of the version, and whether it is a new one, which has to be loaded."""
        self.drop_unused()
        with self._lock:
            if known := self._entries.get(version):
                return known, False
            if len(self._entries) >= self._most and not self._make_room():
                message = f"{self._model}: {self._most} other versions are in use"
                raise Refused(503, message, hint="retry later, or ask the live version")
            entry = self._entries[version] = _Entry(used=self._clock())
            return entry, True

    def _make_room(self) -> bool:
        now = self._clock()
        idle = [
            number for number, each in self._entries.items() if each.ready.is_set() and now - each.loaded >= AT_LEAST
        ]
        if not idle:
            return False
        del self._entries[min(idle, key=lambda number: self._entries[number].used)]
        return True

    def _load(self, live: Live, entry: _Entry) -> None:
        try:
            result = self._preflights.of(live, lambda: False)
            if result is None or result.outcome != "loaded":
                entry.reason = result.reason if result else "its preflight did not end"
            else:
                entry.predictor = self._make(self._open(), live)
                log.info("version %s is loaded besides the live one", live.version)
        except (PipelineError, OSError) as error:
            entry.reason = str(error)
        except Exception as error:  # whatever is wrong with it, other versions are served
            entry.reason = f"{type(error).__name__}: {error}"
            log.exception("version %s cannot be loaded", live.version)
        entry.loaded = self._clock()
        entry.ready.set()
