"""Verifies a registry from outside of it: by the key that it began with, and by how far it went when it was last seen.

Who can write the registry can replace it as a whole, keys and all. So each machine that decides something by it keeps an
anchor: the id of the first key, and the newest key record and heads that it knows.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from registry import codec
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes, sweep, write_whole
from registry.keyring import FOLDER, Keyring, key_chain, read_keyring
from registry.records import HeadFold, SeenHead, VersionMark
from registry.signatures import SHOWN
from registry.stores import Store

BETWEEN = b"\0"  # no JSON holds it
UNSIGNED = "not verified: the registry is not signed"
LOST = "restore it from a backup; if the registry was removed on purpose, delete {path} and it can begin anew"


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is known of a registry outside of it."""

    first: str
    """The id of the key that it began with."""
    keys: int = 0
    """How many key records were there."""
    last: str = ""
    """SHA-256 of the last of them."""
    heads: dict[str, SeenHead] = field(default_factory=dict)
    """Model → its newest head."""


class Memory:
    """An anchor in a file outside of the registry; what is new replaces what was known."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Anchor | None:
        """What is known; None: nothing yet. Raises Corrupt."""
        try:
            return codec.read(Anchor, self.path)
        except FileNotFoundError:
            return None

    def write(self, anchor: Anchor) -> None:
        sweep(self.path.parent)
        write_whole(self.path, codec.to_json(anchor))

    def fold(self, model: str) -> HeadFold | None:
        """What was made of a model's first heads; None when it was not, or cannot be read: it only saves time."""
        try:
            raw = json.loads(_checked(self._fold(model).read_bytes()))
            versions = {version: VersionMark(*mark) for version, mark in raw["versions"].items()}
            return HeadFold(raw["number"], raw["digest"], versions)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_fold(self, model: str, fold: HeadFold) -> None:
        """Keep it, in a file of its own: it is large, and every command reads the anchor."""
        versions = {
            name: (each.card, each.acceptances, each.last, each.attestation) for name, each in fold.versions.items()
        }
        data = json.dumps({"number": fold.number, "digest": fold.digest, "versions": versions}).encode()
        _keep(self._fold(model), f"{sha256_bytes(data)}\n".encode() + data)

    def records(self, folder: str) -> list[bytes]:
        """The records of a chain that were kept, the oldest first; whoever uses them checks them."""
        try:
            return self._records(folder).read_bytes().split(BETWEEN)
        except OSError:
            return []

    def write_records(self, folder: str, records: Sequence[bytes]) -> None:
        """Keep these records of a chain."""
        _keep(self._records(folder), BETWEEN.join(records))

    def _fold(self, model: str) -> Path:
        return self.path.with_suffix("") / f"{model}.heads"

    def _records(self, folder: str) -> Path:
        return self.path.with_suffix("") / f"{folder.replace('/', '.')}.records"


def _keep(path: Path, data: bytes) -> None:
    """Write what only saves time: where it cannot be written, nothing is lost."""
    with contextlib.suppress(OSError):
        sweep(path.parent)
        write_whole(path, data)


def _checked(data: bytes) -> bytes:
    """What follows the first line, which is its SHA-256; raises ValueError."""
    digest, _, rest = data.partition(b"\n")
    if sha256_bytes(rest).encode() != digest:
        raise ValueError("checksum mismatch")
    return rest


