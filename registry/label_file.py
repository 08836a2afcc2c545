"""The SQLite file of a label store: opened, brought to the newest format, and what a person can do about its errors.

Several processes and threads use it at once: readers wait for nobody, a writer for another one. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from registry.errors import FREE_SPACE, ConfigError, Corrupt, PipelineError, TryAgain, from_os_error
from registry.label_schema import APPLICATION, STEPS

BUSY_SECONDS = 10.0
"""So long a writer waits for another one."""


class LabelFile:
    """An open file. Threads of one process may share it; a forked one needs its own."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        """Opens it, and makes it when it is not there. Raises ConfigError, Corrupt, TryAgain."""
        self.path, self._busy = path, busy_seconds
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
        except OSError as error:
            raise from_os_error(error, path) or error from None
        self._db = self.connect()
        try:
            with self.errors():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def existing(cls, path: Path) -> Self | None:
        """For readers: None when nobody has labelled anything yet."""
        return cls(path) if path.exists() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what a transaction has written is on the disk already."""
        with self._lock, self.errors():
            self._db.close()

    def connect(self) -> sqlite3.Connection:
        """A connection beside that of the transactions: for a reader that takes its time."""
        with self.errors():
            return sqlite3.connect(self.path, timeout=self._busy, isolation_level=None, check_same_thread=False)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that happens within is on the disk afterwards, or nothing of it. Raises TryAgain, Corrupt, ConfigError."""
        with self._lock, self.errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite ends some of them itself, as on a full disk
                    self._db.execute("ROLLBACK")
                raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "trusted_schema = OFF"):
            self._db.execute(f"PRAGMA {pragma}")
        if self._version() != len(STEPS):
            with self.transaction() as db:
                for step in STEPS[self._version() :]:
                    for statement in _statements(step):
                        db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {len(STEPS)}")

    def _version(self) -> int:
        (version,), (application,) = (
            self._db.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "application_id")
        )
        if application != APPLICATION and (application or version or self._db.execute(ANY_TABLE).fetchone()):
            raise Corrupt(f"{self.path}: it is a database, but not one of labels", hint=_away(self.path))
        if version > len(STEPS):
            raise ConfigError(
                f"{self.path}: a newer version of Trainyard has written it (format {version}; this one knows {len(STEPS)})",
                hint="use that version, or a newer one",
            )
        return int(version)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """What SQLite raises within, as a PipelineError."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise as_typed(error, self.path) or error from None


def as_typed(error: sqlite3.DatabaseError, path: Path) -> PipelineError | None:
    """What a person can do about an error of SQLite; None: it is a bug."""
    name = str(getattr(error, "sqlite_errorname", ""))
    where = f"{path}: {error}"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TryAgain(f"{path}: in use by another process", hint="retry when it is done")
    if name == "SQLITE_FULL":
        return TryAgain(where, hint=FREE_SPACE)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        hint = (
            f"this user must be able to write {path} and its folder, which has two files more beside it; start the API again, "
            "if that folder was made anew while it ran"
        )
        return ConfigError(where, hint=hint)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Corrupt(f"{path}: it is damaged: {error}", hint=_away(path))
    if name.startswith("SQLITE_IOERR"):
        return TryAgain(f"{where} ({name})", hint=f"is the disk of {path.parent} full (df -h), or out of reach?")
    return None


def _make(path: Path) -> None:
    """Root's belongs to whom its folder does: an API in a container that may write there runs as nobody."""
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        try:
            if not os.geteuid():
                owner = path.parent.stat()
                os.fchown(fd, owner.st_uid, owner.st_gid)
        finally:
            os.close(fd)


def _away(path: Path) -> str:
    return f"restore it from a backup, or move it away, with {path.name}-wal and {path.name}-shm: a new one is begun"


def _statements(script: str) -> Iterator[str]:
    """`executescript` would end the transaction."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


ANY_TABLE = "SELECT 1 FROM sqlite_master LIMIT 1"
