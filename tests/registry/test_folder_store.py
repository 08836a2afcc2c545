"""What a folder on a real disk must do beyond the contract: keep bytes once, recover from corruption, kills and full disks."""

import errno
import fcntl
import io
import os
import shutil
import stat
import time
from hashlib import sha256
from pathlib import Path

import pytest

from registry import folder_reads
from registry.errors import ConfigError, Corrupt, TryAgain
from registry.files import CHUNK, copy_hashed
from registry.folder import ABANDONED
from registry.stores import get_all, open_store, present

ONE = sha256(b"1").hexdigest()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "registry"


@pytest.fixture
def store(folder_store):
    return folder_store


def test_files_are_for_reading_only_whatever_the_umask(store, root):
    before = os.umask(0o077)
    try:
        store.create("a/b", b"1")
        store.create("a/c", b"1", ONE)
    finally:
        os.umask(before)
    assert {stat.S_IMODE((root / "a" / name).stat().st_mode) for name in "bc"} == {0o444}


def test_nothing_but_the_name_is_left(store, root):
    store.create("a/b", b"1")
    assert [path for path in root.rglob("*") if path.is_file()] == [root / "a" / "b"]


def test_equal_bytes_are_stored_once(store, root, tmp_path):
    (tmp_path / "source").write_bytes(b"1")
    for name in ("a/1", "a/2", "b/3"):
        store.create(name, tmp_path / "source", ONE)
    assert len({(root / name).stat().st_ino for name in ("a/1", "a/2", "b/3")}) == 1
    assert (tmp_path / "source").stat().st_nlink == 1  # the source stays the caller's own


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 512, 2 * CHUNK + 4096, 3 * CHUNK])
def test_large_files_are_stored_whole_whatever_their_size(store, tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    store.create("a/b", tmp_path / "source", sha256(data).hexdigest())
    store.create("a/c", data)
    assert store.get("a/b") == store.get("a/c") == data


def test_a_file_system_that_writes_only_through_its_cache_will_do(tmp_path):
    """It may say so at once, or when it is written to: then what was not written yet is written as usual."""
    data, said = os.urandom(2 * CHUNK + 5), []

    class Picky(io.FileIO):
        def write(self, part):
            if fcntl.fcntl(self, fcntl.F_GETFL) & os.O_DIRECT:
                said.append(len(part))
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return super().write(part)

    with Picky(tmp_path / "copy", "wb") as file:
        assert copy_hashed(io.BytesIO(data), file) == sha256(data).hexdigest()
    assert (tmp_path / "copy").read_bytes() == data
    assert said == [CHUNK, CHUNK]


def test_an_error_in_writing_is_not_taken_for_that(tmp_path):
    class Broken(io.FileIO):
        def write(self, part):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    with Broken(tmp_path / "copy", "wb") as file, pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        copy_hashed(io.BytesIO(bytes(CHUNK)), file)


def test_what_is_written_is_hashed_though_the_source_changes_meanwhile(tmp_path):
    """Its first bytes are read, then all of it is changed: the record would name bytes that nobody has stored."""
    old, new = b"1" * 2 * CHUNK, b"2" * 2 * CHUNK

    class Changing(io.BytesIO):
        def readinto(self, buffer):
            size = super().readinto(buffer)
            self.getbuffer()[:] = new
            return size

    with (tmp_path / "copy").open("wb", buffering=0) as file:
        found = copy_hashed(Changing(old), file)
    stored = (tmp_path / "copy").read_bytes()
    assert found == sha256(stored).hexdigest()
    assert stored == old[:CHUNK] + new[CHUNK:]


def test_corrupted_bytes_are_not_spread(store, root, tmp_path):
    (tmp_path / "source").write_bytes(b"1")
    store.create("a/1", b"1", ONE)
    _alter(root / "a" / "1", b"2")
    store.create("a/2", tmp_path / "source", ONE)
    store.create("a/3", b"1", ONE)
    assert store.get("a/1") == b"2"
    assert store.get("a/2") == store.get("a/3") == b"1"


def test_a_file_that_cannot_take_more_links_is_stored_again(store, root, monkeypatch):
    store.create("a/1", b"1", ONE)
    real = os.link

    def link(old, new):
        if "objects" in str(old):
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), str(old), None, str(new))
        real(old, new)

    monkeypatch.setattr(os, "link", link)
    store.create("a/2", b"1", ONE)
    assert store.get("a/2") == b"1"
    assert (root / "a" / "1").stat().st_ino != (root / "a" / "2").stat().st_ino


def test_a_file_and_a_folder_cannot_have_one_name(store):
    store.create("a/b", b"1")
    for name in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(FileExistsError):
            store.create(name, b"2")


def test_hidden_files_are_not_names(store, root):
    store.create("a/b", b"1")
    (root / "a" / ".nfs0001").touch()
    (root / ".DS_Store").touch()
    assert store.names("") == ["a/"]
    assert store.names("a") == ["b"]


def test_what_killed_writers_left_is_swept_when_it_is_old(store, root):
    store.create("a/b", b"1")
    unfinished = root / ".store" / "unfinished"
    (unfinished / "old").write_bytes(b"half")
    (unfinished / "young").write_bytes(b"half")
    long_ago = time.time() - ABANDONED - 60
    os.utime(unfinished / "old", (long_ago, long_ago))
    open_store(f"file://{root}").create("a/c", b"1")
    assert os.listdir(unfinished) == ["young"]


def test_opening_and_reading_make_nothing(store, root):
    assert store.names("") == []
    assert not root.exists()


