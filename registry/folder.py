"""The registry in a folder, on any file system with hard links, also over a network.

A file is written under a hidden name, fsynced, and then linked to its name: `link`, unlike `rename`, refuses a taken
name. So no lock is needed, and a killed writer leaves at most a hidden file, which is swept a day later.
Files that come with their SHA-256 are kept once: `.store/objects/ab/<sha256>` and every name are hard links to one file.

Whoever may write the folder must neither lead a reader out of it nor stop it: below the registry's own folder no symbolic
link is followed, and what is not a file (a named pipe, a socket) is refused and not waited for.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from registry import folder_reads
from registry.errors import ConfigError, Corrupt, TryAgain
from registry.files import copy_hashed, sha256_bytes, sha256_file, sync_folder
from registry.folder_errors import as_typed
from registry.folder_structure import inspect_folders
from registry.store_options import StoreOptions
from registry.stores import Structure, check_name

PARTS = (".store", "test", "production")  # where one of these folders is, there is a registry
ABANDONED = 24 * 3600  # seconds without a write after which an unfinished file belongs to nobody
FOLDER_MODE = 0o775  # whatever the umask allows: others never add or remove files
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class FolderStore:
    """`file:///absolute/folder`; the folder appears with the first file. See `registry.stores.Store`."""

    def __init__(self, url: str, options: StoreOptions | None = None) -> None:
        del options  # a folder needs none
        path = url.removeprefix("file://")
        if path == url or not path.startswith("/"):
            raise ConfigError(f"[registry] url: {url!r} is not file:// and an absolute folder")
        self._root = Path(path)
        self._objects = self._root / ".store" / "objects"
        self._unfinished = self._root / ".store" / "unfinished"
        self._durable: set[Path] = {self._root}  # folders whose own name is known to be on disk
        self._swept = False
        self._used = False  # whether this folder is known to have been a registry
        with self._typed_errors():
            self._used = self._exists()

    def get(self, name: str) -> bytes:
        check_name(name)
        try:
            data = folder_reads.read_record(self._root, name)
        except OSError:
            with self._typed_errors():
                raise
        self._used = True
        return data

    def path(self, name: str) -> Path:
        path = self._file(name)
        with self._typed_errors():
            folder_reads.follow_no_link(self._root, name)
            folder_reads.must_be_file(name, path.lstat().st_mode)
        return path

    def names(self, folder: str) -> list[str]:
        path = self._file(folder) if folder else self._root
        try:
            with self._typed_errors():
                folder_reads.follow_no_link(self._root, f"{folder}/")
                with os.scandir(path) as entries:
                    found = [each.name + "/" * each.is_dir(follow_symlinks=False) for each in entries]
        except FileNotFoundError:
            return []
        return sorted([name for name in found if name[0] != "."])

    def get_all(self, names: Iterable[str]) -> list[bytes]:
        with self._typed_errors():
            found = list(folder_reads.read_records(self._root, map(check_name, names)))
        self._used = self._used or bool(found)
        return found

    def present(self, names: Iterable[str]) -> set[str]:
        with self._typed_errors():
            return folder_reads.present(self._root, map(check_name, names))

    def create(self, name: str, data: bytes | Path, sha256: str = "") -> None:
        target = self._file(name)
        with self._typed_errors():
            self._begin()
            self._make_below(target.parent)
            folder_reads.follow_no_link(self._root, name)
            try:
                if os.path.lexists(target):  # before any byte is copied
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
                if not (sha256 and self._link_known(data, sha256, target)):
                    self._write(data, sha256, target)
            finally:  # also when the name was taken: whoever finds that may build on it
                self._make_durable(target.parent)

    def own_files(self) -> dict[str, tuple[Path | None, str]]:
        with self._typed_errors():
            return {
                str(path.relative_to(self._root)): (path, path.name)
                for path in sorted(self._objects.glob("*/*"))
                if not path.name.startswith(".") and stat.S_ISREG(path.lstat().st_mode)
            }

    def remove(self, files: Mapping[str, str], needed: Container[str]) -> None:
        with self._typed_errors():
            for name in files:
                path = self._file(name)
                with contextlib.suppress(FileNotFoundError):
                    folder_reads.follow_no_link(self._root, name)
                    path.unlink()
                self._remove_empty(path.parent)
            for sha256 in sorted({*files.values()}):
                known = self._object(sha256)
                with contextlib.suppress(FileNotFoundError):
                    if known.lstat().st_nlink == 1 and sha256 not in needed:  # who links it meanwhile has the bytes
                        known.unlink()

    def keep(self, path: Path, sha256: str) -> None:
        """Nothing to do: every name is a link of its own."""

    def structure(self, folders: Sequence[str] = ()) -> Structure:
        with self._typed_errors():
            return inspect_folders(self._root, folders)

    def probe(self) -> None:
        with self._typed_errors():
            self._begin()
            with self._new_file(b"", "") as new:
                link = new.with_name(new.name + "-link")
                _link(new, link)
                link.unlink()

    def _file(self, name: str) -> Path:
        return self._root / check_name(name)

    def _begin(self) -> None:
        """Have the hidden folders; never begin anew where a registry was before (a disk that is not mounted)."""
        if self._unfinished.is_dir():
            self._used = True
            return
        if self._used and not self._exists():
            raise self._gone()
        new = [each for each in (self._root, *self._root.parents) if not each.exists()]
        try:
            if self._used:  # a backup may have left out an empty folder
                self._make_below(self._unfinished)
            else:
                _make_folder(self._unfinished)
        except FileExistsError as error:
            raise ConfigError(f"{error.filename}: is not a folder", hint="set [registry] url") from error
        for each in new:
            sync_folder(each.parent)
        self._used = True

    def _exists(self) -> bool:
        """Whether there is a registry, whole or as a backup brought it back."""
        return any((self._root / each).is_dir() for each in PARTS)

    def _make_below(self, folder: Path) -> None:
        """Make a folder of the registry and those above, but never the registry itself: it may have gone just now.

        Raises FileExistsError when a file is in the way.
        """
        if folder.is_dir():
            return
        above = folder.relative_to(self._root).parts
        for depth in range(1, len(above) + 1):
            each = self._root.joinpath(*above[:depth])
            try:
                each.mkdir(FOLDER_MODE, exist_ok=True)
                folder_reads.follow_no_link(self._root, "/".join((*above[:depth], "")))
            except NotADirectoryError as error:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), error.filename) from None

    def _remove_empty(self, folder: Path) -> None:
        """Remove the folders that a removed file has left empty, and have that on disk."""
        while folder != self._root:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # something is in it
                sync_folder(folder)
                return
            folder = folder.parent

    def _gone(self) -> TryAgain:
        return TryAgain(f"{self._root}: the registry is gone from its folder", hint="is its disk mounted?")

    def _link_known(self, data: bytes | Path, sha256: str, target: Path) -> bool:
        """Link `target` to the same bytes that are kept already; False when there are none that can be trusted."""
        known = self._object(sha256)
        if not known.is_file() or known.is_symlink():
            return False
        if not (isinstance(data, Path) and data.samefile(known)):
            _check(sha256_bytes(data) if isinstance(data, bytes) else sha256_file(data), sha256, data)
            if sha256_file(known) != sha256:  # corrupted: it is not spread any further
                return False
        else:  # as at a promotion: the same file, to be read once
            _check(sha256_file(known), sha256, data)
        try:
            os.link(known, target)
        except OSError as error:
            if error.errno in {errno.EMLINK, errno.EPERM}:  # too many links, or another user's file: an own copy
                return False
            raise
        return True

    def _write(self, data: bytes | Path, sha256: str, target: Path) -> None:
        with self._new_file(data, sha256) as new:
            if sha256:
                known = self._object(sha256)
                self._make_below(known.parent)
                try:
                    _link(new, known)
                except FileExistsError:  # a concurrent writer stored the same bytes: they are kept once
                    if self._link_known(new, sha256, target):
                        return
            _link(new, target)

    @contextlib.contextmanager
    def _new_file(self, data: bytes | Path, sha256: str) -> Iterator[Path]:
        """A hidden file with all of `data`, safe on disk; it is unlinked at the end."""
        fd, name = tempfile.mkstemp(dir=self._unfinished)
        try:
            with (
                os.fdopen(fd, "wb", buffering=0) as file,
                io.BytesIO(data) if isinstance(data, bytes) else data.open("rb", buffering=0) as source,
            ):
                found = copy_hashed(source, file)
                if sha256:
                    _check(found, sha256, data)
                os.fchmod(fd, 0o444)  # not to be altered by accident; other users may read it
                os.fsync(fd)
                self._sweep(os.fstat(fd).st_mtime)
            yield Path(name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def _sweep(self, now: float) -> None:
        """Remove what killed writers left. `now` comes from the file system: clocks of other machines may differ."""
        if self._swept:
            return
        self._swept = True
        with os.scandir(self._unfinished) as entries:
            for each in entries:
                with contextlib.suppress(FileNotFoundError, PermissionError, IsADirectoryError):
                    if each.stat(follow_symlinks=False).st_mtime < now - ABANDONED:
                        os.unlink(each)

    def _object(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256

    def _make_durable(self, folder: Path) -> None:
        """Have the new name in `folder` on disk, and those of the folders above, whoever has made them."""
        sync_folder(folder)
        while folder not in self._durable:
            sync_folder(folder.parent)
            self._durable.add(folder)
            folder = folder.parent

    @contextlib.contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """Turn errors of the disk into PipelineErrors, with a hint. A missing or a taken name is left to the caller."""
        try:
            yield
        except FileExistsError:
            raise
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if self._used and not self._exists():
                raise self._gone() from error
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), error.filename) from None
        except OSError as error:
            raise as_typed(error, self._root) from error


def _make_folder(folder: Path) -> None:
    """Make a folder and those above; raises FileExistsError when a file is in the way."""
    try:
        folder.mkdir(FOLDER_MODE, exist_ok=True)
    except FileNotFoundError:
        _make_folder(folder.parent)
        folder.mkdir(FOLDER_MODE, exist_ok=True)
    except NotADirectoryError as error:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), error.filename) from None


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError as error:
        if error.errno in NO_LINKS:
            raise ConfigError(
                f"{new}: {error.strerror}: this file system has no hard links",
                hint="put the registry on ext4, XFS, Btrfs, ZFS, tmpfs or NFS",
            ) from error
        raise


def _check(found: str, wanted: str, data: bytes | Path) -> None:
    if found != wanted:
        what = "the bytes" if isinstance(data, bytes) else data
        raise Corrupt(f"{what}: SHA-256 is {found}, not {wanted}", hint="the file was altered after it was hashed")
