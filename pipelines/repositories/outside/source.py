"""Reads objects by their names from a folder or a bucket: one row per kind of place, imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from pipelines.repositories.outside.place import Place
from registry.dataclass import dataclass
from registry.errors import ConfigError

KINDS = {
    "folder": "pipelines.repositories.outside.folder:FolderObjects",
    "s3": "pipelines.repositories.outside.s3:S3Objects",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object, and the file that its bytes go to; `most` bytes are accepted, all of them when it is `exact`."""

    key: str
    into: Path
    most: int
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that becomes an object, if it still has these bytes."""

    key: str
    path: Path
    size: int
    sha256: str


class Found(NamedTuple):
    """An object: its name, its bytes, and when it was written, in seconds since 1970."""

    key: str
    size: int
    written: float


class Objects(Protocol):
    """Objects by name, e.g. `sha256/ab/ab12…`. What they hold is for the caller to check: each is named by its hash."""

    def fetch(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Bring some objects at once; gives those that are not there.

        A file that was written may be cut short, or hold anything. Raises TryAgain when the place is out of reach or the
        disk is full, ConfigError when it may not be read.
        """

    def send(self, files: Sequence[Sent]) -> list[Sent]:
        """Create some objects at once, whole or not at all; gives those that were not there before.

        Nothing is overwritten. Raises ConfigError for a file with other bytes, and as `fetch` does.
        """

    def present(self, keys: Sequence[str]) -> set[str]:
        """Which of these objects are there."""

    def listed(self, folder: str) -> Iterator[Found]:
        """All objects below `folder`."""

    def remove(self, keys: Sequence[str]) -> None:
        """Remove some objects; one that is not there is as good as removed."""


def key_of(sha256: str) -> str:
    """The name of an object in a dataset store."""
    return f"sha256/{sha256[:2]}/{sha256}"


def open_objects(place: Place, what: str) -> Objects:
    """The objects at a place; `what` begins the messages."""
    module, _, name = KINDS["folder" if place.folder else "s3"].partition(":")
    return cast("Objects", getattr(import_module(module), name)(place, what))


def changed(sent: Sent) -> ConfigError:
    """The error of a file that has other bytes by now."""
    return ConfigError(
        f"{sent.path}: changed while it was pushed",
        hint="`trainyard data add` it again, commit, and push once it is at rest",
    )
