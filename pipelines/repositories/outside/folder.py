"""Objects in a folder of this machine, or of a disk that it sees."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pipelines.repositories import git
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.source import Wanted
from pipelines.repositories.regular_file import copy_regular
from registry.errors import ConfigError, TryAgain

AT_ONCE = 8  # a disk of the network answers many at once


class FolderObjects:
    """A folder with objects below it."""

    def __init__(self, place: Place, what: str) -> None:
        self.folder, self.what = Path(place.folder), what

    def fetch(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """See `Objects`."""
        if not self.folder.is_dir():
            raise ConfigError(
                f"{self.what}: the folder {self.folder} does not exist on this machine",
                hint="mount it, or name the right one: [repositories] data_store",
            )
        with ThreadPoolExecutor(AT_ONCE) as pool:
            there = list(pool.map(self._copy, wanted))
        return [each for each, is_there in zip(wanted, there, strict=True) if not is_there]

    def _copy(self, wanted: Wanted) -> bool:
        git.raise_if_stopping()
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
