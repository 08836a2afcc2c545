"""The labels of one model: `<home>/labels/<model>/labels.sqlite`, written by several processes at once, append-only.

Of a person's labels for a row the newest holds, and of several people's the newest of all; the others stay as its history.
"Newest" goes by when it was known (`Label.at`), and then by the order in which the store got it. What was taken back
(`LabelQueue.undo`) is not read, and stays in the file.

Standard library only. Errors of the disk and of SQLite leave it as PipelineErrors with the next action.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.label_file import LabelFile
from registry.records.labels import Label
from registry.records.run import utc_now

MOST_PER_ROW = 100
"""Labels of one row of one request: who corrects for ever does not fill the disk."""
AT_ONCE = 500
"""Requests that one statement asks for."""
Outcome = Literal["added", "same", "full"]
"""It was added; it was there already, and nothing has changed; its row has MOST_PER_ROW labels."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a label store has."""

    labels: int
    """With those that a later one overrules."""
    rows: int
    """Instances with a label."""
    requests: int
    newest: str
    """When the newest label was known; empty without one."""
    by: tuple[tuple[str, int], ...]
    """Who has given how many, the most first."""
    sources: tuple[tuple[str, int], ...]


def label_file(home: Path, model: str) -> Path:
    """Where the labels of a model are: in a folder of their own, to which its API may write, and no other."""
    return home / "labels" / model / "labels.sqlite"


def outcome(label: Label, known: Sequence[Label], *, assumed: bool = False, lines: int = 0) -> Outcome:
    """What adding a label does, where `known` are those of its row, the oldest first; `lines`: how many the row has with those that
    were taken back, where there are any. Pure.

    With its own time it is the same as one that agrees in everything but the source. Without (`at` empty: it is known
    from now on; or its time is only `assumed`) it is the same as its person's newest as well, so that a request that is sent
    again changes nothing.
    """
    own = [each for each in known if each.by == label.by]
    same = [each for each in own if each.at == label.at] + (own[-1:] if assumed or not label.at else [])
    if any(_said(each) == _said(label) for each in same):
        return "same"
    return "full" if max(len(known), lines) >= MOST_PER_ROW else "added"


