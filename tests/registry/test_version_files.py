"""The files of versions are stored and compared many at once."""

import pytest

from registry import version_files
from registry.errors import Corrupt
from registry.files import sha256_bytes
from registry.stores import walk


def test_after_an_error_no_further_file_is_begun(store, tmp_path, monkeypatch):
    monkeypatch.setattr(version_files, "_at_once", lambda _files: 1)
    files = {f"{number}": (tmp_path / f"{number}", sha256_bytes(b"%d" % number)) for number in range(5)}
    for number in range(5):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    (tmp_path / "1").write_bytes(b"altered")
    with pytest.raises(Corrupt):
        version_files.store_all(store, "test/digits/1", files)
    assert walk(store, "test/digits/1") == ["0"]


def test_all_names_that_are_taken_are_given_in_order(store, tmp_path):
    names = ("c", "a", "d", "b")
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
        store.create(f"test/digits/1/{name}", b"others")
    files = {name: (tmp_path / name, sha256_bytes(name.encode())) for name in names}
    assert version_files.store_all(store, "test/digits/1", files) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("files", "cores", "at_once"), [(0, 2, 1), (1, 2, 1), (6, 2, 6), (7, 2, 6), (9, None, 3)])
def test_as_many_files_are_copied_at_once_as_keep_cores_and_disk_busy(files, cores, at_once, monkeypatch):
    monkeypatch.setattr(version_files.os, "cpu_count", lambda: cores)
    assert version_files._at_once(files) == at_once


def test_what_differs_is_named_with_both_digests(folder_store, tmp_path):
    (tmp_path / "own").write_bytes(b"kept")
    folder_store.create("test/digits/1/a", b"bytes")
    kept, there = sha256_bytes(b"kept"), sha256_bytes(b"bytes")
    own = {"own": (tmp_path / "own", kept)}
    assert version_files.altered(folder_store, {"test/digits/1/a": there}, own) == []
    assert version_files.altered(folder_store, {"test/digits/1/a": "0", "test/digits/1/b": "1"}) == [
        "test/digits/1/b: is missing",
        f"test/digits/1/a: checksum mismatch: SHA-256 is {there}, the manifest says 0",
    ]
    (tmp_path / "own").write_bytes(b"other")
    assert version_files.altered(folder_store, {}, own) == [
        f"own: checksum mismatch: SHA-256 is {sha256_bytes(b'other')}, its name says {kept}"
    ]


def test_a_file_that_cannot_be_read_is_a_problem_and_not_an_end(folder_store, monkeypatch):
    def fails(_path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(version_files, "sha256_file", fails)
    folder_store.create("test/digits/1/a", b"bytes")
    (problem,) = version_files.altered(folder_store, {"test/digits/1/a": "0" * 64})
    assert "SHA-256 is unknown (Input/output error)" in problem


def test_a_file_with_two_names_is_read_once(folder_store, monkeypatch, tmp_path):
    read = []
    monkeypatch.setattr(version_files, "sha256_file", lambda path: read.append(path) or sha256_bytes(b"bytes"))
    (tmp_path / "a").write_bytes(b"bytes")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    own = {name: (tmp_path / name, sha256_bytes(b"bytes")) for name in ("a", "b")}
    assert version_files.altered(folder_store, {}, own) == []
    assert len(read) == 1


def test_a_link_in_the_place_of_a_file_is_a_problem_and_not_an_end(folder_store, tmp_path):
    (tmp_path / "outside").write_bytes(b"1")
    folder_store.create("test/digits/1/b", b"1")
    (tmp_path / "registry/test/digits/1/a").symlink_to(tmp_path / "outside")
    digest = sha256_bytes(b"1")
    (problem,) = version_files.altered(folder_store, {"test/digits/1/a": digest, "test/digits/1/b": digest})
    assert problem.startswith("test/digits/1/a: ")
