"""Brings the files of a dataset commit that do not lie in git: those of `dataset.lock`, and what DVC's files name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pipelines.repositories import addresses, processes
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.outside import dvc, manifest, paths, place
from pipelines.repositories.outside.manifest import File, Manifest
from pipelines.repositories.outside.packs import PackedObjects
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.source import Objects, Wanted, key_of, open_objects
from pipelines.repositories.tree import Extras, Pointer, Tree, any_of
from pipelines.text.clean import clean
from registry import toml
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import sha256_file

SETTINGS = "dataset.toml"
T = TypeVar("T")
AT_ONCE, AT_ONCE_BYTES = 10_000, 256 << 20
"""Objects that are fetched before they are kept: what a killed run does not have to fetch again."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the dataset, the object with its bytes, and where that is."""

    path: str
    pointer: Pointer
    key: str
    place: Place
    most: int
    """Bytes, for an object whose size is not known."""
    by: str
    """The file that names it."""


class OutsideGit:
    """Brings what one commit of the dataset repository at `url` names; `what` names the repository in errors."""

    def __init__(self, store: ObjectStore, extras: Extras, what: str, url: str) -> None:
        self.store, self.extras, self.what = store, extras, f"[repositories] {what}"
        self.address = addresses.parse(url)
        self.opened: dict[Place, Objects] = {}

    def bring(self, found: Tree, tree: Path, scratch: Path) -> Manifest | None:
        """Put the files into `tree`, which has those of git; None when the commit names none.

        Raises ConfigError for what is not there, not allowed, too much or not what was named, and TryAgain when the place
        is out of reach.
        """
        (scratch / "outside").mkdir()
        unimportant = any_of(self.extras.unimportant)
        own = self._manifest(tree)
        named = [*self._items_of(own, tree), *self._items_of_dvc(found, tree, scratch)]
        items = [each for each in named if not unimportant(each.path)]
        if own is None and not items:
            return None
        paths.refuse([each.path for each in items], f"{self.what}: {_names(each.by for each in items)}", found.names)
        self._refuse_too_much(sum(max(each.pointer.size, 0) for each in items))
        self._place(items, tree, scratch / "outside")
        self.store.evict(self.extras.data_bytes)
        folders = own.folders if own else frozenset()
        return Manifest({each.path: _file(each, tree) for each in items}, folders)

    def places(self, found: Tree, tree: Path) -> list[Place]:
        """Where the files would be fetched from; raises ConfigError as `bring` does, before it fetches anything."""
        own = self._items_of(self._manifest(tree), tree)
        outputs = self._named_by_dvc(found, tree)
        return list(dict.fromkeys([*(each.place for each in own), *(self._place_of(each, tree) for each in outputs)]))

    def _manifest(self, tree: Path) -> Manifest | None:
        path = tree / manifest.NAME
        if not path.is_file():
            return None
        if path.stat().st_size > manifest.LARGEST:
            raise ConfigError(
                f"{self.what}: {manifest.NAME} is larger than {manifest.LARGEST >> 20} MB", hint="pack small files"
            )
        return manifest.parse(path.read_bytes(), f"{self.what}: {manifest.NAME}")

    def _items_of(self, own: Manifest | None, tree: Path) -> Iterator[Item]:
        if own is None or not own.files:
            return
        where = self._chosen() or self._of_settings(tree)
        for path, file in own.files.items():
            pointer = Pointer(file.sha256, file.size)
            yield Item(path, pointer, key_of(file.sha256), where, file.size, manifest.NAME)

    def _chosen(self) -> Place | None:
        """What trainyard.toml says, which needs nobody's trust."""
        text = self.extras.data_store
        return place.parse(text, {}, "[repositories] data_store") if text else None

    def _of_settings(self, tree: Path) -> Place:
        where = f"{self.what}: {SETTINGS} [data] store"
        found = store_of(tree / SETTINGS, where)
        place.refuse_untrusted(found, self.address, self.extras.trusted, where)
        return found

    def _named_by_dvc(self, found: Tree, tree: Path) -> list[dvc.Output]:
        """What DVC's files name and is not in git."""
        unimportant = any_of(self.extras.unimportant)
        names = set(found.names)
        names |= {str(folder) for name in found.names for folder in PurePosixPath(name).parents}
        outputs: dict[str, dvc.Output] = {}
        for name in found.dvc:
            for each in () if unimportant(name) else self._outputs(tree, name, names):
                if unimportant(each.path):
                    continue
                if (other := outputs.setdefault(each.path, each)).md5 != each.md5:
                    raise ConfigError(
                        f"{self.what}: {other.by} and {each.by} name different data for {clean(each.path, 100)}",
                        hint="let one of them have it (`dvc remove`), and commit",
                    )
        return list(outputs.values())

    def _items_of_dvc(self, found: Tree, tree: Path, scratch: Path) -> Iterator[Item]:
        outputs = {each.path: each for each in self._named_by_dvc(found, tree)}
        self._refuse_too_much(sum(max(each.size, 0) for each in outputs.values()))
        places = {each.path: self._place_of(each, tree) for each in outputs.values()}
        lists = self._lists([(each, places[each.path]) for each in outputs.values() if each.is_folder], scratch)
        for each in outputs.values():
            where = places[each.path]
            most = each.size if each.size >= 0 else self.extras.data_bytes
            if not each.is_folder:
                yield Item(each.path, each.file_pointer(each.md5, each.size), each.key(each.md5), where, most, each.by)
                continue
            for path, md5 in lists[each.path].items():
                yield Item(path, each.file_pointer(md5, -1), each.key(md5), where, most, each.by)

    def _outputs(self, tree: Path, name: str, in_git: Container[str]) -> list[dvc.Output]:
        with (tree / name).open("rb") as file:
            data = file.read(dvc.LARGEST + 1)
        if name.endswith(dvc.SUFFIX) and not dvc.is_pointer(data):
            return []
        try:
            pipeline = (tree / name).with_name("dvc.yaml")
            if name.endswith(dvc.LOCK) and pipeline.is_file() and dvc.has_wdir(pipeline.read_bytes()):
                raise ConfigError(f"{name}: stages with `wdir` are not supported", hint="write their paths without it")
            return dvc.outputs(data, name, in_git)
        except ConfigError as error:
            raise ConfigError(f"{self.what}: {error}", hint=error.hint) from None

    def _place_of(self, output: dvc.Output, tree: Path) -> Place:
        if chosen := self._chosen():
            return chosen
        folders = (folder / dvc.CONFIG for folder in PurePosixPath(output.by).parents)
        config = next((str(each) for each in folders if (tree / each).is_file()), "")
        if not config:
            raise ConfigError(
                f"{self.what}: {output.by}: there is no {dvc.CONFIG}, which would say where its data are",
                hint="commit it, or name the place in [repositories] data_store",
            )
        where = f"{self.what}: {output.by}: {config}"
        found = dvc.remotes((tree / config).read_bytes(), where).place(output.remote)
        place.refuse_untrusted(found, self.address, self.extras.trusted, where)
        return found

    def _lists(self, folders: Sequence[tuple[dvc.Output, Place]], scratch: Path) -> dict[str, dict[str, str]]:
        """Path of a directory → path → MD5 of its files."""
        items = [
            Item(str(number), each.list_pointer, each.key(each.md5), where, dvc.LARGEST_LIST, each.by)
            for number, (each, where) in enumerate(folders)
        ]
        (scratch / "lists").mkdir()
        self._place(items, scratch / "lists", scratch / "outside")
        return {
            each.path: dvc.listed((scratch / "lists" / item.path).read_bytes(), each)
            for item, (each, _where) in zip(items, folders, strict=True)
        }

    def _place(self, items: Sequence[Item], tree: Path, scratch: Path) -> None:
        """Put the objects into the tree, those that are kept already and then those that are fetched."""
        missing: dict[str, list[Item]] = {}
        for each in items:
            processes.raise_if_stopping()
            (tree / each.path).parent.mkdir(parents=True, exist_ok=True)
            if not self.store.place(each.pointer, tree / each.path):
                missing.setdefault(each.pointer.oid, []).append(each)
        for batch in batches([each[0] for each in missing.values()], lambda each: each.pointer.size):
            self._fetch(batch, scratch)
            for first in batch:
                for each in missing[first.pointer.oid]:
                    if not self.store.place(each.pointer, tree / each.path):
                        raise self._lacking(
                            each, "gives other bytes than it names", "push it again from where it is right"
                        )

    def _fetch(self, items: Sequence[Item], scratch: Path) -> None:
        by_place: dict[Place, list[Item]] = {}
        for each in items:
            by_place.setdefault(each.place, []).append(each)
        for where, ours in by_place.items():
            wanted = {
                Wanted(each.key, scratch / each.pointer.oid, each.most, exact=each.pointer.size >= 0): each
                for each in ours
            }
            objects = self._open(where)
            for lacking in objects.fetch(list(wanted)):
                push = "`trainyard data push`" if wanted[lacking].by == manifest.NAME else "`dvc push`"
                raise self._lacking(
                    wanted[lacking], f"does not have it (as {lacking.key})", f"{push} where the file is"
                )
            for each in ours:
                self.store.add(each.pointer, scratch / each.pointer.oid)

    def _open(self, where: Place) -> Objects:
        if where not in self.opened:
            self.opened[where] = PackedObjects(open_objects(where, self.what), self.store, packs=False)
        return self.opened[where]

    def _lacking(self, item: Item, why: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.what}: {item.by}: {clean(item.path, 200)}: {item.place} {why}", hint=hint)

    def _refuse_too_much(self, size: int) -> None:
        if size > self.extras.data_bytes:
            raise ConfigError(
                f"{self.what}: the files that do not lie in git come to {size >> 20} MB, and "
                f"{self.extras.data_bytes >> 20} MB are allowed",
                hint="raise [repositories] data_mb (they are kept on this disk)",
            )


