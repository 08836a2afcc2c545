"""What the records say of versions whose bytes were moved out of the registry; `registry.archiving` moves them."""

from __future__ import annotations

from collections.abc import Iterable

from registry.chain import Chain
from registry.dataset_lists import FILES, KEYS
from registry.errors import ConfigError
from registry.records import Archiving, Candidate
from registry.stores import Store

STAYS = {FILES, KEYS}
"""Files of a version that are not moved: `trainyard lineage` asks every version for what went into it."""


def archive_chain(store: Store, model: str) -> Chain[Archiving]:
    """The records of `production/<model>/archive`."""
    return Chain(store, Archiving, f"production/{model}/archive")


def moved(manifest: Candidate) -> dict[str, str]:
    """The files of a version that are moved, with their SHA-256."""
    return {name: sha256 for name, sha256 in manifest.files.items() if name not in STAYS}


def newest_of(records: Iterable[Archiving]) -> dict[int, Archiving]:
    """The newest record of each version that is archived, and was not restored since."""
    found = {each.version: each for each in records}
    return {version: each for version, each in found.items() if each.kind == "archived"}


def archived(store: Store, model: str) -> dict[int, Archiving]:
    """The versions that are archived; raises Corrupt when a record was altered."""
    return newest_of(archive_chain(store, model).read_all())


def must_be_here(store: Store, model: str, version: int) -> None:
    """Raise ConfigError when a version is archived."""
    if found := archived(store, model).get(version):
        raise ConfigError(
            f"{model} version {version} is archived: its files are in {found.url} since {found.at}",
            hint=f"`trainyard registry restore {model} {version}` brings them back",
        )
