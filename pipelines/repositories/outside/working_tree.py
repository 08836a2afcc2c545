"""A person's clone of a dataset repository: what `trainyard data add` puts into the manifest, and what differs from it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pipelines.repositories import git
from pipelines.repositories.outside import manifest, paths
from pipelines.repositories.outside.manifest import File, Manifest
from pipelines.repositories.outside.stat_cache import StatCache
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import write_whole

FOLDER = "trainyard"
"""In git's own folder: what is known of the files, and objects that no file of the working tree has now."""
IGNORED = ".gitignore"
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Status:
    """What is on the disk, beside what the manifest says; paths, sorted."""

    unchanged: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    """In a folder of the manifest, and not in it."""


class WorkingTree:
    """The working tree around a folder."""

    def __init__(self, here: Path) -> None:
        """Raises ConfigError when `here` is not in a git working tree."""
        try:
            out = git.run(["rev-parse", "--show-toplevel", "--absolute-git-dir", "--git-common-dir"], cwd=here)
        except git.GitFailed as error:
            raise ConfigError(f"{here}: {error}", hint="go to a clone of the dataset repository") from None
        top, own, common = out.splitlines()
        self.root, self.here = Path(top), here.resolve()
        self.own, self.common = Path(own) / FOLDER, (here / common).resolve() / FOLDER
        self.cache = StatCache(self.own / "files.json")

    @cached_property
    def manifest(self) -> Manifest:
        """What `dataset.lock` says here; empty without one."""
        try:
            return manifest.parse((self.root / manifest.NAME).read_bytes())
        except FileNotFoundError:
            return Manifest()

    def status(self) -> Status:
        """Compare the disk with the manifest; files whose size and times are known are not read."""
        found = self._on_disk(self.manifest)
        unclear = {
            path: status
            for path, status in found.items()
            if path in self.manifest.files and status.st_size == self.manifest.files[path].size
        }
        digests = self.cache.read(self.root, unclear)
        files = self.manifest.files
        same = {path for path, digest in digests.items() if digest == files[path].sha256}
        new = found.keys() - files.keys()
        if new:
            new -= set(self._in_git(self.manifest.folders))
        return Status(
            unchanged=tuple(sorted(same)),
            changed=tuple(sorted(found.keys() & files.keys() - same)),
            missing=tuple(sorted(files.keys() - found.keys())),
            new=tuple(sorted(new)),
        )

    def add(self, given: Sequence[str]) -> tuple[Manifest, Manifest]:
        """Have the manifest say what is on the disk at these paths, a folder's files and what is gone as well, and have git
        ignore them; the manifest before and after.

        Raises ConfigError for what cannot be in it, TryAgain for a file that changes meanwhile.
        """
        before = self.manifest
        names = [self._relative(each) for each in given]
        self._refuse_in_git(names)
        folders = {each for each in names if (self.root / each).is_dir()}
        gone = [each for each in names if not os.path.lexists(self.root / each)]
        for each in gone:
            if not any(path == each or path.startswith(f"{each}/") for path in (*before.files, *before.folders)):
                raise ConfigError(f"{each}: there is no such file, here or in {manifest.NAME}", hint="check its name")
        kept = {path: file for path, file in before.files.items() if not _is_below(path, names)}
        after = {each for each in before.folders if not _is_below(each, names)} | folders
        after = {each for each in after if not _is_below(each, after - {each})}
        found = self._on_disk(Manifest({each: File("", 0) for each in names if each not in gone}, frozenset(folders)))
        paths.refuse((*kept, *found), manifest.NAME)
        digests = self.cache.read(self.root, found)
        kept |= {path: File(digest, found[path].st_size) for path, digest in digests.items()}
        made = Manifest(kept, frozenset(after))
        self._ignore([each for each in names if each not in gone], folders, gone)
        write_whole(self.root / manifest.NAME, made.render())
        self.cache.save()
        self.manifest = made
        return before, made

    def _relative(self, given: str) -> str:
        """The path in the repository; raises ConfigError for one outside, or for the repository as a whole."""
        path = Path(os.path.normpath(self.here / given))
        if not path.is_relative_to(self.root) or path == self.root:
            raise ConfigError(
                f"{clean(given, 200)}: not a file or a folder below {self.root}", hint="name what is to lie outside git"
            )
        name = path.relative_to(self.root).as_posix()
        if wrong := paths.problem(name):
            raise ConfigError(f"{clean(name, 200)!r} {wrong}", hint="rename it")
        return name

    def _on_disk(self, wanted: Manifest) -> dict[str, os.stat_result]:
        """The files of the manifest, and all below its folders. Raises ConfigError for a link, or what is not a file."""
        found: dict[str, os.stat_result] = {}
        wrong: list[str] = []
        for folder in wanted.folders:
            for name, status in _walk(f"{self.root}/", f"{folder}/"):
                if stat.S_ISREG(status.st_mode):
                    found[name] = status
                else:
                    wrong.append(name)
        for name in wanted.files:
            if name not in found and not _is_below(name, wanted.folders):
                try:
                    status = os.lstat(f"{self.root}/{name}")
                except (FileNotFoundError, NotADirectoryError):
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[name] = status
                elif not stat.S_ISDIR(status.st_mode):
                    wrong.append(name)
        if wrong:
            raise ConfigError(
                f"{named(wrong)}: a link, or not a file", hint="put the file itself there: links are not followed"
            )
        return found

    def _in_git(self, names: Iterable[str]) -> list[str]:
        given = [f":(literal,top){each}" for each in names]
        if not given:
            return []
        out = git.run_bytes(["ls-files", "-z", "--full-name", "--", *given], cwd=self.root)
        return [os.fsdecode(each) for each in out.split(b"\0")[:-1]]

    def _refuse_in_git(self, names: Sequence[str]) -> None:
        if tracked := self._in_git(names):
            raise ConfigError(
                f"{named(tracked)}: in git already",
                hint=f"`git rm -r --cached {' '.join(names[:SHOWN])}` takes it out of the next commit and keeps the file here",
            )

    def _ignore(self, names: Sequence[str], folders: set[str], gone: Sequence[str]) -> None:
        """Have git ignore these paths, and no longer those that are gone."""
        path = self.root / IGNORED
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            text = ""
        lines = text.splitlines()
        removed = {_rule(each, is_folder=kind) for each in gone for kind in (True, False)}
        kept = [each for each in lines if each not in removed]
        added = dict.fromkeys(_rule(each, is_folder=each in folders) for each in names)
        kept += [each for each in added if each not in kept]
        if kept != lines:
            write_whole(path, "".join(f"{each}\n" for each in kept).encode("utf-8", "surrogateescape"))


def _rule(path: str, *, is_folder: bool) -> str:
    """What names just this path in `.gitignore`."""
    escaped = re.sub(r"([\\*?\[\]#! ])", r"\\\1", path)
    return f"/{escaped}{'/' if is_folder else ''}"


def _walk(root: str, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a folder but folders, with paths below `root`."""
    waiting = [folder]
    while waiting:
        inside = waiting.pop()
        try:
            listed = os.scandir(root + inside)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with listed:
            for entry in listed:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{inside}{entry.name}/")
                else:
                    yield inside + entry.name, entry.stat(follow_symlinks=False)


def _is_below(path: str, names: Iterable[str]) -> bool:
    """Whether the path is one of the names, or below one."""
    return any(path == each or path.startswith(f"{each}/") for each in names)


def named(names: Sequence[str]) -> str:
    """A few of the names, for a message."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(clean(each, 100) for each in sorted(names)[:SHOWN]) + more


def known_files(before: Mapping[str, File], after: Mapping[str, File]) -> tuple[int, int, int]:
    """How many files are new, changed and gone."""
    changed = sum(1 for path in before.keys() & after.keys() if before[path] != after[path])
    return len(after.keys() - before.keys()), changed, len(before.keys() - after.keys())
