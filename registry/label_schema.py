"""The tables of a label store, and the steps by which an older file becomes a newer one. SQL only.

`items` and `commits` are the review queue, and what of it went into the dataset, and `unusable` what could not: what leaves `labels`
leaves them, too.
`labels` has a line for everything that somebody has said of an answered instance, and `removals` one for each removal.
Triggers refuse to change either. Lines of `labels` leave only while `leaving` says which, and `leaving` is empty
whenever a transaction is over.
`withdrawals` names the lines of `labels` that whoever labelled has taken back: they stay as history, and count no more. `unsure` is
who was not sure what is right. `holding` is what readers of labels read.
"""

from __future__ import annotations

APPLICATION = 0x54596C62
"""In the file's header, as `PRAGMA application_id`: it is a label store."""

LABELS = """
CREATE TABLE labels (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL CHECK (request <> ''),
    "row" INTEGER NOT NULL CHECK (typeof("row") = 'integer' AND "row" >= 0),
    value TEXT NOT NULL,
    correct INTEGER CHECK (correct IN (0, 1)),
    "by" TEXT NOT NULL CHECK ("by" <> ''),
    at TEXT NOT NULL CHECK (length(at) = 20),
    source TEXT NOT NULL,
    sure REAL CHECK (sure BETWEEN 0 AND 1),
    added TEXT NOT NULL CHECK (length(added) = 20),
    CHECK (value <> '' OR correct IS NOT NULL)
);
CREATE INDEX labels_of_row ON labels (request, "row", at, seq);
CREATE INDEX labels_by_arrival ON labels (added);
CREATE TABLE removals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    why TEXT NOT NULL CHECK (why IN ('old', 'purge')),
    what TEXT NOT NULL,
    "by" TEXT NOT NULL,
    at TEXT NOT NULL,
    labels INTEGER NOT NULL
);
CREATE TABLE leaving (
    request TEXT,
    before TEXT,
    CHECK ((request IS NULL) <> (before IS NULL))
);
CREATE UNIQUE INDEX leaving_requests ON leaving (request) WHERE request IS NOT NULL;
CREATE TRIGGER labels_stay BEFORE DELETE ON labels
WHEN NOT EXISTS (SELECT 1 FROM leaving WHERE request = OLD.request)
    AND NOT EXISTS (SELECT 1 FROM leaving WHERE before > OLD.added)
BEGIN SELECT RAISE(ABORT, 'labels are not removed'); END;
CREATE TRIGGER labels_are_not_changed BEFORE UPDATE ON labels
BEGIN SELECT RAISE(ABORT, 'labels are not changed'); END;
CREATE TRIGGER removals_stay BEFORE DELETE ON removals
BEGIN SELECT RAISE(ABORT, 'removals are not removed'); END;
CREATE TRIGGER removals_are_not_changed BEFORE UPDATE ON removals
BEGIN SELECT RAISE(ABORT, 'removals are not changed'); END;
"""

QUEUE = """
CREATE TABLE items (
    request TEXT NOT NULL CHECK (request <> ''),
    "row" INTEGER NOT NULL CHECK (typeof("row") = 'integer' AND "row" >= 0),
    why TEXT NOT NULL CHECK (why IN ('random', 'doubtful')),
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    answered TEXT NOT NULL,
    version INTEGER NOT NULL,
    offered TEXT NOT NULL CHECK (length(offered) = 20),
    PRIMARY KEY (request, "row")
) WITHOUT ROWID;
CREATE INDEX items_by_time ON items (offered);
CREATE TABLE commits (
    request TEXT NOT NULL CHECK (request <> ''),
    "row" INTEGER NOT NULL CHECK (typeof("row") = 'integer' AND "row" >= 0),
    label TEXT NOT NULL,
    file TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    at TEXT NOT NULL CHECK (length(at) = 20),
    PRIMARY KEY (request, "row")
) WITHOUT ROWID;
CREATE TRIGGER queue_forgets AFTER INSERT ON leaving
BEGIN
    DELETE FROM items WHERE request = NEW.request OR offered < NEW.before;
    DELETE FROM commits WHERE request = NEW.request OR at < NEW.before;
END;
"""

UNUSABLE = """
CREATE TABLE unusable (
    request TEXT NOT NULL CHECK (request <> ''),
    "row" INTEGER NOT NULL CHECK (typeof("row") = 'integer' AND "row" >= 0),
    label TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (reason <> ''),
    basis TEXT NOT NULL CHECK (basis <> ''),
    at TEXT NOT NULL CHECK (length(at) = 20),
    PRIMARY KEY (request, "row")
) WITHOUT ROWID;
CREATE TRIGGER unusable_forgets AFTER INSERT ON leaving
BEGIN
    DELETE FROM unusable WHERE request = NEW.request OR at < NEW.before;
END;
CREATE TRIGGER committed_is_usable AFTER INSERT ON commits
BEGIN
    DELETE FROM unusable WHERE request = NEW.request AND "row" = NEW."row";
END;
"""

WITHDRAWN = """
CREATE TABLE withdrawals (
    label INTEGER PRIMARY KEY,
    at TEXT NOT NULL CHECK (length(at) = 20)
);
CREATE TRIGGER withdrawals_stay BEFORE DELETE ON withdrawals
WHEN EXISTS (SELECT 1 FROM labels WHERE seq = OLD.label)
BEGIN SELECT RAISE(ABORT, 'withdrawals are not removed'); END;
CREATE TRIGGER withdrawals_are_not_changed BEFORE UPDATE ON withdrawals
BEGIN SELECT RAISE(ABORT, 'withdrawals are not changed'); END;
CREATE TRIGGER withdrawals_leave AFTER DELETE ON labels
BEGIN
    DELETE FROM withdrawals WHERE label = OLD.seq;
END;
CREATE VIEW holding AS SELECT * FROM labels WHERE NOT EXISTS (SELECT 1 FROM withdrawals WHERE label = labels.seq);
CREATE INDEX labels_by_person ON labels ("by", seq);
CREATE TABLE unsure (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL CHECK (request <> ''),
    "row" INTEGER NOT NULL CHECK (typeof("row") = 'integer' AND "row" >= 0),
    "by" TEXT NOT NULL CHECK ("by" <> ''),
    at TEXT NOT NULL CHECK (length(at) = 20),
    behind INTEGER NOT NULL,
    UNIQUE (request, "row", "by")
);
CREATE INDEX unsure_by_person ON unsure ("by", seq);
CREATE TRIGGER unsure_forgets AFTER INSERT ON leaving
BEGIN
    DELETE FROM unsure WHERE request = NEW.request OR at < NEW.before;
END;
"""

STEPS = (LABELS, QUEUE, UNUSABLE, WITHDRAWN)
"""Step n brings a file of version n to n + 1; `PRAGMA user_version` says which it has. A step that was released stays as it is."""
