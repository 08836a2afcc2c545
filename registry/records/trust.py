"""Which keys count in a registry, and what was in it at a moment: records that others can be checked against."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Literal

from registry.dataclass import dataclass

KeyKind = Literal["made", "adopted", "added", "rotated", "revoked"]
"""What a record of `keys/` does: begins with a key; vouches for all that is there; lets another key sign, too; replaces the
key that signs it; ends a key."""


@dataclass(frozen=True, slots=True)
class Mark:
    """So many records were in a chain, and these were the bytes of the last; of a manifest: one."""

    count: int
    digest: str
    """SHA-256 of the last record; empty without one."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A link of `keys/`: signed by a key that counted before it, the first by its own."""

    number: int
    kind: KeyKind
    key: str
    """The id of the key that it is about; empty when it only vouches."""
    public: str
    """The raw public key that counts from now on, in base64; empty when none is new."""
    marks: dict[str, Mark]
    """Chain or manifest → what was there. A key that ends counts up to there; `adopted` vouches up to there."""
    by: str
    at: str
    reason: str
    previous: str


@dataclass(frozen=True, slots=True)
class VersionMark:
    """A version as it was: its manifest, its acceptance tests, and what is attested of it."""

    card: str
    """SHA-256 of the manifest."""
    acceptances: int
    last: str
    """SHA-256 of the last acceptance test; empty without one."""
    attestation: str = ""
    """SHA-256 of its `Attestation`; empty without one."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What lies beside a version for other tools: `test/<model>/attestations/<version>/attestation.json`.

    Those files are signed with a key that other tools can read; this record, signed as all are, says that it is the
    controller's, and not one that somebody has made who can write the registry.
    """

    model: str
    version: int
    card: str
    """SHA-256 of the manifest."""
    files: dict[str, str]
    """Name → SHA-256."""


@dataclass(frozen=True, slots=True)
class Head:
    """All that a model's part of the registry held at a moment. Links of `production/<model>/heads`."""

    model: str
    number: int
    releases: Mark
    approvals: Mark
    keys: Mark
    at: str
    previous: str
    versions: dict[str, VersionMark] = field(default_factory=dict)
    """The versions that are new, tested again or attested, since the head before."""


@dataclass(frozen=True, slots=True)
class HeadFold:
    """What the first heads of a model say of its versions, all in all; the private state of a machine that writes heads."""

    number: int
    """How many heads."""
    digest: str
    """SHA-256 of the last of them."""
    versions: dict[str, VersionMark]


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A head as a line in a mail: which one it was, what its bytes were, and who signed them."""

    WORD: ClassVar = "trainyard-head"

    model: str
    number: int
    release: int
    """How many releases there were."""
    digest: str
    """Of its bytes without checksum and signature; see `codec.SignedBytes`."""
    key: str
    """The beginning of the key's id."""
    signature: str

    @property
    def line(self) -> str:
        """One line without spaces, of at most 300 characters."""
        return f"{self.WORD}:1:{self.model}:{self.number}:{self.release}:{self.digest}:{self.key}:{self.signature}"