class Trusted:
    """See `registry.stores.Signatures`: verifies, and does not sign."""

    def __init__(self, store: Store, memory: Memory, first: tuple[str, ...] = ()) -> None:
        """`first`: ids of keys that the registry may have begun with, if the memory does not know."""
        self._store, self._memory, self._first = store, memory, first
        self._keys: Keyring | None = None

    @property
    def ring(self) -> Keyring:
        """The keys, as they are now; raises Corrupt, ConfigError when they are not those of the registry that is known."""
        if self._keys is None or key_chain(self._store).last_listed() != len(self._keys.records):
            self._keys = self._load()
        return self._keys

    def seen(self, model: str) -> SeenHead | None:
        anchor = self._memory.read()
        return anchor.heads.get(model) if anchor else None

    def seen_models(self) -> tuple[str, ...]:
        anchor = self._memory.read()
        return tuple(anchor.heads) if anchor else ()

    def saw(self, head: SeenHead) -> None:
        known = self.seen(head.model)
        if known is None or head.number > known.number:
            anchor, mark = self._memory.read(), self.ring.mark
            heads = {**(anchor.heads if anchor else {}), head.model: head}
            self._memory.write(Anchor(self.ring.first.id, mark.count, mark.digest, heads))

    def folded(self, model: str) -> HeadFold | None:
        return self._memory.fold(model)

    def fold(self, model: str, fold: HeadFold) -> None:
        self._memory.write_fold(model, fold)

    def kept(self, folder: str) -> list[bytes]:
        return self._memory.records(folder)

    def keep(self, folder: str, records: Sequence[bytes]) -> None:
        self._memory.write_records(folder, records)

    def verify_keys(self) -> None:
        self._keys = self._load()

    def check(self, name: str, data: bytes) -> None:
        self.ring.check(name, data)

    def sign(self, name: str, digest: str) -> str:
        del digest
        raise ConfigError(f"{name}: only the controller signs")

    @property
    def begun(self) -> bool:
        """Whether anything is verified."""
        return True

    @property
    def basis(self) -> str:
        """By what it is verified, for people."""
        return f"verified from key {self._first[0]:.{SHOWN}} on" if self._first else "verified"

    def _load(self) -> Keyring:
        anchor = self._memory.read()
        found = read_keyring(self._store)
        if found is None:
            raise self._no_keys(anchor)
        first = found.first.id
        if anchor is not None and first != anchor.first:
            raise Corrupt(
                f"{FOLDER}/000001.json: the registry begins with key {found.first.short}, and not with "
                f"{anchor.first:.16} as when it was first seen",
                hint=LOST.format(path=self._memory.path),
            )
        if anchor is None and not self._may_begin_with(first):
            raise ConfigError(
                f"{FOLDER}/000001.json: the registry begins with key {found.first.short}, which this machine does not know",
                hint=f"compare it with `trainyard keys list` on a machine that does; then `trainyard keys trust {first}`",
            )
        mark = found.mark
        if anchor and (mark.count < anchor.keys or (anchor.keys and found.digests[anchor.keys - 1] != anchor.last)):
            raise Corrupt(
                f"{FOLDER}/{anchor.keys:06d}.json: is missing, or not what it was when it was seen last",
                hint=LOST.format(path=self._memory.path),
            )
        if anchor is None or (mark.count, mark.digest) != (anchor.keys, anchor.last):
            self._memory.write(Anchor(first, mark.count, mark.digest, anchor.heads if anchor else {}))
        return found

    def _no_keys(self, anchor: Anchor | None) -> Corrupt:
        known = f", though it began with key {anchor.first:.16}" if anchor else ""
        return Corrupt(f"{FOLDER}: the registry has no keys{known}", hint=LOST.format(path=self._memory.path))

    def _may_begin_with(self, first: str) -> bool:
        return first in self._first


class FirstUse(Trusted):
    """As `Trusted`, for who does not know with which key the registry began: the one that it begins with when keys are first
    seen counts from then on. Until then it is not signed, and nothing is verified."""

    def __init__(self, store: Store, memory: Memory) -> None:
        super().__init__(store, memory)
        self._begun = False

    @property
    def begun(self) -> bool:
        self._begun = self._begun or self._memory.read() is not None or bool(key_chain(self._store).last())
        return self._begun

    @property
    def basis(self) -> str:
        if not self.begun:
            return UNSIGNED
        return f"verified from key {self.ring.first.short} on, which was there when the registry was first seen"

    def check(self, name: str, data: bytes) -> None:
        if self.begun:
            super().check(name, data)

    def verify_keys(self) -> None:
        if self.begun:
            super().verify_keys()

    def _may_begin_with(self, first: str) -> bool:
        del first
        return True
