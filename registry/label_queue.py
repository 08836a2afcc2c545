"""The review queue of one model, and what of its labels went into the dataset, or could not: more tables in the file of its labels."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

from registry.dataclass import dataclass
from registry.label_file import LabelFile
from registry.label_store import AT_ONCE
from registry.records.run import utc_now

Why = Literal["random", "doubtful"]


@dataclass(frozen=True, slots=True)
class Item:
    """An answered instance that people are asked about."""

    request: str
    row: int
    why: Why
    """random: it counts when accuracy is estimated."""
    score: float
    """How doubtful the answer was, 0 to 1."""
    answered: str
    """The class that the model gave; empty where it gives numbers."""
    version: int
    offered: str
    """When it came into the queue, UTC."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A label that is in the dataset repository."""

    request: str
    row: int
    label: str
    file: str
    commit: str
    at: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """An accepted label that no sample could be made of."""

    request: str
    row: int
    label: str
    """As it was accepted; another one is tried."""
    reason: str
    basis: str
    """What the reason goes by: a declaration or a commit of the dataset. With another one it is tried again."""
    at: str = ""
    """When that was found, UTC; empty: now."""


@dataclass(frozen=True, slots=True)
class Last:
    """What somebody did last in the review queue."""

    kind: Literal["label", "unsure"]
    """unsure: that person was not sure what is right."""
    number: int
    """Of its line: another one for each."""
    request: str
    row: int
    value: str = ""
    correct: bool | None = None


