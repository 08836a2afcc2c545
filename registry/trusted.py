"""Verifies a registry from outside of it: by the key that it began with, and by how far it went when it was last seen.

Who can write the registry can replace it as a whole, keys and all. So each machine that decides something by it keeps an
anchor: the id of the first key, and the newest key record and heads that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from registry import codec
from registry.errors import ConfigError, Corrupt
from registry.files import write_whole
from registry.keyring import FOLDER, Keyring, key_chain, read_keyring
from registry.records import SeenHead
from registry.stores import Store

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
        write_whole(self.path, codec.to_json(anchor))


class Trusted:
    """See `registry.stores.Signatures`: verifies, and does not sign."""

    def __init__(self, store: Store, memory: Memory, first: tuple[str, ...] = ()) -> None:
        """`first`: ids of keys that the registry may have begun with, if the memory does not know."""
        self._store, self._memory, self._first = store, memory, first
        self._keys: Keyring | None = None

    @property
    def ring(self) -> Keyring:
        """The keys, as they are now; raises Corrupt, ConfigError when they are not those of the registry that is known."""
        if self._keys is None or key_chain(self._store).last() != len(self._keys.records):
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

    def verify_keys(self) -> None:
        self._keys = self._load()

    def check(self, name: str, data: bytes) -> None:
        self.ring.check(name, data)

    def sign(self, name: str, digest: str) -> str:
        del digest
        raise ConfigError(f"{name}: only the controller signs")

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
