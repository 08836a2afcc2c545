"""A long history is read in packs of a hundred records, which save time and prove nothing."""

import hashlib

import pytest
from registry_parts import MemoryStore

from registry.copying import copy
from registry.errors import ConfigError
from registry.s3 import S3Store
from registry.s3_client import Place
from registry.s3_packs import PACK
from registry.s3_reads import Facts
from registry.store_options import StoreOptions
from registry.stores import get_all, open_store

FOLDER = "production/digits/heads"
PACKED = f".store/packs/{FOLDER}/000001-000100"


class Memory:
    """What `Objects` asks of a server, which has MD5s as ETags."""

    def __init__(self):
        self.place, self.kept, self.asked, self.read_only = Place("models", "", ""), {}, [], False

    def get(self, name):
        self.asked.append(name)
        if name not in self.kept:
            raise FileNotFoundError(name)
        return self.kept[name]

    def head(self, name):
        return Facts(len(self.kept[name]), self.tag(name)) if name in self.kept else None

    def tag(self, name):
        return f'"{hashlib.md5(self.kept[name]).hexdigest()}"'

    def create(self, name, data):
        if self.read_only:
            raise ConfigError("answered AccessDenied")
        if name in self.kept:
            raise FileExistsError(name)
        self.kept[name] = data

    def listing(self, folder, *, after="", **_):
        start = f"{folder}/"
        for name in sorted(self.kept):
            if name.startswith(start) and name > start + after:
                yield name.removeprefix(start), self.head(name)


@pytest.fixture
def server():
    return Memory()


@pytest.fixture
def machine(server, tmp_path):
    """A machine that has read nothing yet."""
    count = iter(range(100))

    def opened():
        store = S3Store("s3://models", StoreOptions(cache=str(tmp_path / f"cache-{next(count)}")))
        store._objects = store._packs._objects = server
        store._probed.remember("a test's server")
        return store

    return opened


def record(number):
    return f"{FOLDER}/{number:06d}.json"


def names(count, first=1):
    return [record(number) for number in range(first, count + 1)]


def fill(server, count, first=1):
    server.kept |= {name: f"record {name}".encode() for name in names(count, first)}


def read(server, store, wanted):
    """What is asked for when these are read."""
    server.asked.clear()
    assert get_all(store, wanted) == [server.kept[name] for name in wanted]
    return server.asked


def test_who_appends_the_hundredth_record_makes_a_pack_and_others_read_that(server, machine):
    writer = machine()
    for number in range(1, 251):
        writer.create(record(number), b"record %d" % number)
    assert [name for name in server.kept if PACK.fullmatch(name)] == [
        PACKED,
        PACKED.replace("001-000100", "101-000200"),
    ]
    asked = read(server, machine(), names(250))
    assert sorted(asked) == sorted([*(name for name in server.kept if PACK.fullmatch(name)), *names(250, first=201)])


def test_who_has_read_a_history_without_packs_leaves_them_for_the_next(server, machine):
    fill(server, 200)
    assert len(read(server, machine(), names(200))) == 202
    assert len(read(server, machine(), names(200))) == 2


def test_what_a_machine_has_read_it_asks_for_in_no_way_again(server, machine):
    fill(server, 130)
    store = machine()
    read(server, store, names(130))
    assert read(server, store, names(130)) == []


def test_a_record_that_was_altered_is_read_itself(server, machine):
    fill(server, 100)
    read(server, machine(), names(100))
    server.kept[record(7)] = server.kept[record(7)][::-1]
    assert read(server, machine(), names(100)) == [PACKED, record(7)]


def test_a_record_that_was_removed_is_missing_whatever_a_pack_has(server, machine):
    fill(server, 100)
    read(server, machine(), names(100))
    del server.kept[record(7)]
    with pytest.raises(FileNotFoundError, match="000007"):
        get_all(machine(), names(100))


def test_a_record_that_a_listing_has_missed_is_read_itself(server, machine, monkeypatch):
    fill(server, 100)
    read(server, machine(), names(100))
    listing = server.listing
    monkeypatch.setattr(
        server, "listing", lambda *args, **more: (e for e in listing(*args, **more) if "000007" not in e[0])
    )
    assert sorted(read(server, machine(), names(100))) == [PACKED, record(7)]
    monkeypatch.setattr(server, "listing", lambda *_args, **_more: iter(()))
    assert sorted(read(server, machine(), names(100))) == names(100)


@pytest.mark.parametrize(
    "pack", [b"", b"\0" * 99, b"\0" * 200, b"record"], ids=["empty", "of nothing", "too many", "too few"]
)
def test_a_pack_with_anything_else_in_it_is_not_used(server, machine, pack):
    fill(server, 100)
    server.kept[PACKED] = pack
    assert len(read(server, machine(), names(100))) == 101
    assert server.kept[PACKED] == pack


def test_without_md5s_there_are_no_packs(server, machine, monkeypatch):
    monkeypatch.setattr(server, "tag", lambda _name: '"of a key"')
    fill(server, 100)
    read(server, machine(), names(100))
    assert PACKED not in server.kept


def test_few_records_are_read_by_themselves(server, machine):
    fill(server, 130)
    assert sorted(read(server, machine(), names(130, first=101))) == names(130, first=101)
    assert PACKED not in server.kept
    read(server, machine(), names(130))
    assert PACKED in server.kept
    assert sorted(read(server, machine(), names(130, first=60))) == names(130, first=60)


def test_who_may_not_write_reads_and_who_never_wrote_does_not_try(server, machine):
    fill(server, 100)
    server.read_only = True
    read(server, machine(), names(100))
    server.read_only, reader = False, machine()
    reader._probed._known = False
    reader._probed._mark.unlink()
    read(server, reader, names(100))
    assert PACKED not in server.kept


def test_records_with_the_byte_that_separates_them_are_not_packed(server, machine):
    fill(server, 100)
    server.kept[record(3)] = b"a\0b"
    read(server, machine(), names(100))
    assert PACKED not in server.kept


def test_a_hundredth_record_whose_others_are_not_there_yet_is_created(server, machine):
    machine().create(record(100), b"1")
    assert list(server.kept) == [record(100)]


@pytest.mark.slow
def test_a_real_server_keeps_packs_and_nothing_takes_them_for_a_part_of_the_registry(s3_place, tmp_path):
    store = open_store(*s3_place)
    for number in range(1, 101):
        store.create(record(number), b"record %d" % number)
    assert PACKED in {f".store/{name}" for name, _ in store._objects.listing(".store", deep=True)}
    assert store.structure().problems == []
    copied = MemoryStore(tmp_path / "local")
    assert copy(store, copied).copied == 100
