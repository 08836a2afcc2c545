"""The label store: what holds, what stays, and what a person is shown when the file cannot be used."""

import multiprocessing
import os
import signal
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from registry_faults_parts import small_disk

from registry import label_file
from registry.errors import ConfigError, Corrupt, TryAgain
from registry.label_schema import APPLICATION, STEPS
from registry.label_store import MOST_PER_ROW, LabelStore, outcome
from registry.records.labels import Label

ANN = Label("r-1", 0, "cat", None, "ann", "2026-11-21T10:00:00Z", "feedback")
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels" / "pets.sqlite"


@pytest.fixture
def store(path):
    with LabelStore(path) as opened:
        yield opened


def held(store, **choice):
    return {(each.request, each.row): each for each in store.newest(**choice)}


def test_what_was_added_is_read_back_and_holds(store):
    known = [ANN, replace(ANN, row=3, value="", correct=True, sure=0.25), replace(ANN, request="r-2", correct=False)]
    assert store.add(known) == ["added"] * 3
    assert list(store.newest()) == known


def test_the_same_label_again_changes_nothing(store):
    assert store.add([ANN, ANN]) == ["added", "same"]
    assert store.add([replace(ANN, source="import")]) == ["same"]
    assert list(store.all()) == [ANN]


def test_a_request_that_is_sent_again_changes_nothing_though_its_time_is_another(store):
    unnamed = replace(ANN, at="")
    assert store.add([unnamed]) == ["added"]
    assert store.add([unnamed]) == ["same"]


def test_a_correction_holds_and_the_history_stays(store):
    store.add([ANN, replace(ANN, value="dog", at="2026-11-21T10:00:01Z")])
    assert held(store)["r-1", 0].value == "dog"
    assert [each.value for each in store.all()] == ["cat", "dog"]


def test_a_correction_within_one_second_holds(store):
    for value in ("cat", "dog", "cat"):
        assert store.add([replace(ANN, value=value, at="")]) == ["added"]
    assert [each.value for each in store.all()] == ["cat", "dog", "cat"]


def test_a_correction_holds_also_when_the_clock_of_the_one_before_was_ahead(store):
    store.add([replace(ANN, at="2999-01-01T00:00:00Z")])
    store.add([replace(ANN, value="dog", at="")])
    assert held(store)["r-1", 0].value == "dog"


def test_an_older_label_that_comes_late_is_history(store):
    store.add([ANN])
    assert store.add([replace(ANN, by="bob", value="dog", at="2026-11-20T10:00:00Z")]) == ["added"]
    assert held(store)["r-1", 0] == ANN


def test_an_import_that_is_repeated_changes_nothing_also_when_two_labels_have_one_time(store):
    known = [ANN, replace(ANN, value="dog"), replace(ANN, by="bob", value="fox")]
    assert store.add(known) == ["added"] * 3
    assert store.add(known) == ["same"] * 3
    assert held(store)["r-1", 0].value == "fox"


def test_a_row_has_a_bounded_number_of_labels(store):
    every = [replace(ANN, value=f"{i}") for i in range(MOST_PER_ROW + 1)]
    assert store.add(every) == ["added"] * MOST_PER_ROW + ["full"]


def test_only_the_rows_of_some_requests_are_read(store):
    store.add([replace(ANN, request=f"r-{i}") for i in range(1201)])
    asked = [f"r-{i}" for i in range(0, 2400, 2)]
    assert {request for request, _ in held(store, requests=asked)} == {f"r-{i}" for i in range(0, 1201, 2)}
    assert not held(store, requests=[])


def test_since_is_about_when_the_store_got_a_label_and_gives_what_holds(store, monkeypatch):
    monkeypatch.setattr("registry.label_store.utc_now", lambda: "2026-11-22T00:00:00Z")
    store.add([ANN, replace(ANN, request="r-2")])
    monkeypatch.setattr("registry.label_store.utc_now", lambda: "2026-11-23T00:00:00Z")
    store.add([replace(ANN, value="dog", by="bob", at="2026-11-20T00:00:00Z")])
    assert list(held(store, since="2026-11-22T00:00:01Z").values()) == [ANN]
    assert list(held(store, requests=["r-2"], since="2026-11-22T00:00:01Z")) == []
    assert len(held(store, since="2026-11-22T00:00:00Z")) == 2


