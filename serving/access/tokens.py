"""Bearer tokens: a file of names with the hashes of their tokens. A token is shown once, when it is made, and kept nowhere.

Light: the controller makes and revokes tokens, the API reads the file.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Literal, get_args

from registry import codec
from registry.errors import ConfigError, PipelineError
from registry.records import utc_now
from serving.reach import is_out_of_reach

Role = Literal["predict", "feedback", "operate"]
ROLES: tuple[Role, ...] = get_args(Role)
"""`predict`: all pages of the clients' port but one. `feedback`: that one, `/feedback`, to report which label was right.
`operate`: the operator's port, where that is not on the loopback interface."""
FILE = "tokens.json"
PREFIX = "tyd_"
"""So that programs that look for secrets in repositories find one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
CHECK = 1.0  # seconds between two checks whether the file has changed
REPLACED = "its folder was replaced after this API had started, which has to be started again"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """One token's record. Two may have one name: the old and the new one, while clients change over."""

    name: str
    roles: tuple[str, ...]
    sha256: str
    """Of the token. Nobody can guess 256 random bits, so the plain hash gives nothing away and costs no time; a slow
    one (scrypt, Argon2) is for passwords that people choose."""
    created: str
    expires: str = ""
    """UTC; empty: never."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The file."""

    tokens: tuple[Token, ...] = ()

    def find(self, token: str, now: Callable[[], str] = utc_now) -> Token | None:
        """The record of a token that holds at `now()`. Each is compared, in constant time, so that no time gives a hint."""
        digest, found = digest_of(token), None
        for each in self.tokens:
            if compare_digest(each.sha256, digest) and (not each.expires or now() < each.expires):
                found = each
        return found


def digest_of(token: str) -> str:
    """The hash under which a token is kept."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read(path: Path) -> Tokens:
    """The tokens; none when there is no file. Raises ConfigError for one that cannot be read."""
    try:
        return codec.read(Tokens, path)
    except FileNotFoundError:
        return Tokens()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="let the API's user read it") from None


def make(path: Path, name: str, roles: Iterable[str], days: float = 0.0) -> str:
    """Add a token for `name`, and give it. `days` until it expires; 0: never. Raises ConfigError."""
    roles = tuple(dict.fromkeys(roles))
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a name for a token",
            hint="letters, digits and . _ @ - only, at most 64, e.g. shop-frontend",
        )
    if unknown := [each for each in roles if each not in ROLES]:
        raise ConfigError(f"--role: {', '.join(unknown)}: no such role", hint=f"one of {', '.join(ROLES)}, or several")
    token = PREFIX + secrets.token_urlsafe(32)
    expires = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds") if days else ""
    made = Token(name, roles, digest_of(token), utc_now(), expires.replace("+00:00", "Z"))
    with _locked(path):
        _write(path, Tokens((*read(path).tokens, made)))
    return token


def revoke(path: Path, name: str) -> int:
    """Remove all tokens of `name`; how many. The file stays, also without any token: then nobody may ask."""
    with _locked(path):
        known = read(path).tokens
        left = tuple(each for each in known if each.name != name)
        if len(left) < len(known):
            _write(path, Tokens(left))
    return len(known) - len(left)


class TokenFile:
    """The file as the API sees it: read again when it changes. One that cannot be read any more keeps the last good one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens = Tokens()
        self._seen: tuple[int, ...] = ()
        self._reported: tuple[int, ...] | None = None
        """What could not be read, and was logged."""
        self._check_at = 0.0

    def find(self, token: str) -> Token | None:
        """The record of a token that holds now."""
        self._refresh()
        return self._tokens.find(token)

    def _refresh(self) -> None:
        if time.monotonic() < self._check_at:
            return
        self._check_at = time.monotonic() + CHECK
        try:
            stat = os.stat(self._path)
            seen: tuple[int, ...] = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except FileNotFoundError:  # as after a first start: nobody may ask; but tokens do not end by an unmounted disk
            seen = ()
        except OSError as error:
            log.warning("%s: %s; the tokens that were read before still hold", self._path, error.strerror)
            return
        if seen == self._seen:
            return
        try:
            self._tokens = codec.read(Tokens, self._path)
        except (
            OSError,
            PipelineError,
        ) as error:  # the next check reads it again: the file may be good
            if seen == self._reported:
                return
            self._reported = seen
            was_read = bool(self._tokens.tokens)
            why = REPLACED if was_read and is_out_of_reach(self._path.parent) else str(error)
            hold = "the tokens that were read before still hold" if was_read else "no token holds"
            log.warning("%s cannot be read: %s; %s", self._path, why, hold)
        else:
            self._seen, self._reported = seen, None
            log.info("%s: %s tokens hold", self._path, len(self._tokens.tokens))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two commands at once lose no token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(path: Path, tokens: Tokens) -> None:
    """Whole or not at all; for its owner only, unless somebody has given it another mode."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    new = path.with_name(f".{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(codec.to_json(tokens))
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)
    os.replace(new, path)
