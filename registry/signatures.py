"""Ed25519: keys in files or given as text, signatures for one purpose. No rule about the registry is here.

`cryptography` is imported by the functions that need it: a command that neither signs nor verifies does not load it.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import sweep, write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DOMAIN = (
    b"trainyard.signature.1"  # another layout of what is signed needs another one: old signatures must not pass there
)
ID = re.compile(r"[0-9a-f]{64}")
SHOWN = 16  # hexadecimal digits of an id that people see
MAX_KEY = 1 << 14  # bytes of a key's file
MAKE_ONE = "`ssh-keygen -t ed25519` and `openssl genpkey -algorithm ed25519` make such keys"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Checks what the owner of the private key has signed."""

    raw: bytes
    """32 bytes."""

    @property
    def id(self) -> str:
        """The SHA-256 of the raw key, as 64 hexadecimal digits."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def short(self) -> str:
        """The beginning of the id, for people."""
        return self.id[:SHOWN]

    @property
    def text(self) -> str:
        """The key in one line, as `ssh-keygen` writes it; `read_public_key` reads it."""
        name = b"ssh-ed25519"
        blob = len(name).to_bytes(4, "big") + name + len(self.raw).to_bytes(4, "big") + self.raw
        return f"{name.decode()} {base64.b64encode(blob).decode()}"

    def verifies(self, signature: str, data: bytes, purpose: str) -> bool:
        """Whether `signature` (base64) was made by this key, of just this `data`, for just this `purpose`."""
        from cryptography.exceptions import InvalidSignature

        try:
            raw = base64.b64decode(signature, validate=True)
        except (ValueError, binascii.Error):
            return False
        if base64.b64encode(raw).decode() != signature:  # unused bits: only one text is the signature
            return False
        try:
            _public(self.raw).verify(raw, _message(data, purpose))
        except InvalidSignature:
            return False
        return True


class Signer:
    """A private key. It is neither shown nor pickled."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"<Signer {self.public.short}>"

    def __reduce__(self) -> Any:
        raise TypeError("a private key stays in its process")

    def sign(self, data: bytes, purpose: str) -> str:
        """The signature of `data` for `purpose`, as base64; the same at every call."""
        return base64.b64encode(self._key.sign(_message(data, purpose))).decode()

    def pem(self) -> bytes:
        """The private key as PKCS #8 in PEM, for `save_key` and for a person who moves it to another machine."""
        from cryptography.hazmat.primitives import serialization as to

        return self._key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())


def make_key() -> Signer:
    """A new key, from the system's random numbers."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Signer(Ed25519PrivateKey.generate())


def save_key(signer: Signer, path: Path) -> None:
    """Write the private key to a new file that only its owner may read; raises FileExistsError, ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(path.parent)  # of one who was killed while it wrote a key
        write_new(path, signer.pem(), 0o600)
    except FileExistsError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="[home] must be a folder that we may write to") from None


def load_key(path: Path) -> Signer:
    """The private key in a file that only its owner may read; raises FileNotFoundError, ConfigError.

    PEM (PKCS #8) and OpenSSH's own format, both without a passphrase.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ConfigError(f"{path}: is not a file", hint="put the private key itself there")
            if state.st_mode & 0o077:
                raise ConfigError(
                    f"{path}: others may read or write this private key",
                    hint=f"if nobody else has read it: chmod 600 {path}; else revoke it (`trainyard keys --help`)",
                )
            data = file.read(MAX_KEY)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}", hint="run as the user who made it") from None
    return read_key(data, str(path))


def read_key(data: bytes, where: str) -> Signer:
    """The private key in `data`; raises ConfigError, naming `where`, never the key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    openssh = data.lstrip().startswith(b"-----BEGIN OPENSSH")
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        key = load(data.strip() + b"\n", None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, TypeError) or "password" in str(error).lower():
            raise ConfigError(
                f"{where}: the private key has a passphrase, and nobody is here to type it",
                hint="`ssh-keygen -p` removes it from a copy; keep that where only Trainyard's user can read it",
            ) from None
        raise ConfigError(f"{where}: not a private key in PEM or OpenSSH's format", hint=MAKE_ONE) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{where}: not an Ed25519 key", hint=MAKE_ONE)
    return Signer(key)


def read_public_key(text: str, where: str) -> PublicKey:
    """The public key in a line of `ssh-keygen` (`ssh-ed25519 AAAA… comment`) or in PEM; raises ConfigError naming `where`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = text.strip().encode(errors="backslashreplace")
    pem = data.startswith(b"-----BEGIN ")
    if b"PRIVATE KEY" in data:
        raise ConfigError(
            f"{where}: this is a private key", hint="give the public one, e.g. the file that ends in .pub"
        )
    load = serialization.load_pem_public_key if pem else serialization.load_ssh_public_key
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            f"{where}: not a public key (`ssh-ed25519 AAAA…`, or PEM)", hint=f"{MAKE_ONE}; give the public one"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{where}: not an Ed25519 key", hint=MAKE_ONE)
    return PublicKey(key.public_bytes_raw())


@functools.lru_cache(maxsize=64)
def _public(raw: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(raw)


def _message(data: bytes, purpose: str) -> bytes:
    """What is signed: nothing that is signed for one purpose can pass for another, whatever the bytes are."""
    name = purpose.encode()
    return b"%b\0%d\0%b\0%b" % (DOMAIN, len(name), name, data)
