"""Push and pull: the objects of a working tree's manifest to its store, and back.

Objects that no file of the working tree has any more are kept in git's own folder, where each is once: another commit's
files come from there, without the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from pipelines.repositories import git
from pipelines.repositories.lfs_store import ObjectStore, is_named_by
from pipelines.repositories.outside.fetch import batches
from pipelines.repositories.outside.manifest import NAME, File
from pipelines.repositories.outside.packs import PackedObjects
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.source import Sent, Wanted, key_of, open_objects
from pipelines.repositories.outside.working_tree import Status, WorkingTree, named
from pipelines.repositories.regular_file import copy_regular
from pipelines.repositories.tree import Pointer
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes, write_whole

USERS = "repositories"
"""In a store: one name for each repository that was pushed to it."""
Show = Callable[[int, int], None]
"""Is given how many files are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many objects were sent or brought, their bytes, and how many there are altogether."""

    moved: int
    bytes: int
    files: int


class Exchange:
    """A working tree and its store."""

    def __init__(self, tree: WorkingTree, place: Place) -> None:
        self.tree, self.place = tree, place
        self.kept = tree.common / "objects"
        self._pushed = tree.common / f"in-store-{sha256_bytes(repr(place).encode())[:16]}"

    @cached_property
    def objects(self) -> PackedObjects:
        """The store's objects; in a bucket, where each request costs, small ones are packed."""
        return PackedObjects(open_objects(self.place, NAME), ObjectStore(self.kept), packs=bool(self.place.bucket))

    def pushed(self) -> set[str]:
        """The SHA-256 of what is known to be in the store."""
        try:
            return set(self._pushed.read_text(encoding="ascii").split())
        except FileNotFoundError:
            return set()

    def unpushed(self) -> list[str]:
        """Files of the manifest whose bytes are not known to be in the store."""
        pushed = self.pushed()
        return sorted(path for path, file in self.tree.manifest.files.items() if file.sha256 not in pushed)

    def forget_pushed(self) -> None:
        """Ask the store anew what it has."""
        self._pushed.unlink(missing_ok=True)

    def push(self, show: Show) -> Outcome:
        """Send what the store does not have; what was sent stays sent when this is interrupted.

        Raises ConfigError for files that have changed since they were added, or are neither here nor there.
        """
        files, status = self.tree.manifest.files, self.tree.status()
        pushed = self.pushed()
        if changed := [each for each in status.changed if files[each].sha256 not in pushed]:
            raise ConfigError(
                f"{named(changed)}: changed since `trainyard data add`, and not in the store as it was then",
                hint="`trainyard data add` it again, and commit; or put the file back as it was",
            )
        wanted = {file.sha256: path for path, file in files.items() if file.sha256 not in pushed}
        here = {files[path].sha256: self.tree.root / path for path in status.unchanged}
        for sha256 in wanted.keys() - here.keys():
            if (kept := self._kept(sha256)).exists():
                here[sha256] = kept
        elsewhere = wanted.keys() - here.keys()
        self._must_be_in_store([path for path, file in files.items() if file.sha256 in elsewhere])
        objects, done, moved, size = self.objects, 0, 0, 0
        todo = [Sent(key_of(each), here[each], files[path].size, each) for each, path in wanted.items() if each in here]
        for batch in batches([*(self._own_names(pushed) if files else ()), *todo], lambda each: each.size):
            created = [each for each in objects.send(batch) if not each.key.startswith(USERS)]
            done, moved, size = done + len(batch), moved + len(created), size + sum(each.size for each in created)
            self._note(each.key.rpartition("/")[2] for each in batch)
            show(min(done, len(todo)), len(todo))
        self.tree.cache.save()
        return Outcome(moved, size, len(files))

    def _own_names(self, known: set[str]) -> list[Sent]:
        """What has the store name this repository, so that nobody takes its objects for what no commit names."""
        names = []
        for commit in sorted(set(first_commits(self.tree)) - known):
            data, note = commit.encode("ascii"), self.tree.own / f"first-commit-{commit}"
            write_whole(note, data)
            names.append(Sent(f"{USERS}/{commit}", note, len(data), sha256_bytes(data)))
        return names

    def _must_be_in_store(self, names: Sequence[str]) -> None:
        """Raise ConfigError for files that are not here, unless the store has them."""
        files = self.tree.manifest.files
        if not names:
            return
        there = self.objects.present([*{key_of(files[each].sha256) for each in names}])
        self._note(files[each].sha256 for each in names if key_of(files[each].sha256) in there)
        if lost := [each for each in names if key_of(files[each].sha256) not in there]:
            raise ConfigError(
                f"{named(lost)}: neither here nor in the store ({self.place})",
                hint="push where the file is; or `trainyard data add` it as it is here, also when it is gone, and commit",
            )

    def pull(self, show: Show, *, force: bool = False) -> Outcome:
        """Have the working tree hold what the manifest says; what was brought stays when this is interrupted.

        Raises ConfigError for files with changes that are nowhere else (unless `force`), and for what the store lacks.
        """
        files, status = self.tree.manifest.files, self.tree.status()
        if not force:
            self._refuse_to_lose(status)
        self._set_aside([*status.changed, *self._left_over(status)])
        wanted: dict[str, list[str]] = {}
        for path in (*status.missing, *status.changed):
            wanted.setdefault(files[path].sha256, []).append(path)
        total, done = sum(map(len, wanted.values())), 0
        here = {files[path].sha256: path for path in status.unchanged}
        for sha256 in [each for each in wanted if each in here]:
            self._put(self.tree.root / here[sha256], wanted.pop(sha256), sha256, keep=True)
        for sha256 in [each for each in wanted if self._is_kept(each, files[wanted[each][0]])]:
            self._put(self._kept(sha256), wanted.pop(sha256), sha256)
        moved = size = 0
        done = total - sum(map(len, wanted.values()))
        for batch in batches(list(wanted), lambda each: files[wanted[each][0]].size):
            for sha256 in self._fetch([(each, files[wanted[each][0]].size, wanted[each][0]) for each in batch]):
                self._put(self._kept(sha256), wanted[sha256], sha256)
                moved, size = moved + 1, size + files[wanted[sha256][0]].size
                done += len(wanted[sha256])
            show(done, total)
            self.tree.cache.save()
        self.tree.cache.save()
        return Outcome(moved, size, len(files))

    def _fetch(self, items: Sequence[tuple[str, int, str]]) -> list[str]:
        """Bring objects (SHA-256, size, path) to where they are kept; raises ConfigError or Corrupt."""
        for sha256, _size, _path in items:
            self._kept(sha256).parent.mkdir(parents=True, exist_ok=True)
        wanted = {Wanted(key_of(each), self._kept(each), size): (each, path) for each, size, path in items}
        lacking = self.objects.fetch(list(wanted))
        for each in lacking:
            raise ConfigError(
                f"{clean(wanted[each][1], 200)}: {self.place} does not have it (as {each.key})",
                hint="`trainyard data push` where the file is, then pull again",
            )
        for each, (sha256, path) in wanted.items():
            if not is_named_by(each.into, Pointer(sha256, each.most)):
                each.into.unlink()
                raise Corrupt(
                    f"{clean(path, 200)}: {self.place} gives other bytes than {each.key} names",
                    hint="remove that object from the store, and `trainyard data push --all` where the file is",
                )
        self._note(sha256 for sha256, _path in wanted.values())
        return [sha256 for sha256, _path in wanted.values()]

    def _put(self, source: Path, targets: Sequence[str], sha256: str, *, keep: bool = False) -> None:
        """Have these paths hold the bytes of `source`, which goes away unless we are to `keep` it."""
        for number, path in enumerate(targets, 1):
            target = self.tree.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if number == len(targets) and not keep:
                source.chmod(0o644)
                source.replace(target)
            else:
                new = target.with_name(f".trainyard-{os.getpid()}-{target.name}"[:200])
                copy_regular(source, new)
                new.replace(target)
            self.tree.cache.keep(path, target.stat(), sha256)

    def _refuse_to_lose(self, status: Status) -> None:
        pushed = self.pushed()
        lost = [path for path, sha256 in self._digests(status.changed).items() if sha256 not in pushed]
        if lost:
            raise ConfigError(
                f"{named(lost)}: changed here, and not in the store as it is now",
                hint="`trainyard data add` and `trainyard data push` keep the change; `trainyard data pull --force` discards it",
            )

    def _left_over(self, status: Status) -> list[str]:
        """Files that an earlier manifest had, as it had them: they are in the store, and the manifest has them no more."""
        pushed = self.pushed()
        root, cache = self.tree.root, self.tree.cache
        return [
            path
            for path in status.new
            if path in cache.known and cache.get(path, os.lstat(root / path)) in pushed
        ]  # fmt: skip

    def _set_aside(self, names: Sequence[str]) -> None:
        """Move files to where objects are kept."""
        for path, sha256 in self._digests(names).items():
            self._kept(sha256).parent.mkdir(parents=True, exist_ok=True)
            (self.tree.root / path).replace(self._kept(sha256))
        self.tree.cache.forget(names)

    def _digests(self, names: Sequence[str]) -> dict[str, str]:
        return self.tree.cache.read(self.tree.root, {each: os.lstat(self.tree.root / each) for each in names})

    def _is_kept(self, sha256: str, file: File) -> bool:
        """Whether the object is here and whole; one that is not goes."""
        path = self._kept(sha256)
        if not path.exists():
            return False
        if is_named_by(path, Pointer(sha256, file.size)):
            return True
        path.unlink()
        return False

    def _kept(self, sha256: str) -> Path:
        return self.kept / sha256[:2] / sha256

    def _note(self, digests: Iterable[str]) -> None:
        """Remember what is in the store."""
        lines = "".join(f"{each}\n" for each in digests)
        if lines:
            self._pushed.parent.mkdir(parents=True, exist_ok=True)
            with self._pushed.open("a", encoding="ascii") as file:
                file.write(lines)


def first_commits(tree: WorkingTree) -> list[str]:
    """What a repository is known by: its first commits; none in a repository without any."""
    try:
        return git.run(["rev-list", "--max-parents=0", "HEAD"], cwd=tree.root).split()
    except git.GitFailed:
        return []


def kept_objects(folder: Path) -> dict[str, tuple[Path, int]]:
    """SHA-256 → file and bytes, of what is kept in a folder of objects."""
    return {each.name: (each, each.stat().st_size) for each in folder.glob("??/*")} if folder.is_dir() else {}