def test_counts_say_of_whom_and_until_when(store):
    store.add(
        [ANN, replace(ANN, by="bob", value="dog", at="2026-11-21T11:00:00Z"), replace(ANN, row=1, source="queue")]
    )
    counts = store.counts()
    assert (counts.labels, counts.rows, counts.requests, counts.newest) == (3, 2, 1, "2026-11-21T11:00:00Z")
    assert (counts.by, counts.sources) == ((("ann", 2), ("bob", 1)), (("feedback", 2), ("queue", 1)))


def test_a_reader_is_not_in_the_way_of_a_writer_nor_of_its_own_store(store):
    store.add([replace(ANN, request=f"r-{i}") for i in range(1000)])
    reader = store.newest()
    next(reader)
    assert store.add([replace(ANN, request="s")]) == ["added"]
    assert len(list(reader)) == 999


LABELS = some.builds(
    Label,
    some.sampled_from(["r", "s"]),
    some.integers(0, 1),
    some.sampled_from(["cat", "dog"]),
    some.none(),
    some.sampled_from(["ann", "bob"]),
    some.integers(0, 5).map(lambda i: f"2026-11-21T10:00:0{i}Z"),
    some.sampled_from(["feedback", "import"]),
)


@settings(max_examples=60, deadline=None)
@given(batches=some.lists(some.lists(LABELS, max_size=8), max_size=4))
def test_the_newest_holds_and_the_history_stays_whatever_comes_in_whatever_order(tmp_path_factory, batches):
    path = tmp_path_factory.mktemp("any") / "labels.sqlite"
    kept: list[Label] = []
    with LabelStore(path) as store:
        for batch in batches:
            for each, found in zip(batch, store.add(batch), strict=True):
                same = any(replace(each, source=other.source) == other for other in kept)
                assert found == ("same" if same else "added")
                kept += [] if same else [each]
            in_order = sorted(kept, key=lambda each: (each.request, each.row, each.at))  # stable: then by arrival
            assert list(store.all()) == in_order
            assert held(store) == {(each.request, each.row): each for each in in_order}


@given(known=some.lists(LABELS.map(lambda each: replace(each, request="r", row=0)), max_size=6), label=LABELS)
def test_what_is_the_same_depends_on_the_person_alone(known, label):
    others = [each for each in known if each.by != label.by]
    assert outcome(label, others) == "added"
    assert outcome(label, [*known, label, *others]) == "same"


def test_nothing_is_changed_or_removed_by_hand(store, path):
    store.add([ANN])
    store.purge(["r-0"], "ann", "a request")
    store.add([replace(ANN, request="r-3")])
    assert store.purge(["r-3"], "ann", "a request") == 1
    db = sqlite3.connect(path)
    for statement in (
        "DELETE FROM labels",
        "UPDATE labels SET value = 'dog'",
        "DELETE FROM removals",
        "UPDATE removals SET labels = 0",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="are not"):
            db.execute(statement)
    db.close()
    assert list(store.all()) == [ANN]


def test_old_labels_leave_and_that_is_noted(store, path):
    store.add([ANN, replace(ANN, row=1)])
    assert (store.remove_old(1, "clean"), store.old(1), store.old(-1)) == (0, 0, 2)
    assert store.remove_old(1, "clean", now=datetime.now(UTC) + timedelta(days=2)) == 2
    assert not list(store.all())
    assert [each[:2] for each in removals(path)] == [("old", 2)]


def test_a_purge_forgets_a_request_in_every_byte(store, path):
    store.add([replace(ANN, request="unforgotten"), replace(ANN, request="forgotten", value="secret")])
    assert store.purge(["forgotten", "never-there"], "ann", "request 1f2e") == 1
    assert [each.request for each in store.all()] == ["unforgotten"]
    assert removals(path) == [("purge", 1, "request 1f2e")]
    for file in path.parent.iterdir():
        assert b"secret" not in file.read_bytes(), file


def removals(path):
    db = sqlite3.connect(path)
    rows = db.execute("SELECT why, labels, what FROM removals").fetchall()
    db.close()
    return [each if each[0] == "purge" else each[:2] for each in rows]


def in_child(work):
    """Do it in a child; its exit code, or minus the signal that has ended it."""
    child = FORK.Process(target=work)
    child.start()
    child.join(60)
    return child.exitcode


def killed_at(path, number, work):
    """Kill a child before its statement `number` while it does `work(store)`; whether it came so far."""

    def until_killed():
        count = 0

        def statement(_):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        store = LabelStore(path)
        store._db.set_trace_callback(statement)
        work(store)
        os._exit(0)

    return in_child(until_killed) == -signal.SIGKILL


