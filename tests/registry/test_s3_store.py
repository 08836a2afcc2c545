"""What a bucket on a real server must do beyond the contract: keep bytes once, move none that need not move, notice what others
change there."""

import hashlib
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from registry_parts import FILES, promote, publish, release
from s3_requests import requests_of

from registry import candidates, releases, s3, s3_client, s3_reads
from registry.errors import ConfigError, Corrupt, TryAgain
from registry.s3 import MAGIC
from registry.s3_objects import Objects
from registry.store_options import Access, StoreOptions
from registry.stores import get_all, open_store, present, walk
from registry.verify import inspect, verify

ONE = hashlib.sha256(b"1").hexdigest()


@pytest.fixture
def store(s3_store):
    return s3_store


@pytest.fixture
def raw(store):
    """The objects below the prefix, to be changed by somebody who may."""

    class Raw:
        def __init__(self, objects):
            self.objects = objects

        def all(self):
            return {name for name, _ in self.objects.listing("", deep=True)}

        def get(self, name):
            return self.objects.get(name)

        def put(self, name, data):
            self.objects.client.put_object(**self.objects._at(name), Body=data)

        def remove(self, name):
            self.objects.remove(name)

    return Raw(store._objects)


def blob(data):
    digest = hashlib.sha256(data).hexdigest()
    return f".store/objects/{digest[:2]}/{digest}"


def test_equal_bytes_are_sent_once_and_a_name_is_a_pointer(store, raw, tmp_path):
    data = os.urandom(1 << 20)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "source").write_bytes(data)
    with requests_of(store) as asked:
        for name in ("a/1", "a/2", "b/3"):
            store.create(name, tmp_path / "source", digest)
    assert sum(each.sent for each in asked) < len(data) + 1000
    assert raw.all() == {"a/1", "a/2", "b/3", blob(data)}
    assert raw.get("a/1") == f"trainyard file\nsha256 {digest}\nsize {len(data)}\n".encode()
    assert walk(store, "") == ["a/1", "a/2", "b/3"]


def test_a_promotion_moves_no_bytes_and_a_version_of_known_bytes_neither(store, tmp_path):
    big = FILES | {"model.keras": os.urandom(300_000)}
    publish(store, tmp_path, "one", files=big)
    with requests_of(store) as asked:
        releases.copy_to_production(store, "digits", 1)
        publish(store, tmp_path, "two", files=big)
    assert max(each.sent for each in asked) < 5000
    assert not [each for each in asked if each.operation == "GetObject" and each.key.startswith(".store")]
    assert candidates.local_folder(store, "production", "digits", 1)


def test_a_record_that_begins_like_a_pointer_is_none(store, raw):
    for number, data in enumerate((MAGIC, MAGIC + f"sha256 {ONE}\nsize 1\n".encode())):
        store.create(f"a/{number}", data)
        assert store.get(f"a/{number}") == store.path(f"a/{number}").read_bytes() == data
    raw.put("a/b", MAGIC + b"something else")
    for read in (store.get, store.path):
        with pytest.raises(Corrupt, match="a/b: is not written as a pointer is"):
            read("a/b")


def test_what_a_tool_copies_as_files_is_the_same_registry(store, raw, s3_place, tmp_path):
    """As `aws s3 sync` to a folder and back to another bucket: bytes under keys, and no metadata."""
    promote(store, publish(store, tmp_path, "one"), "token")
    url, options = s3_place
    other = open_store(f"{url}-copied", options)
    for name in raw.all():
        other._objects.client.put_object(**other._objects._at(name), Body=raw.get(name))
    assert walk(other, "") == walk(store, "")
    assert verify(other) == []
    assert release(other, 1).number == 2


def test_a_large_file_goes_up_and_comes_down_in_parts(store, tmp_path, monkeypatch):
    monkeypatch.setattr(s3_reads, "PART", 5 << 20)
    data = os.urandom((12 << 20) + 7)
    (tmp_path / "source").write_bytes(data)
    with requests_of(store) as asked:
        store.create("a/b", tmp_path / "source", hashlib.sha256(data).hexdigest())
        assert store.path("a/b").read_bytes() == data
    assert [each.operation for each in asked].count("UploadPart") == 3
    assert len([each for each in asked if each.operation == "GetObject" and each.key == blob(data)]) == 3