class LabelStore(LabelFile):
    """What has been said of answers."""

    def add(self, labels: Sequence[Label]) -> list[Outcome]:
        """Add them all, or with an error none: on the disk when this returns. One outcome for each, in their order.

        A label without a time (`at` empty) is known from now on, and so newer than every label of its row.
        """
        with self.transaction() as db:
            return [self._add(db, each) for each in labels]

    def add_file(self, labels: Iterable[tuple[Label, bool]], *, partial: bool = False) -> Counter[Outcome]:
        """As `add`, of however many labels; and with each whether its time is only assumed. Raises ConfigError for a row that
        is full, unless those may be left out (`partial`)."""
        found = Counter[Outcome]()
        with self.transaction() as db:
            for label, assumed in labels:
                what = self._add(db, label, assumed=assumed)
                if what == "full" and not partial:
                    raise ConfigError(
                        f"request {label.request}, row {label.row}: has {MOST_PER_ROW} labels already",
                        hint="take it out of the file, or leave it out by --partial; nothing was imported",
                    )
                found[what] += 1
        return found

    def _add(self, db: sqlite3.Connection, each: Label, *, assumed: bool = False) -> Outcome:
        known = _labels(db.execute(OF_ROW, (each.request, each.row)))
        (lines,) = db.execute(LINES_OF_ROW, (each.request, each.row)).fetchone()
        found = outcome(each, known, assumed=assumed, lines=lines)
        if found == "added":
            now = utc_now()
            at = each.at or max([now, *(other.at for other in known[-1:])])
            label = (each.request, each.row, each.value, each.correct, each.by, at, each.source, each.sure)
            db.execute(INSERT, (*label, now))
        return found

    def newest(self, requests: Iterable[str] | None = None, since: str = "") -> Iterator[Label]:
        """The label that holds, of each labelled row: of these requests, and of all without; one at a time.

        Sorted by request and row; with `requests`, among each AT_ONCE of those. `since`: only rows of which the store got
        a label at this time (UTC) or later. What is added while it reads may be missing.
        """
        last: Label | None = None
        for each in self._read(requests, since):
            if last and (last.request, last.row) != (each.request, each.row):
                yield last
            last = each
        if last:
            yield last

    def all(self, requests: Iterable[str] | None = None) -> Iterator[Label]:
        """As `newest`, with the history of each row: the oldest label of a row first."""
        return self._read(requests, "")

    def counts(self) -> Counts:
        """How many labels there are, of whom, and until when."""
        with self._lock, self.errors():
            labels, newest = self._db.execute("SELECT count(*), coalesce(max(at), '') FROM holding").fetchone()
            rows, requests = self._db.execute(
                'SELECT count(*), count(DISTINCT request) FROM (SELECT DISTINCT request, "row" FROM holding)'
            ).fetchone()
            by, sources = (tuple(self._db.execute(each)) for each in (BY_PERSON, BY_SOURCE))
        return Counts(labels, rows, requests, newest, by, sources)

    def old(self, keep_days: float) -> int:
        """How many labels `remove_old` would remove now."""
        with self._lock, self.errors():
            found = self._db.execute("SELECT count(*) FROM labels WHERE added < ?", (_before(keep_days),)).fetchone()
        return int(found[0])

    def remove_old(self, keep_days: float, who: str, *, now: datetime | None = None) -> int:
        """Remove what the store got longer ago; how many labels that were. It is noted when there are any."""
        before = _before(keep_days, now)
        with self.transaction() as db:
            db.execute("INSERT INTO leaving (before) VALUES (?)", (before,))
            gone = db.execute("DELETE FROM labels WHERE added < ?", (before,)).rowcount
            self._note_removal(db, ("old", f"before {before}", who, gone))
        return gone

    def purge(self, requests: Iterable[str], who: str, what: str) -> int:
        """Forget these requests; how many labels that were. `what` goes into the record, so it must not name them.

        Their bytes are overwritten in the file, and in the journal as soon as no other process reads an older state.
        """
        with self.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO leaving (request) VALUES (?)", ((each,) for each in requests))
            gone = db.execute("DELETE FROM labels WHERE request IN (SELECT request FROM leaving)").rowcount
            self._note_removal(db, ("purge", what, who, gone))
        with self._lock, self.errors():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def _read(self, requests: Iterable[str] | None, since: str) -> Iterator[Label]:
        if requests is None:
            yield from self._rows(SINCE if since else EVERY, (since,) if since else ())
            return
        rest = iter(dict.fromkeys(requests))
        while some := tuple(islice(rest, AT_ONCE)):
            marks = ", ".join("?" * len(some))
            chosen = f"request IN ({marks})" + (f" AND {ARRIVED}" if since else "")
            yield from self._rows(f"{SELECT} WHERE {chosen} {ORDER}", (*some, since) if since else some)

    def _rows(self, statement: str, values: Sequence[Any]) -> Iterator[Label]:
        """By a connection of its own: a reader that takes its time is in nobody's way."""
        with contextlib.closing(self.connect()) as db:
            with self.errors():
                cursor = db.execute(statement, values)
            while True:
                with self.errors():
                    found = _labels(cursor.fetchmany(AT_ONCE))
                if not found:
                    return
                yield from found

    def _note_removal(self, db: sqlite3.Connection, values: tuple[str, str, str, int]) -> None:
        db.execute("DELETE FROM leaving")
        why, what, who, gone = values
        if gone:
            db.execute(NOTE, (why, what, who, utc_now(), gone))


def _before(keep_days: float, now: datetime | None = None) -> str:
    return f"{(now or datetime.now(UTC)) - timedelta(days=keep_days):%Y-%m-%dT%H:%M:%SZ}"


def _said(label: Label) -> tuple[object, ...]:
    return label.request, label.row, label.value, label.correct, label.sure


def _labels(rows: Iterable[tuple[Any, ...]]) -> list[Label]:
    return [
        Label(request, row, value, None if correct is None else bool(correct), by, at, source, sure)
        for request, row, value, correct, by, at, source, sure in rows
    ]


SELECT = 'SELECT request, "row", value, correct, "by", at, source, sure FROM holding'
ORDER = 'ORDER BY request, "row", at, seq'
ARRIVED = '(request, "row") IN (SELECT request, "row" FROM labels WHERE added >= ?)'
EVERY = f"{SELECT} {ORDER}"
SINCE = f"{SELECT} WHERE {ARRIVED} {ORDER}"
OF_ROW = f'{SELECT} WHERE request = ? AND "row" = ? {ORDER}'
LINES_OF_ROW = 'SELECT count(*) FROM labels WHERE request = ? AND "row" = ?'
BY_PERSON = 'SELECT "by", count(*) FROM holding GROUP BY 1 ORDER BY 2 DESC, 1'
BY_SOURCE = "SELECT source, count(*) FROM holding GROUP BY 1 ORDER BY 2 DESC, 1"
INSERT = """INSERT INTO labels (request, "row", value, correct, "by", at, source, sure, added)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
NOTE = 'INSERT INTO removals (why, what, "by", at, labels) VALUES (?, ?, ?, ?, ?)'
