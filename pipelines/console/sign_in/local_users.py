"""Local users: `<home>/console/users.json`, for its owner only, with a scrypt hash of each password."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import write_whole
from registry.records import utc_now

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,99}")
SHORTEST, LONGEST = 10, 200
"""Characters of a password."""
MOST = 1000
AT_ONCE = threading.BoundedSemaphore(2)
"""Passwords that are hashed at a time: each takes a quarter of a second and 32 MB."""


@dataclass(frozen=True, slots=True)
class Cost:
    """How expensive it is to try a password (RFC 7914); 32 MB and about 0.2 s."""

    n: int = 2**15
    r: int = 8
    p: int = 3


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a password."""

    name: str
    email: str
    salt: str
    hash: str
    cost: tuple[int, int, int]
    made: str


class LocalUsers:
    """The users of one installation; the file is read anew for each question, so that a change holds at once."""

    def __init__(self, file: Path, cost: Cost | None = None) -> None:
        self._file, self._cost = file, cost or Cost()
        self._nobody = User("", "", secrets.token_hex(16), "", (self._cost.n, self._cost.r, self._cost.p), "")

    def all(self) -> tuple[User, ...]:
        """In the order of their names. Raises ConfigError for a file that is damaged or that others can read."""
        try:
            if self._file.stat().st_mode & 0o077:
                raise ConfigError(f"{self._file} can be read by others", hint=f"chmod 600 {self._file}")
            found = json.loads(self._file.read_text(encoding="utf-8"))
            users = [User(**each | {"cost": tuple(each["cost"])}) for each in found["users"]]
        except FileNotFoundError:
            return ()
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self._file}: damaged: {error}", hint="restore it, or delete it and add the users anew"
            ) from None
        return tuple(sorted(users, key=lambda each: each.name))

    def check(self, name: str, password: str) -> User | None:
        """The user, if the password is right. For an unknown name it takes as long."""
        user = next((each for each in self.all() if each.name == name), None)
        with AT_ONCE:
            found = _hash(password[:LONGEST], user or self._nobody)
        return user if user and hmac.compare_digest(found, user.hash) else None

    def add(self, name: str, email: str, password: str) -> None:
        """A new user; raises ConfigError for a name that is taken or a password that is too short."""
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r:.100} cannot be the name of a user",
                hint="letters, digits and . _ + @ -, at most 100, beginning with a letter or a digit",
            )
        if email and not re.fullmatch(r"[^\s<>@]{1,64}@[^\s<>@]{1,190}", email):
            raise ConfigError(f"{email!r:.200} is not a mail address", hint="e.g. ada@company.example")
        with self._changing() as users:
            if any(each.name.casefold() == name.casefold() for each in users):
                raise ConfigError(
                    f"there is a user {name} already",
                    hint=f"`trainyard console users passwd {name}` changes the password",
                )
            if len(users) >= MOST:
                raise ConfigError(f"there are {MOST} users already", hint='[console] sign_in = "oidc" is for that many')
            users.append(self._with_password(name, email, password))

    def change_password(self, name: str, password: str) -> None:
        """Raises ConfigError for an unknown name."""
        with self._changing() as users:
            at = _index(users, name)
            users[at] = replace(self._with_password(name, users[at].email, password), made=users[at].made)

    def remove(self, name: str) -> None:
        """Raises ConfigError for an unknown name."""
        with self._changing() as users:
            del users[_index(users, name)]

    def _with_password(self, name: str, email: str, password: str) -> User:
        if not SHORTEST <= len(password) <= LONGEST:
            raise ConfigError(
                f"the password has {len(password)} characters, {SHORTEST} to {LONGEST} are wanted",
                hint="several words in a row are easy to remember",
            )
        user = replace(self._nobody, name=name, email=email, salt=secrets.token_hex(16), made=utc_now())
        return replace(user, hash=_hash(password, user))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[User]]:
        """The list of users, which is written at the end; one process at a time."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            users = list(self.all())
            yield users
            data = json.dumps({"schema": 1, "users": [asdict(each) for each in users]}, indent=1).encode()
            write_whole(self._file, data, 0o600)
        finally:
            os.close(fd)


def _index(users: list[User], name: str) -> int:
    for at, each in enumerate(users):
        if each.name == name:
            return at
    raise ConfigError(f"there is no user {name!r:.100}", hint="`trainyard console users list` shows them")


def _hash(password: str, user: User) -> str:
    n, r, p = user.cost
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        data, salt=bytes.fromhex(user.salt), n=n, r=r, p=p, maxmem=256 * n * r * p + 2**20, dklen=32
    ).hex()
