"""Small objects of a dataset store are in packs of up to 4 MB, as a request for each of them would cost more than its bytes.

    packs/<SHA-256 of the list>          the bytes of the objects, one after the other
    sha256/ab/<SHA-256 of the list>      the list, an object as any other: a line `SHA-256 SIZE` for each, in that order

So a pack's name says what is in it, byte by byte. The list is written first: what is in `packs/` can be read. A reader asks
for the names of the packs, gets the lists that it has not yet, keeps them, and takes whole packs.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.outside.source import Found, Objects, Sent, Wanted, changed, key_of
from pipelines.repositories.tree import Pointer
from registry.dataclass import dataclass
from registry.errors import Corrupt
from registry.files import sha256_bytes

FOLDER = "packs"
NAME = re.compile(rf"{FOLDER}/([0-9a-f]{{64}})")
LINE = re.compile(r"([0-9a-f]{64}) (\d{1,15})")
SMALL = 64 << 10
"""Bytes of the largest object that may be in a pack: a larger one is not looked for there."""
FEWEST = 32
"""Objects that are packed when they are sent together; fewer are sent one by one."""
LARGEST = 4 << 20
"""Bytes of a pack that is made here."""
LARGEST_READ, LARGEST_LIST = 64 << 20, 8 << 20
"""Bytes of a pack, and of its list, that is read; a larger one is passed over."""
AT_ONCE = 32
"""Packs on this disk while they are sent or fetched."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where an object's bytes are."""

    pack: str
    """The SHA-256 of the pack's list."""
    start: int
    size: int


