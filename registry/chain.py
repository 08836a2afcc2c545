"""Append-only records: `<folder>/000001.json`, `000002.json`, …, each with the SHA-256 of the one before it.

The next number is taken by an exclusive create, so no lock is needed: of those who append at once, one wins.
"""

from __future__ import annotations

import random
import re
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, ClassVar, Generic, Protocol, TypeVar, overload

from registry import codec
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt, PipelineError, TryAgain
from registry.files import sha256_bytes
from registry.stores import Store, get_all, lists_onwards, present, signatures_of

NAME = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.json")
PREVIOUS_LINE = re.compile(rb'\n "previous": "([0-9a-f]{64})"')  # one space: only at the top level
KEEP_AFTER = 16
"""So many records of a chain are read again, each time, before this machine keeps them."""
PAGE = 1000
"""Names: as many as an object store lists with one request."""
PAGES = 8
"""So many pages of a history that this machine has are listed each time, all at once."""
LAST_IN_ORDER = 900_000
"""Below this number the names of those that follow are in the order of the numbers: a seventh digit is far away."""


def signed_bytes(store: Store, name: str, record: object) -> bytes:
    """The bytes of a record for this store: with a checksum, and a signature if the store's records are signed."""
    if signatures := signatures_of(store):
        return codec.with_checksum(record, lambda digest: signatures.sign(name, digest))
    return codec.with_checksum(record)


