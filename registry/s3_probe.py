"""Whether a store of objects keeps its promise: of those who create one object at once, exactly one succeeds.

Some stores refuse a second create, but not a concurrent one; others answer 200 and overwrite. Both would lose a release. So
the probe races. Uploads in parts need no race: they only ever make the object that is called by the SHA-256 of its bytes, and
of two that are completed at once it does not matter which one stays.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registry.errors import ConfigError, PipelineError
from registry.files import sha256_bytes, write_whole
from registry.s3_client import Place
from registry.s3_objects import Objects
from registry.store_options import Access

FOLDER = ".store/probe"
ROUNDS, RACERS = 5, 8
AGAIN = 3
"""So often a round is run in which all were in each other's way."""
FRESH = 24 * 3600  # seconds
ABANDONED = 3600  # seconds after which a probe's object belongs to nobody
REMEDY = (
    "its conditional writes do not hold when they are concurrent, so that a release could be lost: use a newer version of it "
    "or another store (AWS S3, SeaweedFS from 4.48 on, MinIO), or a folder with file://"
)


class Probed:
    """Remembers in a folder of this machine that a bucket of a store has passed."""

    def __init__(self, folder: Path, access: Access, place: Place) -> None:
        self._mark = folder / "probed" / sha256_bytes(f"{access.endpoint} {place.bucket}".encode())[:16]
        self._known = False

    def is_fresh(self) -> bool:
        """Whether it has within a day, or for this process."""
        if not self._known:
            with contextlib.suppress(OSError):
                self._known = 0 <= time.time() - self._mark.stat().st_mtime < FRESH
        return self._known

    def remember(self, server: str) -> None:
        """It has passed just now; `server`: for people."""
        self._known = True
        with contextlib.suppress(OSError):  # it only saves time
            write_whole(self._mark, f"{server}\n".encode())


def probe(objects: Objects) -> None:
    """Raise ConfigError unless every race has exactly one winner, whose bytes can be read. Leaves nothing, if it may."""
    _tidy(objects)
    for _ in range(ROUNDS):
        _race(objects)


def _race(objects: Objects) -> None:
    for _ in range(AGAIN):
        name = f"{FOLDER}/{int(time.time())}-{uuid.uuid4().hex}"
        try:
            winners = _run(objects, name)
            if not winners and objects.head(name) is None:  # a store may refuse all that come at the same time
                continue
            if len(winners) != 1:
                raise _unfit(
                    objects, f"{len(winners)} of {RACERS} concurrent creates of one object succeed, and not one"
                )
            if objects.get(name) != winners[0]:
                raise _unfit(objects, "an object that was created has the bytes of a create that was refused")
            return
        finally:
            with contextlib.suppress(PipelineError):  # who may write need not be allowed to remove
                objects.remove(name)
    raise _unfit(objects, f"none of {RACERS} concurrent creates of one object succeeds")


def _run(objects: Objects, name: str) -> list[bytes]:
    """The bytes of those that succeed."""
    start = threading.Barrier(RACERS)

    def run(body: bytes) -> bool:
        start.wait()
        try:
            return objects.create_once(name, body)
        except FileExistsError:
            return False

    bodies = [f"{name} {racer}".encode() for racer in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        won = list(pool.map(run, bodies))
    return [body for body, has_won in zip(bodies, won, strict=True) if has_won]


def _unfit(objects: Objects, what: str) -> ConfigError:
    return ConfigError(f"{objects.place}: {objects.server()}: {what}", hint=REMEDY)


def _tidy(objects: Objects) -> None:
    """Remove what a killed probe has left."""
    for name, _ in objects.listing(FOLDER):
        begun = name.partition("-")[0]
        if begun.isdecimal() and int(begun) < time.time() - ABANDONED:
            with contextlib.suppress(PipelineError):
                objects.remove(f"{FOLDER}/{name}")
