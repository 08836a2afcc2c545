"""Copies of the three repositories on this machine: a commit's files, and what is new in it, in words."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import TypeVar

from pipelines.repositories.git import FULL_SHA, GitFailed, ask, ask_remote, go_on, shown
from pipelines.text.clean import clean
from registry.errors import ConfigError, PipelineError
from registry.files import TMP, try_lock

T = TypeVar("T")
# A commit gives the same files for everybody, whatever they have set for their own working trees.
AS_COMMITTED = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.attributesFile=/dev/null")
# What was just fetched and a power cut damages is fetched again when it is read; waiting for the disk takes longer.
NO_WAITING = ("-c", "core.fsync=none")
IN_FRONT = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")
# Twice as many workers as cores: git gives each its share of the files beforehand, and one ends before the other.
ON_ALL_CORES = ("-c", f"checkout.workers={2 * (os.cpu_count() or 1)}", "-c", "checkout.thresholdForParallelism=1000")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as a person reads it."""

    sha: str
    author: str
    subject: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new in one repository since the version that is live; `more` commits are not listed."""

    repository: str
    commits: tuple[Commit, ...]
    more: int = 0


class Cache:
    """Bare copies of the repositories, so that a commit once used can be used again, even after a forced push."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bring(self, url: str, commit: str, what: str, target: Path) -> None:
        """`fetch` and `checkout`; mends the copy as `read` does."""
        self.read(url, commit, what, lambda: self.checkout(url, commit, target))

    def read(self, url: str, commit: str, what: str, work: Callable[[], T]) -> T:
        """`fetch`, then what `work` makes of the copy. One that has lost files, or has damaged ones, is made anew, once.

        Raises GitFailed when the copy is whole and git cannot do it all the same.
        """
        copy = _inode(self._repository(url))
        try:
            self.fetch(url, commit, what)
            return work()
        except (ConfigError, GitFailed, FileNotFoundError):  # the last when another one is just changing the copy
            go_on()  # git may have failed because we are asked to end
            if copy in {0, _inode(self._repository(url))} and self._whole(url):
                raise
        self._make_anew(url, commit, what, copy)
        return work()

    def fetch(self, url: str, commit: str, what: str) -> None:
        """Bring `commit` here; raises ConfigError when the repository no longer has it, TryAgain when out of reach."""
        with self._locked(url) as repository:
            self._keep(repository, url, commit, what)

    def _keep(self, repository: Path, url: str, commit: str, what: str) -> None:
        if not FULL_SHA.fullmatch(commit):
            raise ConfigError(f"{what}: {commit!r} is not a full commit id", hint="take it from `git rev-parse`")
        if _words(repository / _own_name(commit)) == [commit]:
            return  # whether its files are all there shows when they are read
        # a name of our own keeps the commit from being collected as garbage; git gives it to what is here only
        give_name = [*NO_WAITING, "update-ref", _own_name(commit), f"{commit}^{{commit}}"]
        try:
            ask(give_name, cwd=repository)
        except GitFailed:
            self._bring(repository, url, commit, what)
            ask(give_name, cwd=repository)
            with suppress(PipelineError):  # it can wait; in the background it would work without our lock
                ask([*IN_FRONT, "maintenance", "run", "--auto", "--quiet"], cwd=repository)

    def _bring(self, repository: Path, url: str, commit: str, what: str) -> None:
        fetch = [*NO_WAITING, "-c", "maintenance.auto=false", "-c", "gc.auto=0", "fetch", "--quiet", "--no-tags"]
        ask_remote([*fetch, "--prune", "--", url, "+refs/heads/*:refs/heads/*"], what, url, cwd=repository)
        if commit not in _words(repository / "FETCH_HEAD") and not self._has(repository, commit):  # no branch's head
            try:  # some servers give a commit that no branch holds
                ask_remote([*fetch, "--", url, commit], what, url, cwd=repository)
            except ConfigError:
                raise ConfigError(
                    f"[repositories] {what}: {shown(url)} does not have commit {commit[:12]}",
                    hint="a forced push removed it: run the pipeline again for the new head",
                ) from None

    def checkout(self, url: str, commit: str, target: Path) -> None:
        """Write the commit's files to `target`, whole or not at all. Symbolic links become small text files.

        Raises TryAgain when the disk is full or does not answer.
        """
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        repository = self._repository(url)
        tmp = Path(tempfile.mkdtemp(dir=target.parent, prefix=TMP))
        try:
            index = {"GIT_INDEX_FILE": str(tmp.absolute() / "index")}
            tree = tmp / "tree"
            tree.mkdir()
            base = [*AS_COMMITTED, *ON_ALL_CORES, "-c", "core.symlinks=false", "-c", "core.bare=false"]
            base += ["--git-dir", str(repository.absolute()), "--work-tree", str(tree.absolute())]
            ask([*base, "read-tree", commit], extra=index, cwd=tree)
            ask([*base, "checkout-index", "--all", "--force"], extra=index, cwd=tree)
            tree.rename(target)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)

    def changes(self, url: str, old: str | None, new: str, what: str, most: int = 10) -> Changes:
        """The newest commits up to `new` that `old` does not have; without a usable `old`, just the last one."""
        if old == new:
            return Changes(what, ())
        out = self._log(self._repository(url), old, new)
        rows = [line.split("\x1f", 2) for line in out.split("\0") if line]
        commits = [Commit(sha, clean(author), clean(subject)) for sha, author, subject in rows]
        return Changes(what, tuple(commits[:most]), max(len(commits) - most, 0))

    def _log(self, repository: Path, old: str | None, new: str) -> str:
        log = ["log", "-z", "--format=%H%x1f%an%x1f%s"]
        if old and FULL_SHA.fullmatch(old):
            try:
                return ask([*log, f"{old}..{new}", "--"], cwd=repository)
            except GitFailed:
                if self._has(repository, old):
                    raise
        return ask([*log, "--max-count=1", new, "--"], cwd=repository)

    def content(self, url: str, commit: str, unimportant: Sequence[str]) -> str:
        """A digest of the commit's files, names and bytes, without those that match a pattern in `unimportant`."""
        listed = ask(["-c", "core.quotePath=true", "ls-tree", "-r", "--full-tree", commit], cwd=self._repository(url))
        matches = _any_of(unimportant)
        kept = [row for row in listed.splitlines() if not matches(row.partition("\t")[2].strip('"'))]
        return hashlib.sha256("\n".join(kept).encode()).hexdigest()

    def older(self, url: str, commit: str, than: str) -> bool:
        """Whether `than` came after `commit`, by their history; False when that is not known here."""
        try:
            ask(["merge-base", "--is-ancestor", commit, than], cwd=self._repository(url))
        except (GitFailed, FileNotFoundError):
            return False
        return commit != than

    def _repository(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"

    def _has(self, repository: Path, commit: str) -> bool:
        try:
            ask(["cat-file", "-e", f"{commit}^{{commit}}"], cwd=repository)
        except GitFailed:
            return False
        return True

    def _whole(self, url: str) -> bool:
        """Whether all that the copy should have is there, as it was; slow, as it reads every object."""
        try:
            ask(["fsck", "--full", "--no-dangling", "--no-progress"], cwd=self._repository(url))
        except (GitFailed, OSError):
            go_on()
            return False
        return True

    def _make_anew(self, url: str, commit: str, what: str, copy: int) -> None:
        """The copy stays until the new one has the commit: what else it has may be nowhere else."""
        with self._locked(url) as repository, self._scratch(repository) as tmp:
            if copy not in {0, _inode(repository)}:  # another reader has just done it, and now reads
                self._keep(repository, url, commit, what)
                return
            new = Path(tmp) / "new"
            ask(["init", "--quiet", "--bare", "new"], cwd=Path(tmp))
            self._keep(new, url, commit, what)
            repository.rename(Path(tmp) / "old")  # at once, for those who read without the lock
            new.rename(repository)

    def _scratch(self, repository: Path) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{TMP}{repository.stem}-")

    @contextmanager
    def _locked(self, url: str) -> Iterator[Path]:
        repository = self._repository(url)
        self.folder.mkdir(parents=True, exist_ok=True)
        with Path(f"{repository}.lock").open("w", encoding="utf-8") as lock:
            while not try_lock(lock):  # who waits inside flock hears no SIGTERM, as that comes to the main thread
                go_on(0.01)
            for left in self.folder.glob(f"{TMP}{repository.stem}-*"):  # only we work here: of one that was killed
                shutil.rmtree(left, ignore_errors=True)
            if not repository.exists():
                with self._scratch(repository) as tmp:
                    ask(["init", "--quiet", "--bare", "new"], cwd=Path(tmp))
                    (Path(tmp) / "new").rename(repository)
            for place in ("*.lock", "objects/*.lock", "refs/**/*.lock"):
                for left in repository.glob(place):
                    left.unlink(missing_ok=True)
            yield repository


def _own_name(commit: str) -> str:
    return f"refs/trainyard/{commit}"


def _inode(folder: Path) -> int:
    """Which folder it is that has this name now; 0 when none has."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0


def _words(path: Path) -> list[str]:
    """What git has written to a file of its own; nothing when it has not."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []


def _any_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path matches one of the patterns: those with a `/` as a whole, others by its name."""
    whole, name = (
        re.compile("|".join(translate(each) for each in patterns if ("/" in each) == slash) or "(?!)")
        for slash in (True, False)
    )
    return lambda path: bool(whole.match(path) or name.match(path.rpartition("/")[2]))