def test_a_large_file_that_was_changed_is_refused_and_nothing_of_it_is_left(store, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(s3_reads, "PART", 5 << 20)
    (tmp_path / "source").write_bytes(os.urandom(6 << 20))
    with pytest.raises(Corrupt, match="SHA-256"):
        store.create("a/b", tmp_path / "source", ONE)
    assert raw.all() == set()
    assert list(store._objects.unfinished()) == []


def test_a_copy_is_brought_once_whoever_asks(store, s3_place, tmp_path):
    """Each store has locks of its own, as each process has."""
    data = os.urandom(100_000)
    store.create("a/1", data, hashlib.sha256(data).hexdigest())
    store.create("a/2", data, hashlib.sha256(data).hexdigest())
    others, asked, start = [open_store(*s3_place) for _ in range(4)], [], threading.Barrier(4)

    def read(other):
        with requests_of(other) as mine:
            start.wait()
            found = other.path("a/1").read_bytes() == other.path("a/2").read_bytes() == data
        asked.extend(mine)
        return found

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, others))
    assert len([each for each in asked if (each.operation, each.key) == ("GetObject", blob(data))]) == 1


def test_a_corrupted_local_copy_is_brought_again(store, s3_place):
    store.create("a/b", b"1", ONE)
    path = store.path("a/b")
    path.chmod(0o644)
    path.write_bytes(b"2")
    assert open_store(*s3_place).path("a/b").read_bytes() == b"1"


def test_bytes_that_are_not_those_of_their_name_are_refused_and_not_kept(store, raw, tmp_path):
    store.create("a/b", b"1", ONE)
    raw.put(blob(b"1"), b"2")
    for read in (store.get, store.path):
        with pytest.raises(Corrupt, match=f"a/b: checksum mismatch: SHA-256 is .*{ONE}"):
            read("a/b")
    kept = [path for path in (tmp_path / "s3-cache").rglob("*") if path.is_file()]
    assert not [path for path in kept if path.read_bytes() == b"2"]
    raw.remove(blob(b"1"))
    with pytest.raises(Corrupt, match="a/b: its bytes are missing"):
        store.path("a/b")


def test_local_copies_have_a_bound_and_what_is_in_use_stays(store, s3_place, tmp_path):
    url, options = s3_place
    for number in range(4):
        data = bytes([number]) * 600_000
        store.create(f"a/{number}", data, hashlib.sha256(data).hexdigest())
    user, other = (open_store(url, replace(options, cache_mb=1)) for _ in range(2))
    used = user.path("a/0")
    gone = other.path("a/1")
    del other  # as a command that has ended
    third = open_store(url, replace(options, cache_mb=1))
    assert third.path("a/2").exists()
    assert used.read_bytes() == b"\0" * 600_000
    assert not gone.exists()
    assert used.stat().st_nlink == 2, "its bytes are still kept under their SHA-256, too"


def test_records_are_read_once_and_those_that_were_altered_or_removed_are_noticed(store, s3_place, raw):
    names = [f"a/{number:06d}.json" for number in range(40)]
    for name in names:
        store.create(name, name.encode())
    reader = open_store(*s3_place)
    for often, wanted in (("first", 41), ("again", 1)):
        with requests_of(reader) as asked:
            assert get_all(reader, names) == [name.encode() for name in names], often
        assert len(asked) == wanted, often
    raw.put(names[7], b"altered")
    assert get_all(open_store(*s3_place), names)[7] == b"altered"
    raw.remove(names[3])
    with pytest.raises(FileNotFoundError):
        get_all(reader, names)
    assert present(reader, names) == set(names) - {names[3]}


@pytest.mark.parametrize("above", ["test/m/", ""], ids=["in one folder", "at the top"])
def test_many_folders_are_looked_into_by_few_listings(store, above, monkeypatch):
    monkeypatch.setattr(s3, "SCATTERED", 16)
    names = [f"{above}{number}/card.json" for number in range(1, 31)]
    for name in names[3:]:
        store.create(name, b"1")
    store.create(f"{above}4/else", b"1")
    with requests_of(store) as asked:
        assert present(store, names) == set(names[3:])
        assert get_all(store, names[3:]) == [b"1"] * 27
    assert {each.operation for each in asked} == {"ListObjectsV2", "GetObject"}
    assert len([each for each in asked if each.operation == "ListObjectsV2"]) == 2 * 9
    with pytest.raises(FileNotFoundError):
        get_all(store, names)


