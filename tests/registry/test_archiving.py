"""The bytes of a version are moved to another store and back; what is known of it stays, and can be verified."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from registry_parts import FILES, make_card, promote, publish, write_files
from versions import append_release, release_draft

from registry import candidates, releases
from registry.archived import archived
from registry.archiving import Who, archive, restore, why_protected
from registry.errors import ConfigError, Corrupt, Rejected, TryAgain
from registry.records import Release
from registry.stores import open_store, walk
from registry.verify import inspect

WHO = Who("ada", "2026-07-01T08:00:00+00:00", "room")
URL = "file:///archive"
NEW = FILES | {"model.keras": b"other weights", "dataset.keys": b"keys"}


@pytest.fixture
def target(tmp_path):
    return open_store(f"file://{tmp_path / 'archive'}")


@pytest.fixture
def released(store, tmp_path):
    """Version 1 was released, version 2 is live; they have files in common."""
    for version, files in ((1, NEW), (2, FILES)):
        publish(store, tmp_path, f"run{version}", files=files)
        promote(store, version, f"token{version}")
    return store


def move(store, target, version=1, protected=lambda: ()):
    return archive(store, target, URL, ("digits", version), WHO, protected)


def test_the_bytes_are_in_the_archive_and_all_that_is_known_stays(released, target):
    before = walk(released, "")
    move(released, target)
    gone = {f"{area}/digits/1/{name}" for area in ("test", "production") for name in FILES}
    assert set(before) - set(walk(released, "")) == gone
    assert {f"test/digits/1/{name}" for name in FILES} < set(walk(target, ""))
    report = inspect(released)
    assert report.problems == ()
    assert f"test/digits/1: archived: its bytes are in {URL}, and are not checked here" in report.notes
    assert inspect(released, "digits").problems == ()
    candidates.local_folder(released, "production", "digits", 2)
    assert len(candidates.acceptances(released, "digits", 1)) == 1


def test_whoever_needs_it_is_sent_to_restore(released, target):
    move(released, target)
    for area in ("test", "production"):
        with pytest.raises(ConfigError, match=f"version 1 is archived: its files are in {URL}"):
            candidates.local_folder(released, area, "digits", 1)
    with pytest.raises(ConfigError, match="is archived"):
        releases.copy_to_production(released, "digits", 1)
    draft = release_draft("digits", 1, candidates.manifest_digest(released, "digits", 1), kind="rollback")
    with pytest.raises(ConfigError, match="is archived"):
        releases.append_release(released, draft, 2)


def test_it_comes_back_with_every_byte(released, target):
    before = walk(released, "")
    move(released, target)
    made = restore(released, target, URL, ("digits", 1), WHO)
    assert (made.kind, made.number) == ("restored", 2)
    assert set(walk(released, "")) == {*before, *(f"production/digits/archive/00000{n}.json" for n in (1, 2))}
    assert inspect(released).problems == ()
    assert not any("archived" in note for note in inspect(released).notes)
    candidates.local_folder(released, "production", "digits", 1)
    append_release(released, "digits", 1)
    with pytest.raises(ConfigError, match="is not archived"):
        restore(released, target, URL, ("digits", 1), WHO)


def test_archived_again_it_says_the_same_and_elsewhere_it_is_refused(released, target):
    made = move(released, target)
    assert move(released, target) == made
    with pytest.raises(ConfigError, match=f"is archived in {URL} already"):
        archive(released, target, "file:///other", ("digits", 1), WHO, lambda: ())


def test_a_version_of_which_nothing_was_released_is_moved_too(store, target, tmp_path):
    publish(store, tmp_path, "run1")
    move(store, target)
    assert inspect(store).problems == ()
    restore(store, target, URL, ("digits", 1), WHO)
    assert inspect(store).problems == ()


def test_what_is_protected_stays(released, target):
    before = walk(released, "")
    with pytest.raises(Rejected, match="version 2 stays: it is live"):
        move(released, target, 2, lambda: ["it is live"])
    assert walk(released, "") == before
    assert walk(target, "") == []


def test_released_while_it_is_copied_it_stays_and_is_not_archived(released, target):
    """Whoever released it may have looked before there was a record."""
    asked = iter([[], ["it is live"]])
    with pytest.raises(TryAgain, match="it is live"):
        move(released, target, protected=lambda: next(asked))
    assert archived(released, "digits") == {}
    assert inspect(released).problems == ()
    candidates.local_folder(released, "production", "digits", 1)


def test_nothing_is_removed_when_the_archive_does_not_have_it_any_more(released, target, tmp_path):
    """As after a kill before the removal, and an archive that was emptied since."""
    calls = []

    def dies():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return ()

    with pytest.raises(KeyboardInterrupt):
        move(released, target, protected=dies)
    assert set(archived(released, "digits")) == {1}
    (note,) = [each for each in inspect(released).notes if each.startswith("test/digits/1:")]
    assert note.endswith("model.keras is still here: the same `registry archive` removes it")
    (tmp_path / "archive/test/digits/1/model.keras").unlink()
    before = walk(released, "")
    with pytest.raises(Corrupt, match=r"model\.keras: is missing"):
        move(released, target)
    assert walk(released, "") == before


def test_a_version_that_is_being_registered_keeps_the_bytes_that_it_shares(released, target, tmp_path):
    """It has no manifest yet."""
    version = candidates.claim(released, "digits", "run3")
    files = write_files(tmp_path / "run3", NEW)
    for name in ("model.keras", "saved_model/same"):
        released.create(f"test/digits/{version}/{name}", tmp_path / "run3" / name, files[name])
    move(released, target)
    candidates.publish(released, make_card(version, "run3", files), tmp_path / "run3")
    candidates.local_folder(released, "test", "digits", version)
    assert inspect(released).problems == ()


def test_an_archived_version_that_is_live_is_a_problem(released, target):
    move(released, target, 2)
    (problem,) = inspect(released).problems
    assert problem.endswith("archives version 2, which is live: restore it")


NOW = datetime(2026, 7, 1, tzinfo=UTC)


def history(*versions):
    """Releases a day apart, the last one today."""
    first = NOW - timedelta(days=len(versions) - 1)
    return [
        Release(n, "digits", "promotion" if version else "withdrawal", version, "c", "ada", (first + timedelta(days=n - 1)).isoformat(),
                "", n if version else None, "")
        for n, version in enumerate(versions, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "releases", "days", "reasons"),
    [
        (1, (1,), 0, ["it is live"]),
        (1, (1, 2), 0, ["it is what a rollback goes back to"]),
        (1, (1, 2, 3), 0, []),
        (1, (1, 2, 3), 2, ["it was live until 2026-06-30T00:00:00+00:00, less than 2 days ago"]),
        (1, (1, 2, 3), 1, []),
        (1, (1, 2, None), 0, ["it is what a rollback goes back to"]),
        (2, (1, 2, None), 0, []),
        (4, (1, 2, 3), 0, []),
        (4, (), 30, []),
        (4, (), 3000, ["it was registered 2026-05-01T08:00:00+00:00, less than 3000 days ago"]),
    ],
)
def test_what_is_live_or_may_be_again_or_was_lately_is_protected(version, releases, days, reasons):
    card = dataclasses.replace(make_card(version, "run", {}), created_at="2026-05-01T08:00:00+00:00")
    assert list(why_protected(card, history(*releases), NOW, days)) == reasons


@pytest.mark.parametrize(
    ("reasons", "hint"),
    [
        (["it is live"], "release another version"),
        (["it is what a rollback goes back to"], "release another version, so that a rollback goes back to a newer one"),
        (["it was registered 2026-11-30, less than 30 days ago"], "wait: [registry] archive_days says how long a version stays"),
        (["it is live", "it was registered"], "release another version; wait: [registry] archive_days says how long a version stays"),
    ],
)  # fmt: skip
def test_the_hint_is_about_the_reasons_that_there_are(released, target, reasons, hint):
    with pytest.raises(Rejected) as error:
        move(released, target, 2, lambda: reasons)
    assert error.value.hint == hint
