"""Who is signed in: a random secret in a cookie, of which only a hash is kept here. What a file or a log shows opens nothing.

One SQLite file for all threads and processes of a console; sessions outlive its restart.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from pipelines.console.person import How, Person
from registry.dataclass import dataclass

TOUCH = 30.0
"""Seconds: the time of the last request is not written more often."""
MOST = 10_000
"""Sessions at a time; the one that was idle longest goes first."""
TABLE = """CREATE TABLE IF NOT EXISTS sessions (
    hash TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, how TEXT NOT NULL, only TEXT NOT NULL,
    ends_at_provider TEXT NOT NULL, began REAL NOT NULL, last REAL NOT NULL) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser in which somebody has signed in."""

    id: str
    """A hash of the cookie's value: what may be kept, logged and compared."""
    person: Person
    ends_at_provider: str = ""
    """For OpenID Connect: what the provider wants to see when the session ends there, too."""


class Sessions:
    """The sessions of a console."""

    def __init__(self, file: Path, idle: float, longest: float, clock: Callable[[], float] = time.time) -> None:
        """`idle` and `longest` are seconds."""
        self._idle, self._longest, self._clock = idle, longest, clock
        self._lock = threading.Lock()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(file, timeout=10, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(TABLE)

    def begin(self, person: Person, ends_at_provider: str = "") -> str:
        """The cookie's value of a new session."""
        value, now = secrets.token_urlsafe(32), self._clock()
        row = (_hash(value), person.name, person.email, person.how, person.only, ends_at_provider, now, now)
        with self._lock, self._db:
            self._db.execute(
                "DELETE FROM sessions WHERE last < ? OR began < ?", (now - self._idle, now - self._longest)
            )
            self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            self._db.execute(
                "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions ORDER BY last DESC LIMIT -1 OFFSET ?)",
                (MOST,),
            )
        return value

    def find(self, value: str) -> Session | None:
        """The session of a cookie's value, unless it has ended."""
        if not value or len(value) > 100:
            return None
        key, now = _hash(value), self._clock()
        with self._lock:
            row = self._db.execute(
                "SELECT name, email, how, only, ends_at_provider, began, last FROM sessions WHERE hash = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            name, email, how, only, ends, began, last = row
            if not (now - self._idle <= last <= now + TOUCH and now - self._longest <= began):
                self._db.execute("DELETE FROM sessions WHERE hash = ?", (key,))
                return None
            if now - last > TOUCH:
                self._db.execute("UPDATE sessions SET last = ? WHERE hash = ?", (now, key))
        return Session(key, Person(name, email, cast("How", how), only), ends)

    def end(self, session: Session) -> None:
        """From now on the cookie's value is worth nothing."""
        with self._lock:
            self._db.execute("DELETE FROM sessions WHERE hash = ?", (session.id,))

    def end_all_of(self, name: str) -> int:
        """End every session of a person, e.g. when the password changes; gives how many there were."""
        with self._lock:
            return self._db.execute("DELETE FROM sessions WHERE name = ?", (name,)).rowcount

    def close(self) -> None:
        """Nothing can be asked any more."""
        with self._lock:
            self._db.close()


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