class LabelQueue(LabelFile):
    """What was offered, what was committed, and what could not be. They leave with the labels of a request that is forgotten."""

    def offer(self, items: Sequence[Item]) -> int:
        """Add those that are not there yet; how many. One that is there, and was drawn at random now, counts as that."""
        with self.transaction() as db:
            (before,) = db.execute(COUNT).fetchone()
            db.executemany(OFFER, [(i.request, i.row, i.why, i.score, i.answered, i.version, i.offered) for i in items])
            (after,) = db.execute(COUNT).fetchone()
        return int(after - before)

    def offered_since(self, at: str) -> int:
        """How many came into the queue at this time (UTC) or later."""
        with self._lock, self.errors():
            (count,) = self._db.execute("SELECT count(*) FROM items WHERE offered >= ?", (at,)).fetchone()
        return int(count)

    def items(self) -> tuple[Item, ...]:
        """All that were offered; the most doubtful first, within each day."""
        with self._lock, self.errors():
            rows = self._db.execute(f'{ITEMS} ORDER BY substr(offered, 1, 10), score DESC, request, "row"').fetchall()
        return tuple(Item(*each) for each in rows)

    def known(self, requests: Iterable[str]) -> set[tuple[str, int]]:
        """The instances of these requests that have a label, are in the queue, or in the dataset."""
        found: set[tuple[str, int]] = set()
        rest = iter(dict.fromkeys(requests))
        while some := tuple(islice(rest, AT_ONCE)):
            marks = ", ".join("?" * len(some))
            with self._lock, self.errors():
                for table in ("items", "commits", "holding"):
                    statement = f'SELECT request, "row" FROM {table} WHERE request IN ({marks})'  # noqa: S608  (our own names)
                    found.update(self._db.execute(statement, some).fetchall())
        return found

    def drawn(self, requests: Iterable[str]) -> set[tuple[str, int]]:
        """Those of these requests that were drawn at random."""
        wanted = set(requests)
        return {(each.request, each.row) for each in self.items() if each.why == "random" and each.request in wanted}

    def not_sure(self, request: str, row: int, by: str) -> None:
        """Note that somebody is not sure what is right of an instance; again changes nothing."""
        with self.transaction() as db:
            db.execute(NOT_SURE, (request, row, by, utc_now()))

    def unsure(self) -> dict[tuple[str, int], frozenset[str]]:
        """Instance → who is not sure what is right of it."""
        found: dict[tuple[str, int], set[str]] = {}
        with self._lock, self.errors():
            rows = self._db.execute('SELECT request, "row", "by" FROM unsure').fetchall()
        for request, row, by in rows:
            found.setdefault((request, row), set()).add(by)
        return {key: frozenset(people) for key, people in found.items()}

    def last_of(self, by: str) -> Last | None:
        """What somebody did last in the queue, unless nothing, or a commit has it already."""
        with self._lock, self.errors():
            return self._last_of(self._db, by)

    def undo(self, by: str, kind: str, number: int) -> Last | None:
        """Take back what somebody did last; None when it is not that: again changes nothing. The line of a label stays as history,
        and what that person said of the instance before holds again."""
        with self.transaction() as db:
            last = self._last_of(db, by)
            if last is None or (last.kind, last.number) != (kind, number):
                return None
            if kind == "label":
                db.execute("INSERT INTO withdrawals VALUES (?, ?)", (number, utc_now()))
            else:
                db.execute("DELETE FROM unsure WHERE seq = ?", (number,))
            return last

    def _last_of(self, db: sqlite3.Connection, by: str) -> Last | None:
        said, unsure = db.execute(LAST_SAID, (by,)).fetchone(), db.execute(LAST_UNSURE, (by,)).fetchone()
        last = None
        if unsure and (said is None or unsure[3] >= said[0]):
            last = Last("unsure", *unsure[:3])
        elif said:
            number, request, row, value, correct = said
            last = Last("label", number, request, row, value, None if correct is None else bool(correct))
        if (
            last
            and db.execute('SELECT 1 FROM commits WHERE request = ? AND "row" = ?', (last.request, last.row)).fetchone()
        ):
            return None
        return last

    def version(self) -> tuple[int, ...]:
        """Another one after each change of what the queue, or a label, is."""
        with self._lock, self.errors():
            return tuple(self._db.execute(VERSION).fetchone())

    def add_committed(self, rows: Sequence[Committed]) -> None:
        """Note what a commit holds; again changes nothing."""
        with self.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO commits VALUES (?, ?, ?, ?, ?, ?)",
                [(each.request, each.row, each.label, each.file, each.commit, each.at or utc_now()) for each in rows],
            )

    def committed(self) -> Iterator[Committed]:
        """All of them, the oldest first."""
        with self._lock, self.errors():
            rows = self._db.execute(f'{COMMITS} ORDER BY at, request, "row"').fetchall()
        yield from (Committed(*each) for each in rows)

    def add_unusable(self, rows: Sequence[Unusable]) -> None:
        """Note why these cannot be samples, in place of what was noted of them before."""
        with self.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO unusable VALUES (?, ?, ?, ?, ?, ?)",
                [(each.request, each.row, each.label, each.reason, each.basis, each.at or utc_now()) for each in rows],
            )

    def move_basis(self, old: str, new: str) -> None:
        """What went by the old one goes by the new one."""
        with self.transaction() as db:
            db.execute("UPDATE unusable SET basis = ? WHERE basis = ?", (new, old))

    def unusable(self) -> tuple[Unusable, ...]:
        """All of them, the oldest first."""
        with self._lock, self.errors():
            rows = self._db.execute(f'{UNUSABLE} ORDER BY at, request, "row"').fetchall()
        return tuple(Unusable(*each) for each in rows)


COUNT = "SELECT count(*) FROM items"
OFFER = """INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET why = 'random' WHERE excluded.why = 'random'"""
ITEMS = 'SELECT request, "row", why, score, answered, version, offered FROM items'
UNUSABLE = 'SELECT request, "row", label, reason, basis, at FROM unusable'
NOT_SURE = """INSERT OR IGNORE INTO unsure (request, "row", "by", at, behind)
VALUES (?, ?, ?, ?, (SELECT coalesce(max(seq), 0) FROM labels))"""
LAST_SAID = """SELECT seq, request, "row", value, correct FROM holding
WHERE "by" = ? AND source = 'queue' ORDER BY seq DESC LIMIT 1"""
LAST_UNSURE = 'SELECT seq, request, "row", behind FROM unsure WHERE "by" = ? ORDER BY seq DESC LIMIT 1'
VERSION = """SELECT (SELECT coalesce(max(seq), 0) FROM labels), (SELECT count(*) FROM withdrawals),
(SELECT count(*) FROM unsure), (SELECT coalesce(max(seq), 0) FROM unsure), (SELECT coalesce(max(seq), 0) FROM removals),
(SELECT count(*) FROM items)"""
COMMITS = 'SELECT request, "row", label, file, "commit", at FROM commits'
