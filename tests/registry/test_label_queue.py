"""The review queue: what was offered and committed, beside the labels."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from registry.label_queue import Committed, Item, LabelQueue
from registry.label_schema import APPLICATION, LABELS
from registry.label_store import MOST_PER_ROW, LabelStore
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


def said(request, value="cat", by="ann", source="queue"):
    return Label(request, 0, value, None, by, "", source)


def test_an_answer_that_is_taken_back_counts_no_more_and_stays_in_the_file(queue, path):
    with LabelStore(path) as store:
        store.add([said("r-1"), said("r-1", "dog")])
        last = queue.last_of("ann")
        assert (last.kind, last.request, last.row, last.value) == ("label", "r-1", 0, "dog")
        assert queue.undo("ann", last.kind, last.number) == last
        assert [each.value for each in store.all()] == ["cat"], "what was said before holds again"
        assert (store.counts().labels, [each.value for each in store.newest()]) == (1, ["cat"])
        with queue.transaction() as db:
            assert db.execute("SELECT value FROM labels ORDER BY seq").fetchall() == [("cat",), ("dog",)]
        assert store.add([said("r-1", "dog")]) == ["added"], "the same may be said again"


def test_only_the_last_answer_of_the_queue_can_be_taken_back_once_and_by_its_person(queue, path):
    with LabelStore(path) as store:
        store.add([said("r-1"), said("r-2"), said("r-3", by="bob"), said("r-4", source="feedback")])
    last = queue.last_of("ann")
    assert last.request == "r-2"
    assert queue.undo("bob", last.kind, last.number) is None
    assert queue.undo("ann", "unsure", last.number) is None
    assert queue.undo("ann", last.kind, last.number - 1) is None
    assert queue.undo("ann", last.kind, last.number) == last
    assert queue.undo("ann", last.kind, last.number) is None, "a form that is sent twice takes back one"
    assert queue.last_of("ann").request == "r-1"
    assert queue.last_of("eve") is None


def test_who_not_sure_is_noted_once_and_may_take_that_back(queue, path):
    with LabelStore(path) as store:
        store.add([said("r-1")])
        queue.not_sure("r-2", 0, "ann")
        queue.not_sure("r-2", 0, "ann")
        queue.not_sure("r-2", 0, "bob")
        last = queue.last_of("ann")
        assert (last.kind, last.request) == ("unsure", "r-2")
        store.add([said("r-3")])
        assert queue.last_of("ann").request == "r-3", "whichever came last"
        assert queue.undo("ann", "label", queue.last_of("ann").number)
        assert queue.undo("ann", last.kind, last.number) == last
    assert queue.unsure() == {("r-2", 0): {"bob"}}


def test_what_is_committed_cannot_be_taken_back_here(queue, path):
    with LabelStore(path) as store:
        store.add([said("r-1")])
    queue.add_committed([DONE])
    assert queue.last_of("ann") is None


def test_what_was_taken_back_and_who_not_sure_leave_with_their_request(queue, path):
    with LabelStore(path) as store:
        store.add([said("r-1"), said("r-2")])
        for _ in range(2):
            last = queue.last_of("ann")
            queue.undo("ann", last.kind, last.number)
        queue.not_sure("r-1", 0, "ann")
        queue.not_sure("r-2", 0, "ann")
        assert store.purge(["r-1"], "eve", "a person asked") == 1
    with queue.transaction() as db:
        assert db.execute("SELECT count(*) FROM withdrawals").fetchone() == (1,)
    assert queue.unsure() == {("r-2", 0): {"ann"}}


def test_a_row_is_full_with_what_was_taken_back(queue, path):
    with LabelStore(path) as store:
        for n in range(MOST_PER_ROW):
            assert store.add([said("r-1", f"c{n}")]) == ["added"]
            last = queue.last_of("ann")
            queue.undo("ann", last.kind, last.number)
        assert store.add([said("r-1")]) == ["full"]


def test_each_change_makes_another_version(queue, path):
    seen = {queue.version()}

    def another():
        before = len(seen)
        seen.add(queue.version())
        return len(seen) == before + 1

    with LabelStore(path) as store:
        queue.offer([ITEM])
        assert another()
        store.add([said("r-1")])
        assert another()
        queue.not_sure("r-1", 0, "bob")
        assert another()
        for by in ("ann", "bob"):
            last = queue.last_of(by)
            queue.undo(by, last.kind, last.number)
            assert another()
        store.purge(["r-1"], "eve", "why")
        assert another()
