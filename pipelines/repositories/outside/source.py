"""Reads objects by their names from a folder or a bucket: one row per kind of place, imported when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from pipelines.repositories.outside.place import Place
from registry.errors import ConfigError

KINDS = {"folder": "pipelines.repositories.outside.folder:FolderObjects"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object, and the file that its bytes go to; `most` bytes are accepted, all of them when it is `exact`."""

    key: str
    into: Path
    most: int
    exact: bool = True


class Objects(Protocol):
    """Objects by name, e.g. `sha256/ab/ab12…`. What they hold is for the caller to check: each is named by its hash."""

    def fetch(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Bring some objects at once; gives those that are not there.

        A file that was written may be cut short, or hold anything. Raises TryAgain when the place is out of reach or the
        disk is full, ConfigError when it may not be read.
        """


def open_objects(place: Place, what: str) -> Objects:
    """The objects at a place; `what` begins the messages."""
    kind = "folder" if place.folder else "s3"
    if kind not in KINDS:
        raise ConfigError(f"{what}: {place}: buckets are not read by this version", hint="name a folder")
    module, _, name = KINDS[kind].partition(":")
    return cast("Objects", getattr(import_module(module), name)(place, what))
