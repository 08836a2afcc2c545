"""`<home>/keys/`: this machine's private keys, and what it knows of the registries that they sign."""

from __future__ import annotations

import contextlib
from pathlib import Path

from registry.files import sha256_bytes
from registry.signatures import SHOWN, Signer, load_key, make_key, save_key
from registry.trusted import Memory

OWN = f"{'[0-9a-f]' * SHOWN}.pem"  # other keys are there, too: the one that signs models for public tools


class KeyFolder:
    """The folder, which appears with the first key."""

    def __init__(self, home: Path) -> None:
        self.root = home / "keys"

    def path(self, key: str) -> Path:
        """Where the private key with this id is, or would be."""
        return self.root / f"{key[:SHOWN]}.pem"

    def signer(self, key: str) -> Signer | None:
        """The private key with this id; raises ConfigError when it cannot be used."""
        try:
            found = load_key(self.path(key))
        except FileNotFoundError:
            return None
        return found if found.public.id == key else None

    def make(self) -> Signer:
        """A private key for a registry that begins: one that was made and not used up, else a new one."""
        for path in sorted(self.root.glob(OWN)):
            return load_key(path)
        return self.new()

    def new(self) -> Signer:
        """A new private key, in its file."""
        made = make_key()
        save_key(made, self.path(made.public.id))
        return made

    def retire(self, key: str) -> None:
        """Have a key that does not count any more sign nothing new."""
        path = self.path(key)
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_suffix(".retired"))

    def memory(self, url: str) -> Memory:
        """What is known of the registry at `url`."""
        return Memory(self.root / "registries" / f"{sha256_bytes(url.encode())[:SHOWN]}.json")
