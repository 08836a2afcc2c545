"""A commit's files, complete or refused: what Git LFS keeps elsewhere and the submodules are fetched when the settings say so;
of a dataset also what its manifest, or DVC, keeps outside git."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from pipelines.repositories import addresses, git
from pipelines.repositories.addresses import Address
from pipelines.repositories.checkout import Checkout
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.outside.manifest import NAME, Manifest
from pipelines.repositories.tree import DVC_CONFIG, Extras, Tree, any_of, refuse_lacks
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError

DATASET = "dataset"
"""The only one of the three that may have files outside git: code and tests read no data of their own."""
DEEPEST, MOST = 5, 50
"""Submodules of submodules, and of one commit altogether."""


class Clones(Protocol):
    """What is needed of the clones."""

    strangers: set[str]
    """URLs on other hosts than the repository that names them: they do not get its login."""

    def look(self, url: str, commit: str, what: str, scratch: Path) -> Tree:
        """What the commit's files name without having it."""

    def checkout(self, url: str, commit: str, target: Path, what: str = "") -> Checkout:
        """The commit's own files, those of the folder that is `what`, to be written as `target`."""

    def fetch_files(self, url: str, what: str, files: Checkout) -> None:
        """Write them."""


@dataclass(slots=True)
class Bringer:
    """Brings the files of one commit into a folder that is thrown away when that fails."""

    clones: Clones
    extras: Extras
    store: ObjectStore
    data: ObjectStore
    """What does not lie in git, beside Git LFS."""
    manifest: Manifest | None = None
    """What of the dataset did not lie in git, once it was brought; None: all of it did."""
    _brought: int = 0

    def bring(self, url: str, commit: str, what: str, scratch: Path, depth: int = 0) -> Path:
        """The folder with the files, below `scratch`, a folder on the disk where they will be.

        Raises ConfigError for what is not there, cannot be fetched or is not allowed, with what to do; TryAgain for a
        server that is out of reach.
        """
        tree = scratch / "tree"
        with self.clones.checkout(url, commit, tree, what) as files:
            found = self.clones.look(url, commit, what, scratch)
            refuse_lacks(found, self.extras, what, commit)
            self.clones.fetch_files(url, what, files)
        _refuse_merged(found, tree, what)
        if found.dvc_config and what == DATASET:
            (tree / DVC_CONFIG).parent.mkdir(exist_ok=True)
            (tree / DVC_CONFIG).write_bytes(found.dvc_config)
        unimportant = any_of(self.extras.unimportant)
        pointers = {name: each for name, each in found.pointers.items() if not unimportant(name)}
        if pointers and self.extras.lfs:
            from pipelines.repositories.lfs import Lfs  # with all that speaks HTTP: most repositories need none of it

            (scratch / "objects").mkdir()
            Lfs(self.store, self.extras, what, url).bring(pointers, found.lfs, tree, scratch / "objects")
        if what == DATASET and (found.dvc or (tree / NAME).is_file()):
            from pipelines.repositories.outside.fetch import OutsideGit  # with all that speaks to stores, likewise

            self.manifest = OutsideGit(self.data, self.extras, what, url).bring(found, tree, scratch)
        if self.extras.submodules:
            for name, inside in found.submodules.items():
                if not unimportant(name):
                    shown = f"{what}{git.SUBMODULE}{clean(name, 100)}"
                    made = self._submodule(
                        address_of(found, url, name, shown, self.extras), inside, shown, scratch, depth
                    )
                    (tree / name).rmdir()  # git has made it, empty, in place of the submodule
                    made.rename(tree / name)
        return tree

    def _submodule(self, place: tuple[Address, Address], commit: str, what: str, scratch: Path, depth: int) -> Path:
        """The submodule's files, of the first of the two addresses; the repository that names it is at the second."""
        self._brought += 1
        if depth >= DEEPEST or self._brought > MOST:
            raise ConfigError(
                f"[repositories] {what}: more than {DEEPEST} submodules in each other, or {MOST} altogether",
                hint="put the files themselves into the repository",
            )
        address, here = place
        url = str(address)
        if address.scheme and not addresses.is_same_host(address, here):
            self.clones.strangers.add(url)
        below = scratch / f"submodule-{self._brought}"
        below.mkdir()
        return self.bring(url, commit, what, below, depth + 1)


def _refuse_merged(found: Tree, tree: Path, what: str) -> None:
    """Raise ConfigError when two files have become one on this disk."""
    for one, other in found.alike:
        if os.path.samefile(tree / one, tree / other):
            raise ConfigError(
                f"[repositories] {what}: {clean(one, 100)} and {clean(other, 100)} are one file on this disk",
                hint="rename one of them, or set home to a folder on a disk where upper and lower case differ",
            )


def address_of(found: Tree, parent: str, name: str, what: str, extras: Extras) -> tuple[Address, Address]:
    """Where `.gitmodules` says the submodule is, and where the repository is; raises ConfigError when it does not, or may not name that."""
    written = found.modules.get(name, "")
    if not written:
        raise ConfigError(
            f"[repositories] {what}: .gitmodules does not say where it is",
            hint="a clone was added as if it were a folder: `git submodule add URL` it, or add its files without its .git",
        )
    here, shown = addresses.parse(parent), git.redact(written)
    address = addresses.resolved(written, here) if here else None
    if here is None or address is None:
        raise ConfigError(
            f"[repositories] {what}: .gitmodules names {shown}, from which nothing is fetched",
            hint="name a repository by https or ssh, or relative to this one (../NAME.git)",
        )
    if not addresses.is_allowed(address, here, extras.trusted):
        raise ConfigError(
            f"[repositories] {what}: .gitmodules names {shown}, which is not beside the repository itself ({here.place})",
            hint=f'if it may be fetched: add "{address.place}" to [repositories] trusted; '
            f"else name one of the same host or folder there, e.g. ../NAME.git",
        )
    return address, here
