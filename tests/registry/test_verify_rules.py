"""What verify makes of empty folders, of spare bytes, and of keys that cannot be used."""

import pytest
from registry_parts import OneKey, acceptance, promote, publish, release
from versions import approval_draft

from registry import candidates, releases
from registry.errors import Corrupt
from registry.files import sha256_bytes
from registry.records import SeenHead
from registry.signed_store import SignedStore
from registry.stores import open_store
from registry.verify import EMPTY, inspect

FOREIGN = "is empty: does not belong here"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "registry"


@pytest.fixture
def store(root, tmp_path):
    """Of `digits` version 1 is released, version 2 begun and version 3 registered; of `alone` version 1 is begun."""
    store = open_store(f"file://{root}")
    publish(store, tmp_path, "run")
    candidates.append_acceptance(store, acceptance(store, 1))
    promote(store, 1, "token")
    candidates.claim(store, "digits", "second")
    publish(store, tmp_path, "registered")
    candidates.claim(store, "alone", "run")
    return store


@pytest.mark.parametrize(
    ("folder", "wrong"),
    [
        ("test/digits/1/more", True),
        ("test/digits/1/more/below", True),
        ("test/digits/2/more", False),
        ("test/digits/3/more", True),
        ("test/digits/4", False),
        ("test/alone/1/more", False),
        ("production/digits/1/more", True),
        ("production/digits/2", False),
        ("production/digits/3/more", False),
        ("test/digits/runs/third", False),
        ("test/digits/runs/third/more", True),
        ("test/digits/more/third", False),
        ("production/alone", False),
    ],
)
def test_an_empty_folder_is_wrong_where_no_killed_writer_leaves_one(store, root, folder, wrong):
    before = inspect(store)
    assert before.problems == ()
    (root / folder).mkdir(parents=True)
    found = inspect(store)
    said = {line for line in (*found.problems, *found.notes) if line.startswith(f"{folder}: is empty")}
    assert said == {f"{folder}: {FOREIGN if wrong else EMPTY}"}
    assert any(line.startswith(f"{folder}: is empty") for line in found.problems) == wrong


def test_empty_acceptances_and_areas_are_notes(tmp_path, root):
    store = open_store(f"file://{root}")
    publish(store, tmp_path, "run")
    (root / "test/digits/1/acceptances").mkdir()
    (root / "production").mkdir(exist_ok=True)
    found = inspect(store)
    assert found.problems == ()
    assert {f"test/digits/1/acceptances: {EMPTY}", f"production: {EMPTY}"} <= {*found.notes}


def test_one_model_is_inspected_alone(store, root):
    (root / "test/digits/1/more").mkdir()
    (root / "test/letters").mkdir()
    (root / "test/letters/.hidden").touch()
    assert inspect(store, "digits").problems == (f"test/digits/1/more: {FOREIGN}",)
    assert inspect(store, "alone").problems == ()


def test_bytes_that_no_version_has_are_a_note(store, root):
    assert not any("belongs to no version" in each for each in inspect(store).notes)
    data = b"bytes of nobody"
    store.create("test/digits/2/loose", data, sha256_bytes(data))
    store.path("test/digits/2/loose").unlink()
    assert sum("belongs to no version" in each for each in inspect(store).notes) == 1


def test_what_the_store_notes_of_its_folders_is_passed_on(store, root):
    (root / "test").chmod(0o775)
    assert any(each.startswith("test: its group may add and remove files there") for each in inspect(store).notes)


def test_a_release_that_is_older_than_its_approval_is_a_note(store, tmp_path):
    """The clocks of two machines may differ; nothing is decided by them."""
    digest = candidates.manifest_digest(store, "digits", 3)
    releases.copy_to_production(store, "digits", 3)
    candidates.append_acceptance(store, acceptance(store, 3))
    given = releases.append_approval(store, approval_draft("digits", 3, digest, "late", at="2026-11-25T00:00:00Z"))
    made = release(store, 3, approval=given.number)
    found = inspect(store)
    assert found.problems == ()
    said = f"was made 4 days, 0:00:00 before its approval {given.number}, by their clocks"
    assert f"production/digits/releases/{made.number:06d}.json: {said}" in found.notes


class Keys(OneKey):
    """Keys that cannot be used when `broken`."""

    broken = False

    def verify_keys(self):
        if self.broken:
            raise Corrupt("keys/000001.json: checksum mismatch")

    def seen_models(self):
        return self.heads


def test_records_that_are_not_signed_are_problems_where_keys_are_there(store):
    found = inspect(SignedStore(store, Keys())).problems
    assert "production/digits/releases/000001.json: is not signed" in found
    assert "test/digits/1/card.json: is not signed" in found


def test_without_usable_keys_all_else_is_still_verified(store, root):
    keys = Keys()
    keys.broken = True
    (root / "test/digits/1/more").mkdir()
    found = inspect(SignedStore(store, keys)).problems
    assert found == ("keys/000001.json: checksum mismatch", f"test/digits/1/more: {FOREIGN}")


def test_a_model_of_which_only_this_machine_knows_is_missing(store):
    keys = Keys()
    keys.saw(SeenHead("gone", 1, 1, "0" * 64, "a" * 16, "A" * 86 + "=="))
    found = inspect(SignedStore(store, keys)).problems
    assert any(each.startswith("production/gone/heads/000001.json: is missing, though it was seen") for each in found)