def test_a_writer_that_is_killed_between_any_two_statements_has_added_all_or_nothing(path):
    batch = [replace(ANN, row=i) for i in range(3)]
    LabelStore(path).close()
    number = 1
    while killed_at(path, number, lambda store: store.add(batch)):
        with LabelStore(path) as store:
            assert not list(store.all())
        number += 1
    assert number > 8
    with LabelStore(path) as store:
        assert list(store.all()) == batch
        assert store.add(batch) == ["same"] * 3


def test_a_removal_that_is_killed_between_any_two_statements_is_whole_or_was_not(path):
    with LabelStore(path) as store:
        store.add([ANN, replace(ANN, request="r-2")])
    number = 1
    while killed_at(path, number, lambda store: store.purge(["r-1"], "ann", "x")):
        with LabelStore(path) as store:
            left = [each.request for each in store.all()]
        assert (left, len(removals(path))) in [(["r-1", "r-2"], 0), (["r-2"], 1)]
        number += 1
    assert number > 4
    assert len(removals(path)) == 1


def test_several_processes_make_one_file_and_lose_nothing(path):
    def write(name):
        with LabelStore(path) as store:
            for i in range(25):
                assert store.add([replace(ANN, by=name, row=i, request=name)]) == ["added"]

    children = [FORK.Process(target=write, args=(f"w{i}",)) for i in range(4)]
    for each in children:
        each.start()
    for each in children:
        each.join(60)
    assert [each.exitcode for each in children] == [0] * 4
    with LabelStore(path) as store:
        assert store.counts().labels == 100


def test_a_file_of_a_newer_version_is_refused_and_stays_as_it_is(path):
    LabelStore(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="a newer version of Trainyard has written it"):
        LabelStore(path)
    assert path.read_bytes() == before


def test_a_file_of_an_older_version_becomes_a_new_one_with_its_labels(path, monkeypatch):
    with LabelStore(path) as store:
        store.add([ANN])
    monkeypatch.setattr(label_file, "STEPS", (*STEPS, "CREATE TABLE more (a);\nCREATE TABLE most (b);\n"))
    with LabelStore(path) as store:
        assert list(store.all()) == [ANN]
        store._db.execute("INSERT INTO most VALUES (1)")


def test_a_database_of_something_else_is_left_alone(path):
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (a)")
    db.close()
    with pytest.raises(Corrupt, match="not one of labels") as caught:
        LabelStore(path)
    assert "pets.sqlite-wal" in caught.value.hint


def test_a_damaged_file_is_named_with_what_to_do(path):
    with LabelStore(path) as store:
        store.add([replace(ANN, request=f"r-{i}") for i in range(500)])
    data = bytearray(path.read_bytes())
    data[100:] = os.urandom(len(data) - 100)
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="damaged") as caught, LabelStore(path) as store:
        list(store.all())
    assert "move it away" in caught.value.hint
    path.write_bytes(b"no database, and longer than a header of one would be" * 40)
    with pytest.raises(Corrupt, match="damaged"):
        LabelStore(path)


def test_a_locked_file_is_tried_again_later(store, path):
    with LabelStore(path) as other, other.transaction(), LabelStore(path, 0.05) as third:
        with pytest.raises(TryAgain, match="in use by another process"):
            third.add([ANN])
        assert not list(third.all())
    assert store.add([ANN]) == ["added"]


def test_a_full_disk_loses_nothing_and_the_same_labels_are_added_later(tmp_path):
    with small_disk(tmp_path / "disk", size="400k") as remount:
        path = tmp_path / "disk" / "labels" / "pets.sqlite"
        with LabelStore(path) as store:
            store.add([ANN])
            many = [replace(ANN, request=f"r-{i}", value="x" * 200) for i in range(2, 4000)]
            with pytest.raises(TryAgain) as caught:
                store.add(many)
            assert "free" in caught.value.hint or "full" in caught.value.hint
            assert list(store.all()) == [ANN]
            remount(size="20m")
            assert set(store.add(many)) == {"added"}


def test_a_folder_that_may_only_be_read_is_named(tmp_path):
    with small_disk(tmp_path / "disk") as remount:
        path = tmp_path / "disk" / "labels" / "pets.sqlite"
        LabelStore(path).close()
        remount(ro="")
        with pytest.raises(ConfigError, match=r"pets\.sqlite") as caught:
            LabelStore(path)
        assert "must be able to write" in caught.value.hint
        with pytest.raises(ConfigError):
            LabelStore(path.parent / "new" / "other.sqlite")


def test_the_file_says_what_it_is(path):
    LabelStore(path).close()
    assert int.from_bytes(path.read_bytes()[68:72], "big") == APPLICATION
    assert LabelStore.existing(path.with_name("other.sqlite")) is None