class Record(Protocol):
    """One link of a chain: a dataclass with at least these fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def number(self) -> int: ...
    @property
    def previous(self) -> str: ...


R = TypeVar("R", bound=Record)


class LostRace(TryAgain):
    """A concurrent writer has appended."""


@dataclass(frozen=True, slots=True)
class Chain(Generic[R]):
    """The records of one kind in one folder."""

    store: Store
    kind: type[R]
    folder: str
    first: str = ""
    """What the first record names as `previous`."""

    def name(self, number: int) -> str:
        """The file of one record."""
        return f"{self.folder}/{_file(number)}"

    def numbers(self) -> list[int]:
        """The numbers that are there, in order, by one listing."""
        return self._and_next(_numbers_in(self.store.names(self.folder)))

    def last(self, known: int = 0) -> int:
        """The highest number; 0 when there is none. `known`: as for `numbers_from`."""
        if lists_onwards(self.store):
            return max(self.numbers_from(known), default=0)
        return self.last_listed()

    def last_listed(self) -> int:
        """The highest number that a listing shows, which may lag behind."""
        names = self.store.names(self.folder)  # sorted by text, in which longer numbers come too early
        names.sort(key=len)
        return next((int(name[:-5]) for name in reversed(names) if NAME.fullmatch(name)), 0)

    def numbers_from(self, known: int) -> list[int]:
        """As `numbers`, of `known` and those after it, when it is still there and the store lists onwards; else all."""
        onwards = lists_onwards(self.store)
        if onwards is None or not 0 < known < LAST_IN_ORDER:
            return self.numbers()
        found = _numbers_in(onwards.names_after(self.folder, _file(known - 1)))
        return self._and_next(found) if found[:1] == [known] else self.numbers()

    def _and_next(self, listed: list[int]) -> list[int]:
        """These numbers, and those that follow the last of them: what a bucket's listing does not show yet is there all the
        same when it is asked for."""
        if lists_onwards(self.store):
            while self.has((listed[-1] if listed else 0) + 1):
                listed.append((listed[-1] if listed else 0) + 1)
        return listed

    def has(self, number: int) -> bool:
        """Whether there is this record, without a listing."""
        return bool(present(self.store, [self.name(number)]))

    def read(self, number: int) -> R:
        """One record with its checksum and number checked; raises FileNotFoundError or Corrupt."""
        return self.decode(number, self.store.get(self.name(number)))

    def read_all(self) -> list[R]:
        """All records in order, the chain checked; raises as `records` does."""
        return list(self.records())

    def records(self) -> Records[R]:
        """All records, the chain checked, each to be decoded when it is asked for.

        Raises Corrupt with the first problem, TryAgain when it was repaired during the read.

        The last one's checksum, and signature, vouches for its bytes, and each one's `previous` for the bytes of the one before it: so
        an altered byte shows, wherever it is, without decoding thousands. For the same reason a signed registry's records are
        read once by a machine that keeps them: from then on the last one, and what is new, vouch for what it has kept, or
        it is not used. That none was removed shows in the listing; see `_numbers`.
        """
        signatures = signatures_of(self.store)
        kept = signatures.kept(self.folder) if signatures else []
        numbers = self._numbers(len(kept))
        last = numbers[-1] if numbers else 0
        is_whole = numbers == list(
            range(1, last + 1)
        )  # else one is missing, or the listing has missed what was being written
        kept = kept[: last - 1] if last and is_whole else []
        found = self._read_after(kept, self.first, last)
        if found is None and kept:
            kept, found = [], self._read_after([], self.first, last)
        if found is None:
            raise self._broken()
        if signatures and len(found) - len(kept) > KEEP_AFTER:
            signatures.keep(self.folder, found)
        return Records(self, found)

    def records_after(self, number: int, digest: str) -> list[R]:
        """As `records`, of those after `number`, which was checked before and has bytes with this SHA-256."""
        found = self._read_after([], digest, self.last(number), number + 1)
        if found is None:
            raise self._broken()
        return [self.decode(each, data, vouched=True) for each, data in enumerate(found, number + 1)]

    def before(self, number: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of the records before `number`, which has these bytes, the newest first.

        Each one's `previous` vouches for the bytes of the one before it. Raises Corrupt at the first that it does not vouch for.
        """
        for each in range(number - 1, 0, -1):
            previous = PREVIOUS_LINE.search(data)
            try:
                data = self.store.get(self.name(each))
            except FileNotFoundError:
                raise self._broken() from None
            if previous is None or previous[1].decode() != sha256_bytes(data):
                raise self._broken()
            yield each, data

    def _numbers(self, kept: int) -> list[int]:
        """As `numbers`, of a chain whose first `kept` records this machine has.

        Where a page of names costs a request, the pages of those that it has are asked for all at once, and of a chain of more
        than `PAGES` so many of them, by chance: a lost end shows at once, and so does a lost record before it, but in a longer
        chain, where it does after a few commands. `check` looks for each.
        """
        onwards = lists_onwards(self.store)
        if onwards is None or not PAGE < kept < LAST_IN_ORDER:
            return self.numbers()
        starts = range(0, kept - 1, PAGE)
        looked = starts if len(starts) <= PAGES else random.sample(starts, PAGES)

        def is_whole(start: int) -> bool:
            wanted = [_file(number) for number in range(start + 1, min(start + PAGE, kept) + 1)]
            return onwards.names_after(self.folder, _file(start), len(wanted)) == wanted

        from concurrent.futures import ThreadPoolExecutor  # a short history does without

        with ThreadPoolExecutor(PAGES + 1) as pool:
            tail, pages = pool.submit(self.numbers_from, kept), list(pool.map(is_whole, looked))
        if tail.result()[:1] != [kept] or not all(pages):
            return self.numbers()
        return [*range(1, kept), *tail.result()]

    def _read_after(self, kept: list[bytes], previous: str, last: int, first: int = 1) -> list[bytes] | None:
        """The records `first` to `last`, of which those in `kept` need not be read; None unless each names the one before it,
        and `first` names `previous`. The checksum, and signature, of the last one holds."""
        try:
            found = kept + get_all(self.store, map(self.name, range(first + len(kept), last + 1)))
        except FileNotFoundError:
            raise self._broken() from None
        if found:
            self.decode(last, found[-1])
        start = codec.line("previous", "").removesuffix(b'"')
        for each in found:
            if start + previous.encode() + b'"' not in each:
                return None
            previous = sha256_bytes(each)
        return found

    def append(self, draft: R, after: int, sign: Callable[[str], str] | None = None) -> R:
        """Append `draft` with its number, `after` + 1, and `previous` filled in; `after` is what `last` has said.

        `sign`: what signs it in place of the store's own signatures, as `codec.with_checksum` takes it.

        Raises LostRace when `after` is not the last number (any more), Corrupt when the last record was altered.
        """
        number, previous = after + 1, self.first
        if after:
            try:
                data = self.store.get(self.name(after))
            except FileNotFoundError:
                raise self._lost(number) from None
            self.decode(after, data)
            previous = sha256_bytes(data)
        record = replace(draft, number=number, previous=previous)
        name = self.name(number)
        try:
            self.store.create(
                name, codec.with_checksum(record, sign) if sign else signed_bytes(self.store, name, record)
            )
        except FileExistsError:
            raise self._lost(number) from None
        return record

    def check(self) -> tuple[list[R], list[str]]:
        """The readable records in order, and every problem of the chain."""
        records: list[R] = []
        problems: list[str] = []
        expected, previous = 1, self.first
        for number in self.numbers():
            if number != expected:
                problems.append(f"{self.name(expected)}: is missing, though {number:06d}.json is there")
                previous = ""
            try:
                data = self.store.get(self.name(number))
                record = self.decode(number, data)
            except FileNotFoundError:
                problems.append(f"{self.name(number)}: is missing")
                previous = ""
            except (ConfigError, Corrupt) as error:
                problems.append(str(error))
                previous = ""
            else:
                records.append(record)
                if not codec.is_canonical(data):
                    problems.append(f"{self.name(number)}: {codec.OTHERWISE}")
                if previous != record.previous and (previous or number == 1):
                    problems.append(f"{self.name(number)}: does not follow the record before it: one was altered")
                previous = sha256_bytes(data)
            expected = number + 1
        return records, problems

    def decode(self, number: int, data: bytes, *, vouched: bool = False) -> R:
        """The record in `data`, its number checked, and its checksum unless its bytes are vouched for; raises Corrupt."""
        where = self.name(number)
        if vouched:
            record = codec.from_vouched(self.kind, data, where)
        else:
            record = codec.from_json(self.kind, data, where, checksum_required=True)
            if signatures := signatures_of(self.store):
                signatures.check(where, data)
        if record.number != number:
            raise Corrupt(f"{where}: says that it is number {record.number}", hint="restore this file from a backup")
        return record

    def _broken(self) -> PipelineError:
        _, problems = self.check()
        if problems:
            return Corrupt(
                problems[0], hint="`trainyard registry verify` lists every problem; restore the file from a backup"
            )
        return TryAgain(f"{self.folder}: changed during the read", hint="run the same command again")

    def _lost(self, number: int) -> LostRace:
        return LostRace(
            f"{self.name(number)}: taken by a concurrent writer", hint="check what it has written, then retry"
        )


