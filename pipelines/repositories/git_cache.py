"""Bare clones of the three repositories on this machine: a commit's files, and the commits since another one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import translate
from pathlib import Path
from typing import TypeVar

from pipelines.repositories import git
from pipelines.repositories.changes import Changes, Commit
from pipelines.repositories.git import FULL_SHA, GitFailed
from pipelines.text.clean import clean
from registry.errors import ConfigError, PipelineError
from registry.files import TMP, try_lock

T = TypeVar("T")
# A commit gives the same files for everybody, whatever they have set for their own working trees.
AS_COMMITTED = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.attributesFile=/dev/null")
# Waiting for the disk takes long, and what a power cut damages is fetched again when it is read.
NO_FSYNC = ("-c", "core.fsync=none")
FOREGROUND = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")
# Twice as many processes as cores: git splits the files among them beforehand, and some end earlier.
ON_ALL_CORES = ("-c", f"checkout.workers={2 * (os.cpu_count() or 1)}", "-c", "checkout.thresholdForParallelism=1000")


class GitCache:
    """Bare clones of the repositories. A commit that was fetched once stays, even after a forced push."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch_and_checkout(self, url: str, commit: str, what: str, target: Path) -> None:
        """`fetch`, then `checkout`; repairs the clone as `read` does."""
        self.read(url, commit, what, lambda: self.checkout(url, commit, target))

    def read(self, url: str, commit: str, what: str, work: Callable[[], T]) -> T:
        """`fetch`, then `work`, which reads the clone. A clone with missing or damaged files is replaced, once.

        Raises GitFailed when the clone is intact and git fails all the same.
        """
        clone = _inode(self._repository(url))
        try:
            self.fetch(url, commit, what)
            return work()
        except (ConfigError, GitFailed, FileNotFoundError):  # the last when another process is replacing the clone
            git.raise_if_stopping()  # which may be why git failed
            if clone in {0, _inode(self._repository(url))} and self._intact(url):
                raise
        self._clone_again(url, commit, what, clone)
        return work()

    def fetch(self, url: str, commit: str, what: str) -> None:
        """Fetch `commit`; raises ConfigError when the repository no longer has it, TryAgain when it is out of reach."""
        with self._locked(url) as repository:
            self._pin(repository, url, commit, what)

    def _pin(self, repository: Path, url: str, commit: str, what: str) -> None:
        """Give the commit a ref, which protects it from garbage collection; fetch it if need be."""
        if not FULL_SHA.fullmatch(commit):
            raise ConfigError(f"{what}: {commit!r} is not a full commit id", hint="take it from `git rev-parse`")
        if _words_of(repository / _ref(commit)) == [commit]:
            return  # whether all of its files are there shows when they are read
        pin = [*NO_FSYNC, "update-ref", _ref(commit), f"{commit}^{{commit}}"]
        try:
            git.run(pin, cwd=repository)
        except GitFailed:
            self._fetch(repository, url, commit, what)
            git.run(pin, cwd=repository)
            with suppress(PipelineError):  # it can wait; in the background it would run without our lock
                git.run([*FOREGROUND, "maintenance", "run", "--auto", "--quiet"], cwd=repository)

    def _fetch(self, repository: Path, url: str, commit: str, what: str) -> None:
        fetch = [*NO_FSYNC, "-c", "maintenance.auto=false", "-c", "gc.auto=0", "fetch", "--quiet", "--no-tags"]
        git.run_remote([*fetch, "--prune", "--", url, "+refs/heads/*:refs/heads/*"], what, url, cwd=repository)
        if commit not in _words_of(repository / "FETCH_HEAD") and not self._has(
            repository, commit
        ):  # not the head of a branch
            try:  # some servers serve a commit that no branch holds
                git.run_remote([*fetch, "--", url, commit], what, url, cwd=repository)
            except ConfigError:
                raise ConfigError(
                    f"[repositories] {what}: {git.redact(url)} does not have commit {commit[:12]}",
                    hint="a forced push removed it: run the pipeline again for the new head",
                ) from None

    def checkout(self, url: str, commit: str, target: Path) -> None:
        """Write the commit's files to `target`, all or none. Symbolic links become small text files.

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
            git.run([*base, "read-tree", commit], extra=index, cwd=tree)
            fence, alone = git.fenced(repository, tmp)  # from here on names and contents of strangers are written
            git.run([*base, "checkout-index", "--all", "--force"], extra=index | alone, cwd=tree, fence=fence)
            tree.rename(target)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)

    def changes(self, url: str, old: str | None, new: str, what: str, most: int = 10) -> Changes:
        """The newest commits up to `new` that `old` does not have; without a usable `old`, just the last one."""
        if old == new:
            return Changes(what, ())
        out = self._log(self._repository(url), old, new)
        rows = [line.split("\x1f", 3) for line in out.split("\0") if line]
        commits = [Commit(sha, clean(author), clean(subject), address) for sha, address, author, subject in rows]
        return Changes(what, tuple(commits[:most]), max(len(commits) - most, 0))

    def authors(self, url: str, old: str | None, new: str) -> set[str]:
        """Authors and committers (`name <address>`, by the repository's .mailmap) of the commits up to `new` that `old`
        does not have; without a usable `old`, of all."""
        repository = self._repository(url)
        if old == new:
            return set()
        since = [f"^{old}"] if old and FULL_SHA.fullmatch(old) and self._has(repository, old) else []
        mailmap = ["-c", f"mailmap.blob={new}:.mailmap"]  # a bare clone has no working tree to find it in
        log = ["log", "-z", "--use-mailmap", "--format=%aN <%aE>%x00%cN <%cE>", *since, new, "--"]
        out = git.run([*mailmap, *log], cwd=repository)
        return {clean(each, 200) for each in out.split("\0") if each.strip()}

    def _log(self, repository: Path, old: str | None, new: str) -> str:
        log = ["log", "-z", "--format=%H%x1f%ae%x1f%an%x1f%s"]
        if old and FULL_SHA.fullmatch(old):
            try:
                return git.run([*log, f"{old}..{new}", "--"], cwd=repository)
            except GitFailed:
                if self._has(repository, old):
                    raise
        return git.run([*log, "--max-count=1", new, "--"], cwd=repository)

    def content_digest(self, url: str, commit: str, unimportant: Sequence[str]) -> str:
        """A digest of the commit's files, names and bytes, except for those that match a pattern in `unimportant`."""
        listed = git.run(
            ["-c", "core.quotePath=true", "ls-tree", "-r", "--full-tree", commit], cwd=self._repository(url)
        )
        matches = _any_of(unimportant)
        kept = [row for row in listed.splitlines() if not matches(row.partition("\t")[2].strip('"'))]
        return hashlib.sha256("\n".join(kept).encode()).hexdigest()

    def is_older(self, url: str, commit: str, than: str) -> bool:
        """Whether `than` came after `commit`, by their history; False when that is not known here."""
        try:
            git.run(["merge-base", "--is-ancestor", commit, than], cwd=self._repository(url))
        except (GitFailed, FileNotFoundError):
            return False
        return commit != than

    def _repository(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"

    def _has(self, repository: Path, commit: str) -> bool:
        try:
            git.run(["cat-file", "-e", f"{commit}^{{commit}}"], cwd=repository)
        except GitFailed:
            return False
        return True

    def _intact(self, url: str) -> bool:
        """Whether no object of the clone is missing or damaged; slow, as it reads each of them."""
        try:
            git.run(["fsck", "--full", "--no-dangling", "--no-progress"], cwd=self._repository(url))
        except (GitFailed, OSError):
            git.raise_if_stopping()
            return False
        return True

    def _clone_again(self, url: str, commit: str, what: str, clone: int) -> None:
        """Replace the clone once a new one has the commit: until then its other commits may be nowhere else."""
        with self._locked(url) as repository, self._scratch(repository) as tmp:
            if clone not in {0, _inode(repository)}:  # another reader has just done it
                self._pin(repository, url, commit, what)
                return
            new = Path(tmp) / "new"
            git.run(["init", "--quiet", "--bare", "new"], cwd=Path(tmp))
            self._pin(new, url, commit, what)
            repository.rename(Path(tmp) / "old")  # two renames in a row: others read without the lock
            new.rename(repository)

    def _scratch(self, repository: Path) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{TMP}{repository.stem}-")

    @contextmanager
    def _locked(self, url: str) -> Iterator[Path]:
        repository = self._repository(url)
        self.folder.mkdir(parents=True, exist_ok=True)
        with Path(f"{repository}.lock").open("w", encoding="utf-8") as lock:
            while not try_lock(
                lock
            ):  # inside flock a thread would not notice that we stop: signals reach the main thread
                git.raise_if_stopping(0.01)
            for left in self.folder.glob(
                f"{TMP}{repository.stem}-*"
            ):  # the lock is ours: leftovers of a killed process
                shutil.rmtree(left, ignore_errors=True)
            if not repository.exists():
                with self._scratch(repository) as tmp:
                    git.run(["init", "--quiet", "--bare", "new"], cwd=Path(tmp))
                    (Path(tmp) / "new").rename(repository)
            for pattern in ("*.lock", "objects/*.lock", "refs/**/*.lock"):
                for left in repository.glob(pattern):
                    left.unlink(missing_ok=True)
            yield repository


def _ref(commit: str) -> str:
    return f"refs/trainyard/{commit}"


def _inode(folder: Path) -> int:
    """The inode of the folder that has this name now; 0 when none has."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0


def _words_of(path: Path) -> list[str]:
    """The words in a file that git writes; none when there is no such file."""
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
