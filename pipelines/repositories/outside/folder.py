"""Objects in a folder of this machine, or of a disk that it sees."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pipelines.repositories import processes
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.source import Found, Sent, Wanted, changed
from pipelines.repositories.regular_file import copy_regular
from registry.errors import ConfigError, TryAgain
from registry.files import TMP, new_file, sha256_file, sweep

AT_ONCE = 8  # a disk of the network answers many at once


class FolderObjects:
    """A folder with objects below it."""

    def __init__(self, place: Place, what: str) -> None:
        self.folder, self.what = Path(place.folder), what

    def fetch(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """See `Objects`."""
        self._must_exist()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            there = list(pool.map(self._copy, wanted))
        return [each for each, is_there in zip(wanted, there, strict=True) if not is_there]

    def send(self, files: Sequence[Sent]) -> list[Sent]:
        """See `Objects`."""
        self._must_exist()
        for each in {(self.folder / each.key).parent for each in files}:
            sweep(each)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            created = list(pool.map(self._create, files))
        return [each for each, is_new in zip(files, created, strict=True) if is_new]

    def present(self, keys: Sequence[str]) -> set[str]:
        """See `Objects`."""
        self._must_exist()
        return {each for each in keys if (self.folder / each).is_file()}

    def listed(self, folder: str) -> Iterator[Found]:
        """See `Objects`."""
        self._must_exist()
        for path in (self.folder / folder).rglob("*"):
            with suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and not path.name.startswith(TMP):
                    yield Found(path.relative_to(self.folder).as_posix(), status.st_size, status.st_mtime)

    def remove(self, keys: Sequence[str]) -> None:
        """See `Objects`."""
        for each in keys:
            (self.folder / each).unlink(missing_ok=True)

    def _must_exist(self) -> None:
        if not self.folder.is_dir():
            raise ConfigError(
                f"{self.what}: the folder {self.folder} does not exist on this machine",
                hint="mount or create it, or name the right one: [data] store, or [repositories] data_store",
            )

    def _create(self, sent: Sent) -> bool:
        target = self.folder / sent.key
        if target.exists():
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fd, new = new_file(target.parent)
            try:
                copy_regular(sent.path, Path(new))
                if sha256_file(Path(new)) != sent.sha256:
                    raise changed(sent)
                os.fchmod(fd, 0o444)
                os.fsync(fd)
                with suppress(FileExistsError):  # a concurrent writer has put the same bytes there
                    os.link(new, target)
                    return True
            finally:
                os.close(fd)
                os.unlink(new)
        except PermissionError as error:
            raise ConfigError(
                f"{self.what}: {error.filename}: {error.strerror}", hint="give this user write access to that folder"
            ) from None
        return False

    def _copy(self, wanted: Wanted) -> bool:
        processes.raise_if_stopping()
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                copy_regular(self.folder / wanted.key, wanted.into, wanted.most)
                return True
        except PermissionError as error:
            raise ConfigError(
                f"{self.what}: {error.filename}: {error.strerror}", hint="give this user read access to that folder"
            ) from None
        except TimeoutError as error:  # a disk of the network
            raise TryAgain(f"{self.what}: {self.folder}: {error.strerror}", hint="is that disk's server up?") from None
        return False