def store_of(settings: Path, where: str) -> Place:
    """The place that the section `[data]` of a `dataset.toml` names; raises ConfigError."""
    try:
        section = toml.read(settings).get("data", {})
    except FileNotFoundError:
        section = {}
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise ConfigError(
            f"{where}: {SETTINGS} is not TOML: {error!s:.300}", hint="correct the file, and commit"
        ) from None
    given = (
        {key: value for key, value in section.items() if isinstance(value, str)} if isinstance(section, dict) else {}
    )
    if not given.get("store"):
        raise ConfigError(
            f"{where} does not say where the files of {manifest.NAME} are",
            hint=f'[data] store = "s3://bucket/prefix" (or a folder, from the root) in {SETTINGS}; '
            "or [repositories] data_store in trainyard.toml",
        )
    return place.parse(given["store"], given, where)


def batches(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in portions: what a killed process does not have to do again."""
    batch: list[T] = []
    size = 0
    for each in items:
        batch.append(each)
        size += max(size_of(each), 0)
        if len(batch) >= AT_ONCE or size >= AT_ONCE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _file(item: Item, tree: Path) -> File:
    path = tree / item.path
    sha256 = item.pointer.oid if item.pointer.algorithm == "sha256" else sha256_file(path)
    return File(sha256, path.stat().st_size)


def _names(given: Iterable[str]) -> str:
    return ", ".join(sorted(set(given))[:3])
