"""The review queue: what was offered and committed, beside the labels."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from registry.label_queue import Committed, Item, LabelQueue
from registry.label_schema import APPLICATION, LABELS
from registry.label_store import LabelStore
from registry.records.labels import Label

ITEM = Item("r-1", 0, "random", 0.25, "cat", 3, "2026-11-21T10:00:00Z")
DONE = Committed("r-1", 0, "cat", "cat/1.png", "c" * 40, "2026-11-22T10:00:00Z")
ANN = Label("r-3", 1, "cat", None, "ann", "2026-11-21T10:00:00Z", "queue")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels" / "pets.sqlite"


@pytest.fixture
def queue(path):
    with LabelQueue(path) as opened:
        yield opened


def test_what_was_offered_is_offered_once(queue):
    assert queue.offer([ITEM, replace(ITEM, row=1, score=0.9)]) == 2
    assert queue.offer([replace(ITEM, why="doubtful"), replace(ITEM, request="r-2")]) == 1
    assert [(each.request, each.row) for each in queue.items()] == [("r-1", 1), ("r-1", 0), ("r-2", 0)]
    assert queue.items()[1] == ITEM
    assert queue.offer([replace(ITEM, request="r-2", why="doubtful")]) == 0
    assert queue.drawn(["r-2", "r-3"]) == {("r-2", 0)}, "once at random, always"
    assert (queue.offered_since("2026-11-21T00:00:00Z"), queue.offered_since("2026-11-22T00:00:00Z")) == (3, 0)


def test_a_doubtful_one_that_is_drawn_later_counts_as_drawn(queue):
    queue.offer([replace(ITEM, why="doubtful")])
    assert queue.offer([replace(ITEM, offered="2026-11-23T10:00:00Z")]) == 0
    assert queue.items() == (ITEM,)


def test_a_commit_is_noted_once(queue):
    queue.add_committed([DONE])
    queue.add_committed([replace(DONE, commit="d" * 40)])
    assert list(queue.committed()) == [DONE]


def test_known_is_what_is_labelled_offered_or_committed(queue, path):
    queue.offer([ITEM])
    queue.add_committed([replace(DONE, request="r-2")])
    with LabelStore(path) as store:
        store.add([ANN])
    assert queue.known(["r-1", "r-2", "r-3", "r-4"]) == {("r-1", 0), ("r-2", 0), ("r-3", 1)}
    assert queue.known(f"n-{n}" for n in range(2000)) == set()


def test_a_request_that_is_forgotten_leaves_the_queue_and_what_is_old_does(queue, path):
    queue.offer([ITEM, replace(ITEM, request="r-2")])
    queue.add_committed([DONE])
    with LabelStore(path) as store:
        store.purge(["r-1"], "eve", "a person asked")
        assert [each.request for each in queue.items()] == ["r-2"]
        assert list(queue.committed()) == []
        store.remove_old(365, "trainyard", now=datetime(2028, 1, 1, tzinfo=UTC))
    assert queue.items() == ()


def test_a_file_of_labels_alone_gets_a_queue(path):
    import sqlite3

    path.parent.mkdir()
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(f"{LABELS} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1;")
    old.close()
    with LabelQueue(path) as queue:
        assert queue.offer([ITEM]) == 1
