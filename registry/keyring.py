"""Which keys count: `keys/000001.json`, … at the top of the registry, each signed by a key that counted before it.

A record of the registry holds when a key that counts has signed its bytes under its very name in this very registry; or
when a person has adopted it, as it was before anything was signed. A key that was replaced or revoked counts for what was
there at that moment, and for nothing after it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field

from registry import codec
from registry.chain import NAME, Chain
from registry.dataclass import dataclass
from registry.errors import Corrupt
from registry.files import sha256_bytes
from registry.records import KeyRecord, Mark, SeenHead
from registry.signatures import SHOWN, PublicKey, Signer
from registry.stores import Store

FOLDER = "keys"
KEY_PURPOSE = "registry key"
RECORD_PURPOSE = "registry record"
LIST = "`trainyard keys list` shows which keys count, and since when"
VERIFY = "`trainyard registry verify` lists every problem; restore the file from a backup"


@dataclass(slots=True)
class Key:
    """A key that counts, or has counted."""

    public: PublicKey
    since: int
    """The record that brought it."""
    until: int | None = None
    """The record that ended it; null: it counts."""
    revoked: bool = False
    limits: list[Mapping[str, Mark]] = field(default_factory=list)
    """Of one that has ended: what it counts for; one that was replaced and then revoked, what is in both."""


def key_chain(store: Store) -> Chain[KeyRecord]:
    """The records of `keys/`."""
    return Chain(unsigned(store), KeyRecord, FOLDER)


def unsigned(store: Store) -> Store:
    """The store below the one that signs: key records are verified one by one, see `read_keyring`."""
    below: Store = getattr(store, "unsigned", store)
    return below


class Keyring:
    """The keys of one registry, folded from the key records, each verified. Raises Corrupt with the first problem."""

    def __init__(self, store: Store, found: Iterable[tuple[bytes, KeyRecord]]) -> None:
        self._store = store
        self.keys: dict[str, Key] = {}
        self.records: list[KeyRecord] = []
        self.digests: list[str] = []
        """SHA-256 of each key record, the oldest first."""
        self._adopted: list[Mapping[str, Mark]] = []
        for data, record in found:
            self._add(data, record)

    @property
    def registry(self) -> str:
        """What distinguishes this registry from all others: the SHA-256 of its first key record."""
        return self.digests[0]

    @property
    def first(self) -> PublicKey:
        """The key that the registry began with."""
        return self.keys[self.records[0].key].public

    @property
    def valid(self) -> list[PublicKey]:
        """The keys that count for new records, the newest first."""
        return [each.public for each in reversed(self.keys.values()) if each.until is None]

    @property
    def mark(self) -> Mark:
        """How far `keys/` goes."""
        return Mark(len(self.digests), self.digests[-1])

    def has_signed(self, name: str, head: SeenHead) -> bool:
        """Whether a key of this registry, also one that has ended, has signed this head."""
        return any(
            each.public.short == head.key
            and each.public.verifies(head.signature, head.digest.encode(), record_purpose(self.registry, name))
            for each in self.keys.values()
        )

    def check(self, name: str, data: bytes) -> None:
        """See `registry.stores.Signatures`."""
        signed_as = _signed_as(name)
        problem = self._problem(signed_as, data)
        if problem and not any(self._was_there(each, signed_as, data) for each in self._adopted):
            raise Corrupt(f"{name}: {problem}", hint=VERIFY)

    def _problem(self, name: str, data: bytes) -> str:
        signed = codec.signature_in(data)
        if signed is None:
            return "it is not signed"
        key = self.keys.get(signed.key)
        if key is None:
            return f"it is signed by key {signed.key:.{SHOWN}}, which this registry does not know"
        if not key.public.verifies(signed.signature, signed.digest.encode(), record_purpose(self.registry, name)):
            return "its signature does not match"
        if not all(self._was_there(each, name, data) for each in key.limits):
            ended = "revoked" if key.revoked else "replaced"
            return f"it is signed by key {key.public.short}, and was not there when that was {ended} ({self._name(key.until or 0)})"
        return ""

    def _was_there(self, marks: Mapping[str, Mark], name: str, data: bytes) -> bool:
        """Whether just these bytes were there under this name when the marks were made.

        A mark has the digest of a chain's last record only: from this one on, each must be what the next one names.
        """
        folder, _, file = name.rpartition("/")
        digest = sha256_bytes(data)
        if not NAME.fullmatch(file):
            return name in marks and marks[name].digest == digest
        mark, number = marks.get(folder), int(file[:-5])
        if mark is None or number > mark.count:
            return False
        for each in range(number + 1, mark.count + 1):
            try:
                data = self._store.get(f"{folder}/{each:06d}.json")
            except FileNotFoundError:
                return False
            if codec.line("previous", digest) not in data:
                return False
            digest = sha256_bytes(data)
        return digest == mark.digest

    def _add(self, data: bytes, record: KeyRecord) -> None:
        name = self._name(record.number)
        new = self._new_key(record, name)
        signed = codec.signature_in(data)
        signer = None
        if signed and not self.records:
            signer = new if new and new.id == signed.key else None
        elif signed and (known := self.keys.get(signed.key)) and known.until is None:
            signer = known.public
        if signed is None or signer is None:
            raise Corrupt(f"{name}: it is not signed by a key that counted before it", hint=VERIFY)
        if not signer.verifies(signed.signature, signed.digest.encode(), KEY_PURPOSE):
            raise Corrupt(f"{name}: its signature does not match", hint=VERIFY)
        ends = {"rotated": signer.id, "revoked": record.key}.get(record.kind)
        if ends:
            if ends not in self.keys or (ends == signer.id and record.kind == "revoked"):
                raise Corrupt(f"{name}: it ends a key that does not count, or its own", hint=VERIFY)
            key = self.keys[ends]
            key.until, key.revoked = record.number, record.kind == "revoked"
            key.limits.append(record.marks)
        if new:
            self.keys[new.id] = Key(new, record.number)
        if record.kind == "adopted":
            self._adopted.append(record.marks)
        self.records.append(record)
        self.digests.append(sha256_bytes(data))

    def _new_key(self, record: KeyRecord, name: str) -> PublicKey | None:
        """The key that a record brings, if it brings one; raises Corrupt."""
        brings = record.kind in {"made", "added", "rotated"} or not self.records
        begins = record.kind == "made" or (record.kind == "adopted" and not self.records)
        if brings != bool(record.public) or begins != (not self.records):
            raise Corrupt(f"{name}: a key record of kind {record.kind} cannot be here", hint=VERIFY)
        if not record.public:
            return None
        try:
            new = PublicKey(base64.b64decode(record.public, validate=True))
        except (ValueError, binascii.Error):
            new = PublicKey(b"")
        if len(new.raw) != 32 or new.id != record.key or new.id in self.keys:
            raise Corrupt(f"{name}: its public key is not a new one with the id {record.key:.80}", hint=VERIFY)
        return new

    def _name(self, number: int) -> str:
        return f"{FOLDER}/{number:06d}.json"


def read_keyring(store: Store) -> Keyring | None:
    """The keys of this registry, every record verified; None when it has none. Raises Corrupt."""
    below = unsigned(store)
    chain = key_chain(below)
    found, previous = [], chain.first
    for number in range(1, chain.last() + 1):
        try:
            data = below.get(chain.name(number))
        except FileNotFoundError:
            raise Corrupt(f"{chain.name(number)}: is missing, though later ones are there", hint=VERIFY) from None
        record = chain.decode(number, data)
        if record.previous != previous:
            raise Corrupt(f"{chain.name(number)}: does not follow the record before it: one was altered", hint=VERIFY)
        found.append((data, record))
        previous = sha256_bytes(data)
    return Keyring(below, found) if found else None


def append_key(store: Store, draft: KeyRecord, signer: Signer, after: int) -> KeyRecord:
    """Append a key record, signed; raises LostRace when a concurrent writer has appended one."""
    sign: Callable[[str], str] = lambda digest: _sign(signer, digest, KEY_PURPOSE)  # noqa: E731
    return key_chain(store).append(draft, after, sign)


def draft_key(kind: str, new: PublicKey | None, marks: dict[str, Mark], *, by: str, at: str, reason: str) -> KeyRecord:
    """A key record about a new key, to be appended."""
    public = base64.b64encode(new.raw).decode() if new else ""
    return KeyRecord(0, kind, new.id if new else "", public, marks, by, at, reason, previous="")  # type: ignore[arg-type]


def sign_record(signer: Signer, registry: str, name: str, digest: str) -> str:
    """The signature of a record under its name in a registry, as `codec.with_checksum` takes it."""
    return _sign(signer, digest, record_purpose(registry, _signed_as(name)))


def record_purpose(registry: str, name: str) -> str:
    """A signature holds in one registry and under one name: no record can be moved to where it says something else."""
    return f"{RECORD_PURPOSE}\n{registry}\n{name}"


def _sign(signer: Signer, digest: str, purpose: str) -> str:
    return f"{signer.public.id}:{signer.sign(digest.encode(), purpose)}"


def _signed_as(name: str) -> str:
    """A manifest in production is the same bytes as in test, signed there."""
    area, _, rest = name.partition("/")
    return f"test/{rest}" if area == "production" and rest.endswith("/card.json") else name