def _file(number: int) -> str:
    return f"{number:06d}.json"


def _numbers_in(names: Iterable[str]) -> list[int]:
    """The numbers of the records among these names, in order."""
    return sorted(int(name[:-5]) for name in names if NAME.fullmatch(name))


class Records(Sequence[R]):
    """Records whose bytes are checked, the oldest first; each is decoded whenever it is asked for."""

    def __init__(self, chain: Chain[R], found: list[bytes]) -> None:
        self._chain, self._found = chain, found
        self._all, self._ends = b"".join(found), list(accumulate(map(len, found)))  # one search instead of thousands

    @property
    def bytes(self) -> list[bytes]:
        """Each record as it is in its file."""
        return list(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[R]:
        for number, each in enumerate(self._found, 1):
            yield self._chain.decode(number, each, vouched=True)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        number = range(1, len(self) + 1)[index]
        return self._chain.decode(number, self._found[number - 1], vouched=True)

    def having(self, field: str, value: str | int) -> list[R]:
        """Those whose `field` is `value`, found without decoding the others."""
        line, at, alike = codec.line(field, value), -1, []
        while (at := self._all.find(line, at + 1)) >= 0:
            alike.append(self[bisect(self._ends, at)])
        return [each for each in alike if getattr(each, field) == value]
