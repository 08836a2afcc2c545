"""Releases, approvals and versions of a model, as the registry has them now.

A history that was read before is the same when its last record has the same bytes, as each record holds the hash of the one before
it; what was appended is read, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from pipelines.console.facts.cache import Cache
from pipelines.console.installation import Place
from pipelines.text.metrics import short
from registry import candidates, releases
from registry.chain import Chain, Record
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import sha256_bytes
from registry.records import Approval, Comparison, Release

R = TypeVar("R", bound=Record)
T = TypeVar("T")
FAR = 10.0
"""Seconds for which a registry in a bucket is not asked again: each question is a request over the network."""
MOST_WAITING = 5
"""Versions that wait for a decision, the newest; older ones were overtaken."""


@dataclass(frozen=True, slots=True)
class History:
    """All releases and approvals, the oldest first."""

    releases: tuple[Release, ...] = ()
    approvals: tuple[Approval, ...] = ()

    @property
    def latest(self) -> Release | None:
        """Also one that says that nothing is live."""
        return self.releases[-1] if self.releases else None

    @property
    def live(self) -> Release | None:
        """What answers requests."""
        latest = self.latest
        return latest if latest and latest.version is not None else None


@dataclass(frozen=True, slots=True)
class Version:
    """What pages show of a version's manifest; it never changes."""

    number: int
    card: str
    created_at: str
    how: str
    note: str
    run: str
    accepted: bool
    metric: str
    value: float
    """Of the gate's metric on the holdout."""
    samples: int
    shown: str
    """The metric, beside the live release's of then."""
    authors: tuple[str, ...]
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """Records of a chain, and the bytes of the last one."""

    records: tuple[object, ...] = ()
    last: bytes = b""


def history(cache: Cache, place: Place) -> History:
    """Raises PipelineError when the registry cannot be read, or was altered."""
    store, model = place.store, place.name
    released = released_only(cache, place).releases  # first: its approvals are then there

    def approved() -> tuple[Approval, ...]:
        return _records(cache, place, releases.approval_chain(store, model))

    return History(released, _seldom(cache, place, "approvals", approved))


def released_only(cache: Cache, place: Place) -> History:
    """As `history`, without the approvals."""

    def released() -> tuple[Release, ...]:
        return _records(cache, place, releases.release_chain(place.store, place.name))

    return History(_seldom(cache, place, "releases", released))


def version(cache: Cache, place: Place, number: int) -> Version:
    """Raises ConfigError when there is no such version, Corrupt when it was altered."""
    return cache.get(("version", place.config.registry.url, place.name, number), "", lambda: _version(place, number))


def versions_of(cache: Cache, place: Place, numbers: Iterator[int]) -> Mapping[int, Version]:
    """Those of these numbers that are registered; an unfinished one is left out."""
    found = {}
    for number in numbers:
        try:
            found[number] = version(cache, place, number)
        except ConfigError:
            continue
    return found


def waiting(cache: Cache, place: Place, known: History) -> tuple[Version, ...]:
    """The versions that somebody may promote: newer than all that were released, accepted by the gate, and by their newest acceptance
    test. The newest first."""

    def read() -> tuple[Version, ...]:
        above = max((each.version or 0 for each in known.releases), default=0)
        numbers = [each for each in candidates.numbers(place.store, place.name) if each > above]
        found = versions_of(cache, place, iter(numbers[: -MOST_WAITING - 1 : -1]))
        return tuple(each for each in found.values() if each.accepted and _is_tested(cache, place, each))

    return _seldom(cache, place, "waiting", read)


def _is_tested(cache: Cache, place: Place, one: Version) -> bool:
    chain = candidates.acceptance_chain(place.store, place.name, one.number, one.card)
    number = chain.last()
    if not number:
        return False
    key = ("accepted", place.config.registry.url, chain.name(number))
    return cache.get(key, "", lambda: chain.read(number).accepted)


def _version(place: Place, number: int) -> Version:
    found, digest = candidates.read_manifest(place.store, place.name, number)
    metric, measured = found.verdict.policy.measure, found.evaluation.candidate
    return Version(
        number, digest, found.created_at, found.how, found.note, found.run, found.verdict.accepted,
        metric, measured.values.get(metric, float("nan")), measured.samples, short(found.evaluation, metric),
        found.authors or (), found.evaluation.comparison,
    )  # fmt: skip


def _records(cache: Cache, place: Place, chain: Chain[R]) -> tuple[R, ...]:
    key = ("chain", place.config.registry.url, chain.folder)
    kept: _Kept = cache.last(key) or _Kept()
    count = len(kept.records)
    if count and not _is_last(chain, count, kept.last):
        kept, count = _Kept(), 0
    if chain.has(count + 1) or not count:
        if count:
            records = kept.records + tuple(chain.records_after(count, sha256_bytes(kept.last)))
        else:
            records = tuple(chain.records())
        last = chain.store.get(chain.name(len(records))) if records else b""
        kept = _Kept(records, last)
        cache.put(key, len(records), kept)
    return kept.records  # type: ignore[return-value]  # of this chain


def _is_last(chain: Chain[R], number: int, data: bytes) -> bool:
    try:
        return chain.store.get(chain.name(number)) == data
    except FileNotFoundError:
        return False


def _seldom(cache: Cache, place: Place, what: str, read: Callable[[], T]) -> T:
    """What `read` gives; of a registry in a bucket for up to `FAR` seconds without asking it again."""
    if place.config.registry.url.startswith("file://"):
        return read()
    key = (what, place.config.registry.url, place.name)
    return cache.get(key, int(time.monotonic() / FAR), read)