class PackedObjects:
    """The objects of a store, packed or not; `lists` keeps the lists of its packs, and only with `packs` new ones are made."""

    def __init__(self, objects: Objects, lists: ObjectStore, *, packs: bool) -> None:
        self.objects, self.lists, self.packs = objects, lists, packs
        self._listed: dict[str, Found] | None = None
        self._unread: list[str] = []
        self._members: dict[str, Member] = {}

    def fetch(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """See `Objects`."""
        named = {each: each.key.rpartition("/")[2] for each in wanted}
        ours = [each for each, sha256 in named.items() if each.most <= SMALL and each.key == key_of(sha256)]
        for _ in range(2):  # a pack may be replaced by another one meanwhile
            found = self.locate([named[each] for each in ours])
            packs: dict[str, list[tuple[Wanted, Member]]] = {}
            for each in ours:
                if member := found.get(named[each]):
                    packs.setdefault(member.pack, []).append((each, member))
            gone = self._unpack(packs)
            done = {each for name, rows in packs.items() if name not in gone for each, _member in rows}
            ours = [each for each in ours if each not in done]
            for each in done:
                del named[each]
            if not gone:
                break
            self._forget()
        return self.objects.fetch(list(named)) if named else []

    def send(self, files: Sequence[Sent]) -> list[Sent]:
        """See `Objects`."""
        small = [each for each in files if each.size <= SMALL and each.key == key_of(each.sha256)] if self.packs else []
        if len(small) < FEWEST:
            return self.objects.send(files)
        there = self.locate([each.sha256 for each in small])
        new = [each for each in small if each.sha256 not in there]
        packed = set(new) if len(new) >= FEWEST else set()
        alone = [each for each in files if each not in packed and each.sha256 not in there]
        created = self.objects.send(alone) if alone else []
        groups = list(_groups([each for each in new if each in packed]))
        for start in range(0, len(groups), AT_ONCE):
            created += self._send_packs(groups[start : start + AT_ONCE])
        return created

    def present(self, keys: Sequence[str]) -> set[str]:
        """See `Objects`."""
        packed = self.locate([each.rpartition("/")[2] for each in keys])
        there = {each for each in keys if each.rpartition("/")[2] in packed}
        return there | self.objects.present([each for each in keys if each not in there])

    def listed(self, folder: str) -> Iterator[Found]:
        """See `Objects`; packs are not looked into."""
        return self.objects.listed(folder)

    def remove(self, keys: Sequence[str]) -> None:
        """See `Objects`."""
        self._forget()
        self.objects.remove(keys)

    def contents(self) -> list[tuple[Found, dict[str, int]]]:
        """All packs whose lists are there, each with the SHA-256 and the bytes of what is in it."""
        self.locate([""])  # which is in none
        inside = {name: dict(self._rows(name)) for name in self._names()}
        return [(found, inside[name]) for name, found in self._names().items() if inside[name]]

    def locate(self, digests: Sequence[str]) -> dict[str, Member]:
        """Which of these objects are in packs, and where; raises as `Objects.fetch` does, and Corrupt for a wrong list."""
        wanted = set(digests)
        if wanted:
            self._names()
        while self._unread and not wanted <= self._members.keys():
            names, self._unread = self._unread[:AT_ONCE], self._unread[AT_ONCE:]
            self._bring_lists(names)
            for name in names:
                start = 0
                for sha256, size in self._rows(name):
                    self._members.setdefault(sha256, Member(name, start, size))
                    start += size
        return {each: self._members[each] for each in wanted & self._members.keys()}

    def _names(self) -> dict[str, Found]:
        """The packs of the store; the newest first, as they are most likely to have what is missing here."""
        if self._listed is None:
            listed = [each for each in self.objects.listed(FOLDER) if each.size <= LARGEST_READ]
            found = {name[1]: each for each in listed if (name := NAME.fullmatch(each.key))}
            self._listed = dict(sorted(found.items(), key=lambda each: -each[1].written))
            self._unread = list(self._listed)
        return self._listed

    def _forget(self) -> None:
        self._listed, self._unread = None, []
        self._members.clear()

    def _bring_lists(self, names: Sequence[str]) -> None:
        """Have the lists of these packs here; one that the store has no more is passed over, as its pack is gone, too."""
        missing = [each for each in names if not self.lists.has(Pointer(each, -1))]
        if not missing:
            return
        with tempfile.TemporaryDirectory(prefix="trainyard-") as scratch:
            wanted = {Wanted(key_of(each), Path(scratch, each), LARGEST_LIST, exact=False): each for each in missing}
            gone = {wanted[each] for each in self.objects.fetch(list(wanted))}
            for each, name in wanted.items():
                if name in gone:
                    continue
                self.lists.add(Pointer(name, -1), each.into)
                if not self.lists.has(Pointer(name, -1)):
                    raise Corrupt(
                        f"{each.key}: other bytes than it names",
                        hint="remove that object and the pack of that name from the store, and `trainyard data push --all` "
                        "where the files are",
                    )

    def _rows(self, name: str) -> Iterator[tuple[str, int]]:
        """SHA-256 and bytes of what is in a pack, in its order; nothing of one that is gone."""
        for line in self.lists.read(Pointer(name, -1)).decode("ascii", "replace").splitlines():
            if row := LINE.fullmatch(line):
                yield row[1], int(row[2])

    def _unpack(self, packs: dict[str, list[tuple[Wanted, Member]]]) -> set[str]:
        """Write the files that are wanted of these packs; gives the packs that the store has no more."""
        names, gone = list(packs), set[str]()
        for start in range(0, len(names), AT_ONCE):
            with tempfile.TemporaryDirectory(prefix="trainyard-") as scratch:
                wanted = {
                    Wanted(f"{FOLDER}/{each}", Path(scratch, each), self._names()[each].size): each
                    for each in names[start : start + AT_ONCE]
                }
                gone |= {wanted[each] for each in self.objects.fetch(list(wanted))}
                for each, name in wanted.items():
                    if name not in gone:
                        _write_members(each.into, packs[name])
        return gone

    def _send_packs(self, groups: Sequence[Sequence[Sent]]) -> list[Sent]:
        """Send a pack of each group; gives the objects of those that were not there."""
        with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
            lists, packs = {}, {}
            for number, group in enumerate(groups):
                rows = "".join(f"{each.sha256} {each.size}\n" for each in group).encode("ascii")
                name = sha256_bytes(rows)
                path = Path(folder, f"{number}.list")
                path.write_bytes(rows)
                lists[Sent(key_of(name), path, len(rows), name)] = group
                path = Path(folder, f"{number}.pack")
                size, digest = _write_pack(path, group)
                packs[Sent(f"{FOLDER}/{name}", path, size, digest)] = group
            self.objects.send(list(lists))
            return [each for pack in self.objects.send(list(packs)) for each in packs[pack]]


def _groups(files: Sequence[Sent]) -> Iterator[list[Sent]]:
    """What goes into each pack."""
    group: list[Sent] = []
    size = 0
    for each in files:
        if group and size + each.size > LARGEST:
            yield group
            group, size = [], 0
        group.append(each)
        size += each.size
    if group:
        yield group


def _write_pack(path: Path, group: Sequence[Sent]) -> tuple[int, str]:
    """Write the bytes of these files; gives their number and SHA-256. Raises ConfigError for a file with other bytes."""
    size, digest = 0, hashlib.sha256()
    with path.open("wb") as pack:
        for each in group:
            try:
                with open(each.path, "rb") as file:
                    data = file.read(each.size + 1)
            except FileNotFoundError:
                raise changed(each) from None
            if sha256_bytes(data) != each.sha256:
                raise changed(each)
            digest.update(data)
            size += pack.write(data)
    return size, digest.hexdigest()


def _write_members(pack: Path, rows: Sequence[tuple[Wanted, Member]]) -> None:
    """Write the files whose bytes are at these places of a pack; raises Corrupt when these are others."""
    with pack.open("rb") as file:
        for each, member in rows:
            file.seek(member.start)
            data = file.read(min(member.size, each.most))
            if sha256_bytes(data) != each.key.rpartition("/")[2]:
                raise Corrupt(
                    f"{FOLDER}/{member.pack} gives other bytes than {each.key} names",
                    hint="remove that pack from the store, and `trainyard data push --all` where the files are",
                )
            with open(each.into, "wb") as target:
                target.write(data)
