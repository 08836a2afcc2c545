"""Small objects of a dataset store are packed: they come back byte for byte, and nothing that a store gives is believed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outside_git import put, sha256

from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.outside import packs
from pipelines.repositories.outside.packs import PackedObjects
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.source import Sent, Wanted, key_of, open_objects
from registry.errors import ConfigError, Corrupt

SMALL = [b"%d" % number * 9 for number in range(40)]


class Store:
    """A store in a folder, and the machines that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.machines = folder, 0
        (folder / "store").mkdir(parents=True)

    def machine(self):
        """Its objects, seen by a machine that has no lists yet."""
        self.machines += 1
        lists = ObjectStore(self.folder / f"lists-{self.machines}")
        return PackedObjects(open_objects(Place(folder=str(self.folder / "store")), "dataset.lock"), lists, packs=True)

    def send(self, contents, objects=None):
        return (objects or self.machine()).send([self.file(each) for each in contents])

    def file(self, data):
        digest = sha256(data)
        return Sent(key_of(digest), put(self.folder / "files" / digest, data), len(data), digest)

    def fetch(self, contents, objects=None):
        """What comes back, and how many objects are lacking."""
        into = self.folder / "got"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        wanted = [Wanted(key_of(digest := sha256(each)), into / digest, len(each)) for each in contents]
        lacking = (objects or self.machine()).fetch(wanted)
        return [each.into.read_bytes() for each in wanted if each not in lacking], len(lacking)

    def files(self, folder):
        return sorted(each for each in (self.folder / "store" / folder).rglob("*") if each.is_file())


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_many_small_objects_are_two_and_come_back(store):
    assert len(store.send(SMALL)) == len(SMALL)
    assert [len(store.files(each)) for each in ("packs", "sha256")] == [1, 1]
    assert store.fetch([*SMALL, b"never sent"]) == (SMALL, 1)
    assert store.fetch(SMALL[7:9]) == (SMALL[7:9], 0)
    assert store.machine().present([key_of(sha256(SMALL[3])), key_of("0" * 64)]) == {key_of(sha256(SMALL[3]))}


def test_few_and_large_ones_are_sent_one_by_one(store):
    large = [bytes([number]) * (packs.SMALL + 1) for number in range(40)]
    store.send([*large, *SMALL[:9]])
    assert len(store.files("sha256")) == 49
    assert not store.files("packs")
    assert store.fetch([*large, *SMALL[:9]]) == ([*large, *SMALL[:9]], 0)


def test_what_is_packed_is_not_sent_again_by_another_machine(store):
    store.send(SMALL)
    more = [b"more %d" % number for number in range(40)]
    created = store.send([*more, *SMALL])
    assert {each.sha256 for each in created} == set(map(sha256, more))
    assert store.fetch([*SMALL, *more]) == ([*SMALL, *more], 0)
    assert len(store.files("packs")) == 2


def test_a_push_that_ends_before_the_pack_is_whole_is_done_again(store, monkeypatch):
    objects = store.machine()
    send = objects.objects.send

    def only_lists(files):
        if any(each.key.startswith(packs.FOLDER) for each in files):
            raise KeyboardInterrupt
        return send(files)

    monkeypatch.setattr(objects.objects, "send", only_lists)
    with pytest.raises(KeyboardInterrupt):
        store.send(SMALL, objects)
    assert store.fetch(SMALL) == ([], len(SMALL))
    assert len(store.send(SMALL)) == len(SMALL)
    assert store.fetch(SMALL) == (SMALL, 0)


def test_a_file_that_changes_meanwhile_is_in_no_pack(store):
    files = [store.file(each) for each in SMALL]
    files[5].path.write_bytes(b"other")
    with pytest.raises(ConfigError, match="changed while it was pushed"):
        store.machine().send(files)
    assert not store.files("packs")


def test_a_pack_that_is_replaced_meanwhile_is_found(store, monkeypatch):
    store.send(SMALL)
    (old,) = store.files("packs")
    objects = store.machine()
    assert objects.locate([sha256(SMALL[0])])
    old.unlink()
    store.send(SMALL[::-1])
    assert store.fetch(SMALL, objects) == (SMALL, 0)


@pytest.mark.parametrize("data", [b"", b"x" * 2000, None], ids=["empty", "other bytes", "cut short"])
def test_a_damaged_pack_is_refused_by_name(store, data):
    store.send(SMALL)
    (pack,) = store.files("packs")
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[:-1] if data is None else data)
    with pytest.raises(Corrupt, match=f"packs/{pack.name} gives other bytes than sha256/") as error:
        store.fetch(SMALL)
    assert "`trainyard data push --all`" in error.value.hint


def test_a_list_that_is_not_what_its_name_says_is_refused(store):
    store.send(SMALL)
    (rows,) = store.files("sha256")
    rows.chmod(0o600)
    rows.write_text(f"{sha256(b'secret')} 6\n")
    with pytest.raises(Corrupt, match=f"{rows.name}: other bytes than it names"):
        store.fetch([b"secret"])


def test_a_list_that_was_damaged_on_this_disk_is_fetched_again(store):
    store.send(SMALL)
    objects = store.machine()
    store.fetch(SMALL, objects)
    (kept,) = [each for each in objects.lists.folder.rglob("*") if each.is_file()]
    kept.chmod(0o600)
    kept.write_bytes(b"")
    again = PackedObjects(objects.objects, objects.lists, packs=True)
    assert store.fetch(SMALL, again) == (SMALL, 0)


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.lists(st.binary(max_size=40), max_size=12), max_size=4),
    chosen=st.lists(st.binary(max_size=40), max_size=3),
)
def test_whatever_was_sent_comes_back_and_nothing_else(tmp_path_factory, batches, chosen):
    store = Store(tmp_path_factory.mktemp("packs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs, "FEWEST", 3)
        patch.setattr(packs, "LARGEST", 60)
        patch.setattr(packs, "AT_ONCE", 2)
        for batch in batches:
            store.send(dict.fromkeys(batch))
        there = set().union(*batches)
        asked = list(dict.fromkeys([*there, *chosen]))
        got, lacking = store.fetch(asked)
    assert got == [each for each in asked if each in there]
    assert lacking == len(set(chosen) - there)
