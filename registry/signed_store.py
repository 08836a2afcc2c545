"""A store whose records are signed when they are written, and verified where they are read to decide something."""

from __future__ import annotations

from pathlib import Path

from registry.stores import Signatures, Store


class SignedStore:
    """The same bytes under the same names as in the store below; see `registry.stores.Store`.

    Chains and candidates ask `signatures`; what lies below knows nothing of records.
    """

    def __init__(self, unsigned: Store, signatures: Signatures) -> None:
        self.unsigned, self.signatures = unsigned, signatures
        self.get = unsigned.get  # thousands of small records: no call in between

    def path(self, name: str) -> Path:
        return self.unsigned.path(name)

    def create(self, name: str, data: bytes | Path, sha256: str = "") -> None:
        self.unsigned.create(name, data, sha256)

    def names(self, folder: str) -> list[str]:
        return self.unsigned.names(folder)

    def probe(self) -> None:
        self.unsigned.probe()