def test_few_names_in_many_folders_are_asked_for_one_by_one(store):
    """What else is in those folders is not listed."""
    names = [f"test/m/{number}/card.json" for number in range(1, 31)]
    for name in names[3:]:
        store.create(name, b"1")
    with requests_of(store) as asked:
        assert present(store, names) == set(names[3:])
    assert [each.operation for each in asked] == ["HeadObject"] * 30


def test_what_follows_a_name_is_listed_without_what_is_before_it(store):
    names = [f"a/{number:06d}.json" for number in range(1, 41)]
    for name in [*names, "a/inner/x", "ab/000041.json"]:
        store.create(name, b"1")
    assert store.names_after("a", "000038.json") == ["000039.json", "000040.json", "inner/"]
    assert store.names_after("a", "000002.json", 3) == ["000003.json", "000004.json", "000005.json"]
    assert store.names_after("a", "") == store.names("a")
    assert store.names_after("a", "inner/") == store.names_after("nothing", "x") == []
    with requests_of(store) as asked:
        assert get_all(store, names[20:]) == [b"1"] * 20
    listed = [each for each in asked if each.operation == "ListObjectsV2"]
    assert len(listed) == 1
    with pytest.raises(FileNotFoundError):
        get_all(store, [*names[20:], "a/000041.json"])


def test_verify_finds_what_was_altered_removed_and_added(store, raw, tmp_path):
    promote(store, publish(store, tmp_path, "one"), "token")
    assert verify(store) == []
    for path in (tmp_path / "s3-cache").rglob("*"):
        assert not path.is_file() or "objects" not in path.parts, "verify keeps nothing"
    store.create("test/digits/2/claim.json", store.get("test/digits/1/claim.json"))
    raw.put(blob(b"weights"), b"Weights")
    raw.remove(blob(b"served"))
    raw.put("production/digits/.hidden", b"")
    raw.put(".store/else", b"")
    raw.put(blob(b"of no version"), b"of no version")
    found = inspect(store)
    for line in (
        "production/digits/.hidden: is hidden: does not belong here",
        ".store/else: does not belong here",
        f"{blob(b'weights')}: checksum mismatch",
        "production/digits/1/model.keras: checksum mismatch",
        "test/digits/1/model.tflite: its bytes are missing",
    ):
        assert [each for each in found.problems if each.startswith(line)], (line, found.problems)
    assert f"{blob(b'of no version')}: belongs to no version" in found.notes


def test_a_name_that_is_too_long_for_a_key_is_refused(store):
    with pytest.raises(ConfigError, match="too long for an object store"):
        store.create("/".join(["x" * 200] * 6), b"1")


def test_a_listing_that_has_no_end_is_noticed(store):
    class Repeats:
        def list_objects_v2(self, **_):
            return {"Contents": [], "IsTruncated": True, "NextContinuationToken": "again"}

    objects = Objects(store._place, StoreOptions())
    objects._clients[os.getpid()] = Repeats()
    with pytest.raises(TryAgain, match="repeats itself"):
        list(objects.listing("a"))


@pytest.mark.parametrize(
    ("changed", "kind", "says", "hint"),
    [
        ({"url": "s3://no-such-bucket/x"}, ConfigError, "NoSuchBucket", "create the bucket"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, ConfigError, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, ConfigError, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ({"endpoint": "http://127.0.0.1:1"}, TryAgain, "connect", r"\[registry\] endpoint"),
    ],
    ids=["no bucket", "wrong secret", "wrong key", "nobody answers"],
)
def test_a_store_that_cannot_be_used_says_which_setting_to_change(s3_place, monkeypatch, changed, kind, says, hint):
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    url, options = s3_place
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        if name in changed:
            monkeypatch.setenv(name, changed[name])
    if "endpoint" in changed:
        options = replace(options, access=Access(changed["endpoint"], "us-east-1"))
    store = open_store(changed.get("url", url), options)
    for act in (lambda: store.names(""), lambda: store.get("a"), lambda: store.create("a", b"1")):
        with pytest.raises(kind, match=rf"\[registry\] url: s3://.*{says}") as error:
            act()
        assert re.search(hint, error.value.hint)


def test_a_record_that_has_not_changed_does_not_travel_again(store, raw):
    raw.put("a/record", b"first")
    data, tag = store.get_unless("a/record", "")
    assert data == b"first"
    assert tag
    assert store.get_unless("a/record", tag) is None
    raw.put("a/record", b"other")
    assert store.get_unless("a/record", tag)[0] == b"other"
    raw.remove("a/record")
    with pytest.raises(FileNotFoundError):
        store.get_unless("a/record", tag)
