"""A local copy of what the API of one model reads in a registry that does not lie on this machine.

    keys/  production/<model>/{approvals,releases,heads}/    all records
    production/<model>/<version>/                            the files of what is live, and of what was good before it

What is copied is a registry in a folder: who reads it verifies it as any other. A release appears in it when all that it
needs is there. Records only ever come; of the versions, those that were released last are kept.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registry import candidates, codec, version_files
from registry.chain import Chain
from registry.errors import Corrupt
from registry.folder import FolderStore
from registry.keyring import FOLDER as KEYS
from registry.records import Candidate, Release
from registry.releases import release_chain
from registry.stores import GetsChanges, Store, get_all
from registry.undo import good_before

KEPT = 5
"""Versions: as many as the API remembers as good."""
AT_ONCE = 8
log = logging.getLogger(__name__)


class Mirror:
    """See the module. Only one process may update a folder at a time."""

    def __init__(self, store: Store, model: str, folder: Path) -> None:
        """`folder`: absolute; it appears with the first record."""
        self._source, self._model, self._folder = store, model, folder
        self._copy = FolderStore(f"file://{folder}")
        self._production = f"production/{model}"
        self._releases = release_chain(self._copy, model)
        self._history: list[Release] | None = None
        self._tags: dict[str, tuple[str, str]] = {}
        """Folder → the record in it that was compared last and was as it was copied, and the store's tag of that."""

    @property
    def newest(self) -> int:
        """The number of the newest release that is there; 0: none is."""
        return self._releases.last()

    def update(self) -> int:
        """Copy what is new; the number of the newest release.

        Raises TryAgain when the registry is out of reach or a disk full, Corrupt when it is another one than the one that was
        copied, or was set back. Whatever it raises, the copy is whole, and the next call resumes.
        """
        number = self.newest
        self._must_be_the_same(KEYS, 1)
        self._must_be_the_same(self._releases.folder, number)
        # What names others is read before them, and written after them.
        folders = [f"{self._production}/heads", self._releases.folder, f"{self._production}/approvals", KEYS]
        new = {folder: dict(self._new_in(folder)) for folder in folders}
        for folder in reversed(folders):
            if folder == self._releases.folder and new[folder]:
                self._copy_versions(self._decoded(new[folder]))
            for name, data in new[folder].items():
                self._copy.create(name, data)
        return self.newest

    def _must_be_the_same(self, folder: str, number: int) -> None:
        """Raise Corrupt unless the registry holds the bytes of this record that were copied, if it was."""
        name = f"{folder}/{number:06d}.json"
        try:
            known = self._copy.get(name) if number else None
        except FileNotFoundError:
            return
        try:
            found = self._source_of(folder, name, known) if known is not None else None
        except FileNotFoundError:
            found = b""
        if found != known:
            raise Corrupt(
                f"{name}: is {'not the one that was' if found else 'missing, though it was'} followed until now: the registry "
                "was set back, or it is another one",
                hint=f"`trainyard registry verify` says what is wrong; if it is as it should be, stop the API, remove "
                f"{self._folder}, and start it again",
            )

    def _source_of(self, folder: str, name: str, known: bytes) -> bytes:
        """What the source holds under a name; its bytes only travel when they are not `known`, as far as the store can say."""
        if not isinstance(self._source, GetsChanges):
            return self._source.get(name)
        before, tag = self._tags.get(folder, ("", ""))
        answer = self._source.get_unless(name, tag if before == name else "")
        if answer is None:
            return known
        if answer[0] == known:
            self._tags[folder] = name, answer[1]
        return answer[0]

    def _new_in(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of the records after the last one that was copied; one request when there is none."""
        chain = Chain(self._source, Release, folder)  # for names and numbers only, whatever the records are
        last = Chain(self._copy, Release, folder).last()
        try:
            data = self._source.get(first := chain.name(last + 1))
        except FileNotFoundError:
            return
        yield first, data
        names = [chain.name(number) for number in range(last + 2, chain.last() + 1)]
        yield from zip(names, get_all(self._source, names), strict=True)

    def _decoded(self, new: dict[str, bytes]) -> list[Release]:
        """The whole history, with the new releases."""
        if self._history is None or len(self._history) != self.newest:
            self._history = self._releases.read_all()
        found = [codec.from_json(Release, data, name, checksum_required=True) for name, data in new.items()]
        return [*self._history, *found]

    def _copy_versions(self, history: list[Release]) -> None:
        """Have the files of what is live, and of what was before it; drop those of versions that were released long ago."""
        for release in (history[-1], good_before(history)):
            if release and release.version is not None:
                self._copy_version(release.version)
        self._history = history
        kept = list(dict.fromkeys(each.version for each in reversed(history) if each.version is not None))[:KEPT]
        self._drop_all_but({str(each) for each in kept})

    def _copy_version(self, version: int) -> None:
        """What is lost or altered is left out: who loads the version reports it."""
        folder = f"{self._production}/{version}"
        there = self._copied(folder)
        try:
            card = self._source.get(f"{folder}/card.json")
            manifest = codec.from_json(Candidate, card, f"{folder}/card.json", checksum_required=True)
        except (FileNotFoundError, Corrupt) as error:
            log.warning("version %s cannot be copied: %s", version, error)
            return
        wanted = [name for name in manifest.files if name not in there]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            paths = pool.map(lambda name: self._path(f"{folder}/{name}"), wanted)
            files = {name: (path, manifest.files[name]) for name, path in zip(wanted, paths, strict=True) if path}
        version_files.store_all(self._copy, folder, files)
        if "card.json" not in there:
            self._copy.create(f"{folder}/card.json", card)

    def _path(self, name: str) -> Path | None:
        try:
            return self._source.path(name)
        except (FileNotFoundError, Corrupt) as error:
            log.warning("%s cannot be copied: %s", name, error)
            return None

    def _copied(self, folder: str) -> set[str]:
        """The names of the files that are in `folder`."""
        root = self._folder / folder
        return {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()}

    def _drop_all_but(self, versions: set[str]) -> None:
        """Remove the files of all other versions, and the bytes that have no name left."""
        for each in (self._folder / self._production).glob("*"):
            if candidates.is_version(f"{each.name}/") and each.name not in versions:
                shutil.rmtree(each, ignore_errors=True)
        for path in (self._folder / ".store" / "objects").glob("*/*"):
            if os.stat(path).st_nlink == 1:
                path.unlink(missing_ok=True)
