"""What every backend of the registry must do; a new backend adds one class at the end of this file."""

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_parts import MemoryStore

from registry.errors import ConfigError, Corrupt
from registry.folder import FolderStore
from registry.stores import check_name, create_or_same, get_all, open_store, present, walk

BAD_NAMES = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "../a",
    "a/.hidden",
    "a\\b",
    "a\nb",
    "a\0b",
    "x" * 201,
    "\ud800",
]


class StoreContract:
    racers = 40

    def test_what_was_created_can_be_read(self, store):
        store.create("a/b", b"1")
        assert store.get("a/b") == b"1"
        assert store.path("a/b").read_bytes() == b"1"

    def test_many_are_read_and_looked_for_at_once(self, store):
        names = ["a/b", "a/c/d", "e"]
        for name in names:
            store.create(name, name.encode())
        assert get_all(store, ["e", "a/b"]) == [b"e", b"a/b"]
        assert present(store, [*names, "a", "a/c", "a/c/e", "f/g", "e/h"]) == set(names)
        with pytest.raises(FileNotFoundError):
            get_all(store, ["a/b", "a/x"])
        for act in (get_all, present):
            with pytest.raises(ConfigError, match="cannot be a name"):
                act(store, ["../a"])

    def test_create_refuses_a_taken_name(self, store):
        store.create("a/b", b"1")
        with pytest.raises(FileExistsError):
            store.create("a/b", b"2")
        with pytest.raises(FileExistsError):
            store.create("a/b", b"1", hashlib.sha256(b"1").hexdigest())
        assert store.get("a/b") == b"1"

    def test_create_streams_a_file_of_many_chunks(self, store, tmp_path):
        data = bytes(range(256)) * 13_000  # 3.3 MB, not a multiple of the chunk
        (tmp_path / "source").write_bytes(data)
        store.create("a/weights", tmp_path / "source", hashlib.sha256(data).hexdigest())
        store.create("a/plain", tmp_path / "source")
        (tmp_path / "source").write_bytes(b"changed later")
        assert store.get("a/weights") == store.get("a/plain") == data

    def test_empty_files_are_files(self, store, tmp_path):
        (tmp_path / "empty").touch()
        store.create("a/b", b"")
        store.create("a/c", tmp_path / "empty", hashlib.sha256(b"").hexdigest())
        assert store.get("a/b") == store.get("a/c") == b""

    @pytest.mark.parametrize("kept_before", [False, True], ids=["new bytes", "known bytes"])
    def test_create_refuses_bytes_that_differ_from_their_sha256(self, store, tmp_path, kept_before):
        digest = hashlib.sha256(b"1").hexdigest()
        if kept_before:
            store.create("a/first", b"1", digest)
        (tmp_path / "source").write_bytes(b"2")
        for data in (b"2", tmp_path / "source"):
            with pytest.raises(Corrupt):
                store.create("a/b", data, digest)
        assert "b" not in store.names("a")

    def test_a_missing_name_is_not_found(self, store):
        store.create("a/b/c", b"1")
        for name in ("x", "a", "a/b", "a/x", "a/b/c/d"):
            with pytest.raises(FileNotFoundError):
                store.get(name)
            with pytest.raises(FileNotFoundError):
                store.path(name)

    def test_names_are_the_children_only_sorted_and_folders_end_with_a_slash(self, store):
        for name in ("b/x/y/z", "b/x/w", "a/1", "b/2", "b/10", "b.json"):
            store.create(name, b"1")
        assert store.names("") == ["a/", "b.json", "b/"]
        assert store.names("b") == ["10", "2", "x/"]
        assert store.names("b/x") == ["w", "y/"]

    def test_names_of_an_unknown_folder_or_of_a_file_are_none(self, store):
        assert store.names("") == store.names("a") == []
        store.create("a/b", b"1")
        assert store.names("x/y") == store.names("a/b") == store.names("a/b/c") == []

    def test_walk_gives_every_name_below(self, store):
        for name in ("a/1", "a/x/2", "a/x/y/3", "b/4"):
            store.create(name, b"1")
        assert walk(store, "a") == ["1", "x/2", "x/y/3"]
        assert walk(store, "") == ["a/1", "a/x/2", "a/x/y/3", "b/4"]

    def test_local_paths_lie_like_the_names(self, store):
        store.create("m/1/a", b"1")
        store.create("m/1/saved/x/b", b"2")
        folder = store.path("m/1/a").parent
        assert store.path("m/1/saved/x/b") == folder / "saved" / "x" / "b"

    def test_removed_files_are_gone_and_equal_bytes_under_other_names_are_not(self, store):
        one, two = (hashlib.sha256(each).hexdigest() for each in (b"1", b"2"))
        store.create("a/1/x", b"1", one)
        store.create("a/1/deep/y", b"2", two)
        store.create("a/2/x", b"1", one)
        for _ in range(2):  # the second time, nothing is there any more
            store.remove({"a/1/x": one, "a/1/deep/y": two, "a/1/never": two}, {one})
            assert walk(store, "a") == ["2/x"]
        assert store.path("a/2/x").read_bytes() == b"1"
        store.create("a/1/x", b"2", two)
        assert store.path("a/1/x").read_bytes() == b"2"

    @pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
    def test_bad_names_are_refused_everywhere(self, store, name):
        with pytest.raises(ConfigError):
            store.get(name)
        with pytest.raises(ConfigError):
            store.path(name)
        with pytest.raises(ConfigError):
            store.create(name, b"1")
        if name:
            with pytest.raises(ConfigError):
                store.names(name)

    def test_names_with_spaces_and_letters_of_all_languages_are_fine(self, store):
        store.create("数字/a b/ü.json", b"1")
        assert walk(store, "") == ["数字/a b/ü.json"]

    def test_of_many_who_create_at_once_one_wins(self, store):
        start, won = threading.Barrier(self.racers), []

        def run(number):
            start.wait()
            try:
                store.create("a/b", b"%d" % number)
            except FileExistsError:
                return
            won.append(number)

        threads = [threading.Thread(target=run, args=[number]) for number in range(self.racers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.get("a/b") == b"%d" % won[0]

    def test_create_or_same_reports_whether_the_same_bytes_are_there(self, store, tmp_path):
        (tmp_path / "same").write_bytes(b"1")
        (tmp_path / "other").write_bytes(b"2")
        assert create_or_same(store, "a", b"1")
        assert create_or_same(store, "a", tmp_path / "same", hashlib.sha256(b"1").hexdigest())
        assert create_or_same(store, "a", tmp_path / "same")
        assert not create_or_same(store, "a", b"2")
        assert not create_or_same(store, "a", tmp_path / "other")
        assert store.get("a") == b"1"

    def test_probe_is_content_and_leaves_nothing(self, store):
        store.probe()
        assert store.names("") == []


class TestFolderStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return FolderStore(f"file://{tmp_path}/made/on/first/use")


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return MemoryStore(tmp_path / "local")


class TestS3Store(StoreContract):
    racers = 8  # SeaweedFS has each wait a second for the other

    @pytest.fixture
    def store(self, s3_store):
        return s3_store


@given(st.text())
def test_a_name_that_passes_cannot_lead_out_of_its_folder(name):
    try:
        check_name(name)
    except ConfigError:
        return
    path = Path("/registry") / name
    assert str(path) == f"/registry/{name}"
    assert ".." not in path.parts
    assert not any(part.startswith(".") for part in path.parts)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "registry",
        "/registry",
        "ftp://x/y",
        "file:/x",
        "file://relative/x",
        "s4://bucket",
        "s3://",
        "s3://me:pw@bucket/x",
    ],
)
def test_an_unknown_url_is_an_error_that_names_the_setting(url):
    with pytest.raises(ConfigError, match=r"\[registry\] url"):
        open_store(url)
