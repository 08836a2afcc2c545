"""The secret of an installation with which the prediction log hashes: made once, for its owner only."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from registry.errors import ConfigError
from registry.files import write_new

BYTES = 32


def make_key(path: Path) -> None:
    """Make it, unless it is there. Raises OSError."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # a concurrent process was earlier
            write_new(path, secrets.token_hex(BYTES).encode() + b"\n", 0o600)


def read_key(path: Path) -> bytes:
    """Its bytes; raises ConfigError when it is not there, or not such a key."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="the prediction log needs it to hash with") from None
    except ValueError:
        key = b""
    if len(key) < BYTES:
        raise ConfigError(f"{path}: not a key of the prediction log", hint="restore it; with a new one, hashes differ")
    return key
