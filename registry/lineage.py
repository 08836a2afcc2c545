"""Backwards: which versions a file of a dataset, or a sample, went into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from registry import candidates, dataset_lists
from registry.dataclass import dataclass
from registry.errors import Corrupt
from registry.files import sha256_file
from registry.records import Candidate
from registry.stores import Store

TAUGHT = ("train", "validation")
"""The splits that a training sees."""
AT_ONCE = 16
Look = Callable[[Candidate], tuple[str, ...] | None]


@dataclass(frozen=True, slots=True)
class Use:
    """A version that knows a file or a sample."""

    version: int
    places: tuple[str, ...]
    """In its own dataset: paths of the file, or the split and what the key names there (`train: row`); may be empty."""
    earlier: tuple[int, ...]
    """Versions whose weights it began with, and that have learned from it; the nearest first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Which versions use something, and of which that is not known."""

    uses: tuple[Use, ...]
    unknown: tuple[int, ...]
    """They were made before versions kept such lists, or with more samples than are listed."""


def uses_of_file(store: Store, model: str, sha256: str) -> Answer:
    """The versions in whose dataset is a file with this SHA-256; raises Corrupt."""
    known: dict[str, tuple[str, ...]] = {}

    def look(card: Candidate) -> tuple[str, ...] | None:
        if (path := _list(store, card, dataset_lists.FILES)) is None or card.dataset is None:
            return None
        if card.dataset.digest not in known:
            found = dataset_lists.read_files(_checked(path, card.files[dataset_lists.FILES]))
            known[card.dataset.digest] = tuple(each.path for each in found if each.sha256 == sha256)
        return known[card.dataset.digest]

    return _answer(store, model, look, lambda _place: True)


def uses_of_key(store: Store, model: str, key: str) -> Answer:
    """The versions in whose dataset a sample, or a group of samples, has this key; raises Corrupt."""
    known: dict[str, tuple[str, ...]] = {}

    def look(card: Candidate) -> tuple[str, ...] | None:
        if (path := _list(store, card, dataset_lists.KEYS)) is None or card.dataset is None:
            return None
        digest = card.files[dataset_lists.KEYS]  # the split may differ where the files are the same: by its code
        if digest not in known:
            found = dataset_lists.splits_with(_checked(path, digest), card.dataset.digest, key)
            known[digest] = tuple(f"{split}: {kind}" for split, kind in found)
        return known[digest]

    return _answer(store, model, look, lambda place: place.startswith(TAUGHT))


def parent_of(card: Candidate) -> int | None:
    """The version whose weights its training began with; a script was given them, and may have used them."""
    return card.base if card.parent is None and card.how == "command" else card.parent


def cards(store: Store, model: str) -> dict[int, Candidate]:
    """The manifest of every version, by its number: read side by side, as an object store takes its time for each."""
    from concurrent.futures import ThreadPoolExecutor  # most commands need no lineage

    versions = candidates.versions(store, model)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(
            zip(versions, pool.map(lambda version: candidates.manifest(store, model, version), versions), strict=True)
        )


def ancestors(parents: dict[int, int | None], version: int) -> Iterator[int]:
    """The versions that it comes from, the nearest first."""
    seen, at = {version}, parents.get(version)
    while at is not None and at not in seen:
        yield at
        seen.add(at)
        at = parents.get(at)


def _answer(store: Store, model: str, look: Look, teaches: Callable[[str], bool]) -> Answer:
    places: dict[int, tuple[str, ...]] = {}
    parents: dict[int, int | None] = {}
    unknown = []
    for version, card in cards(store, model).items():
        parents[version] = parent_of(card)
        found = look(card)
        if found is None:
            unknown.append(version)
        places[version] = found or ()
    taught = {version for version, found in places.items() if any(map(teaches, found))}
    uses = [
        Use(version, found, tuple(each for each in ancestors(parents, version) if each in taught))
        for version, found in places.items()
    ]
    return Answer(tuple(each for each in uses if each.places or each.earlier), tuple(unknown))


def _list(store: Store, card: Candidate, name: str) -> Path | None:
    """The list of that name beside a version's manifest; None when it has none."""
    if name not in card.files:
        return None
    where = f"{candidates.version_folder('test', card.model, card.version)}/{name}"
    try:
        return store.path(where)
    except FileNotFoundError:
        raise Corrupt(f"{where}: is missing", hint=candidates.RESTORE) from None


def _checked(path: Path, sha256: str) -> Path:
    if sha256_file(path) != sha256:
        raise Corrupt(f"{path}: is not the file of the manifest", hint=candidates.RESTORE)
    return path
