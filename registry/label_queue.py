"""The review queue of one model, and what of its labels went into the dataset, or could not: more tables in the file of its labels."""

from __future__ import annotations

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
                for table in ("items", "commits", "labels"):
                    statement = f'SELECT request, "row" FROM {table} WHERE request IN ({marks})'  # noqa: S608  (our own names)
                    found.update(self._db.execute(statement, some).fetchall())
        return found

    def drawn(self, requests: Iterable[str]) -> set[tuple[str, int]]:
        """Those of these requests that were drawn at random."""
        wanted = set(requests)
        return {(each.request, each.row) for each in self.items() if each.why == "random" and each.request in wanted}

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
COMMITS = 'SELECT request, "row", label, file, "commit", at FROM commits'