def test_a_registry_that_has_vanished_is_out_of_reach_and_not_empty(store, root):
    store.create("a/b", b"1")
    reader = open_store(f"file://{root}")
    shutil.rmtree(root)
    root.mkdir()  # as an empty mount point
    for each in (store, reader):
        for act in (lambda: each.names("a"), lambda: each.get("a/b"), lambda: each.create("a/c", b"1"), each.probe):  # noqa: B023
            with pytest.raises(TryAgain, match="gone"):
                act()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("lost", [".store/unfinished", ".store"], ids=["an empty folder", "what is hidden"])
def test_a_registry_that_came_back_from_a_backup_without_some_folders_is_none_the_less_one(store, root, lost):
    store.create("test/a", b"1", ONE)
    shutil.rmtree(root / lost)
    for each in (store, open_store(f"file://{root}")):
        assert each.get("test/a") == b"1"
        with pytest.raises(FileNotFoundError):
            each.get("test/b")
    reader = open_store(f"file://{root}")
    assert reader.get("test/a") == b"1"
    reader.create("test/b", b"1", ONE)
    reader.probe()
    store.create("test/c", b"1")
    shutil.rmtree(root)
    with pytest.raises(TryAgain, match="gone"):
        reader.create("test/d", b"1")
    assert not root.exists()


def test_a_reader_that_came_before_the_first_file_notices_too(root):
    reader = open_store(f"file://{root}")
    open_store(f"file://{root}").create("a/b", b"1")
    assert reader.get("a/b") == b"1"
    shutil.rmtree(root)
    with pytest.raises(TryAgain, match="gone"):
        reader.get("a/b")


def test_a_file_where_the_registry_should_be_is_reported(root):
    root.write_bytes(b"")
    for url in (f"file://{root}", f"file://{root}/below/it"):
        with pytest.raises(ConfigError, match="not a folder"):
            open_store(url).create("a", b"1")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a place where nobody may write")
def test_a_folder_where_nobody_may_write_is_reported_with_a_hint():
    store = open_store("file:///sys/kernel/trainyard")
    assert store.names("") == []
    for act in (store.probe, lambda: store.create("a/b", b"1")):
        with pytest.raises(ConfigError, match="/sys/kernel/trainyard") as error:
            act()
        assert "writable" in error.value.hint


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (errno.ENOSPC, TryAgain),
        (errno.EDQUOT, TryAgain),
        (errno.EIO, TryAgain),
        (errno.ESTALE, TryAgain),
        (errno.EROFS, ConfigError),
        (errno.EACCES, ConfigError),
        (errno.EINVAL, OSError),
    ],
    ids=errno.errorcode.get,
)
def test_errors_of_the_disk_are_typed_and_leave_no_half_file(store, root, monkeypatch, number, wanted):
    store.create("a/b", b"1")

    def fsync(fd):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(wanted, match=os.strerror(number)):
            store.create("a/c", b"1", ONE)
    assert store.names("a") == ["b"]
    assert os.listdir(root / ".store" / "unfinished") == []
    store.create("a/c", b"1", ONE)  # once there is room again


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_without_hard_links_it_fails_loudly_and_does_not_fall_back(store, root, monkeypatch, number):
    def link(old, new):
        raise OSError(number, os.strerror(number), str(old), None, str(new))

    monkeypatch.setattr(os, "link", link)
    for act in (store.probe, lambda: store.create("a/b", b"1"), lambda: store.create("a/c", b"1", ONE)):
        with pytest.raises(ConfigError, match="no hard links") as error:
            act()
        assert "ext4" in error.value.hint
    assert store.names("a") == []


def test_bytes_are_on_disk_before_their_name_and_the_name_before_create_returns(store, root, monkeypatch):
    happened = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(fd):
        happened.append(("fsync", os.readlink(f"/proc/self/fd/{fd}")))
        real_fsync(fd)

    def link(old, new):
        happened.append(("link", str(new), str(old)))
        real_link(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    store.create("a/b/c", b"1")

    kinds = [each[0] for each in happened]
    linked = kinds.index("link")
    assert ("fsync", happened[linked][2]) in happened[:linked]
    assert {each[1] for each in happened[linked:] if each[0] == "fsync"} == {str(root), f"{root}/a", f"{root}/a/b"}
    assert ("fsync", str(root.parent)) in happened  # the registry's own folder was new

    happened.clear()
    with pytest.raises(FileExistsError):
        store.create("a/b/c", b"1")
    assert ("fsync", f"{root}/a/b") in happened  # another process may have made the name a moment ago


def _alter(path, data):
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


@pytest.mark.parametrize("name", ["linked/b", "a/linked"])
def test_no_link_is_followed_when_many_are_read_or_looked_for_at_once(store, root, tmp_path, name):
    store.create("a/b", b"1")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_bytes(b"not ours")
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "a" / "linked").symlink_to(tmp_path / "outside" / "b")
    for act in (get_all, present):
        with pytest.raises(Corrupt, match="linked: is a symbolic link"):
            act(store, ["a/b", name])


def test_of_many_folders_in_one_each_is_known_for_what_it_is(store, root, tmp_path, monkeypatch):
    numbers = range(3 * folder_reads.MANY)
    names = [f"a/{number}/b" for number in numbers]
    for name in names:
        store.create(name, b"1")
    store.create("a/file", b"1")
    looked, lstat = [], os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: looked.append(str(path)) or lstat(path))
    assert present(store, [*names, "a/file/b", "a/none/b"]) == set(names)
    assert len(looked) < len(names) + folder_reads.MANY + 5  # the folders were listed
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_bytes(b"not ours")
    (root / "a" / "linked").symlink_to(tmp_path / "outside")
    for act in (get_all, present):
        with pytest.raises(Corrupt, match="linked: is a symbolic link"):
            act(store, [*names, "a/linked/b"])
