"""Bare clones of the three repositories on this machine: kept, repaired, and made again when one is damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pipelines.repositories import git, processes, tree
from pipelines.repositories.checkout import Checkout, inode
from pipelines.repositories.complete import Bringer
from pipelines.repositories.git import FULL_SHA, GitFailed
from pipelines.repositories.history import History
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.memory import Memory
from pipelines.repositories.tree import Extras, Tree, look
from registry.errors import ConfigError, PipelineError
from registry.files import TMP, try_lock, write_whole

T = TypeVar("T")
# Waiting for the disk takes long, and what a power cut damages is fetched again when it is read.
NO_FSYNC = ("-c", "core.fsync=none")
SHA256_DIGITS = 64
FEW_LOOSE, FEW_IN_PACKS = 8, 4  # files: git packs 27 of the former; two packs are 4 files or more
FOREGROUND = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")


class GitCache:
    """Bare clones of the repositories. A commit that was fetched once stays, even after a forced push."""

    def __init__(self, folder: Path, extras: Extras | None = None) -> None:
        """`extras`: what is fetched beside the files in git itself; by default nothing."""
        self.folder = folder
        self.extras = extras or Extras()
        self.strangers: set[str] = set()

    def fetch_and_checkout(self, url: str, commit: str, what: str, target: Path) -> None:
        """`fetch`, then all that the commit's files name, as `target`; all or none. Repairs the clone as `read` does.

        Beside it, as `manifest_of` says, is the manifest of what does not lie in git, when there is any.

        Raises ConfigError for a commit that names what is not there: see `Bringer.bring`.
        """
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(dir=target.parent, prefix=TMP))
        try:
            home = self.folder.parent
            bringer = Bringer(self, self.extras, ObjectStore(home / "lfs"), ObjectStore(home / "data"))
            tree = bringer.bring(url, commit, what, tmp)
            if bringer.manifest:
                write_whole(manifest_of(target), bringer.manifest.render())
            tree.rename(target)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)

    def look(self, url: str, commit: str, what: str, scratch: Path) -> Tree:
        """`fetch`, and what the commit's files name without having it."""
        folder = self.extras.folders.get(what, "")
        memory = Memory(self._repository(url, commit), tree.__file__)
        question = ("names nothing but its files", tree.tree_of(commit, folder))
        if names := memory.recall(*question):
            return Tree(names=json.loads(names))
        self.read(url, commit, what, lambda: self._must_have(url, commit, what))
        found = self.read(url, commit, what, lambda: look(self._repository(url, commit), commit, scratch, folder))
        if found == Tree(names=found.names):
            memory.keep(json.dumps(found.names), *question)
        return found

    def _must_have(self, url: str, commit: str, what: str) -> None:
        """Raise ConfigError when the commit does not have the folder that is `what`."""
        folder, repository = self.extras.folders.get(what, ""), self._repository(url, commit)
        if folder and not git.run(["ls-tree", "-d", "--full-tree", commit, "--", folder], cwd=repository).strip():
            raise ConfigError(
                f"[repositories] {what}: commit {commit[:12]} of {git.redact(url)} has no folder {folder!r}",
                hint="push the folder, or correct what is behind the # of its address",
            )

    def look_at_known(self, url: str, branch: str, scratch: Path, what: str = "") -> tuple[str, Tree] | None:
        """The newest commit of the branch that is here, and what its files, those of the folder that is `what`, name; None when
        nothing was fetched yet."""
        for digits in (40, SHA256_DIGITS):
            repository = self._repository(url, "0" * digits)
            if repository.is_dir():
                names = ["for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}"]
                if commit := git.run(names, cwd=repository).strip():
                    self._must_have(url, commit, what)
                    return commit, look(repository, commit, scratch, self.extras.folders.get(what, ""))
        return None

    def checkout(self, url: str, commit: str, target: Path, what: str = "") -> Checkout:
        """The commit's own files, those of the folder that is `what`, to be written as `target` once it is fetched."""
        return Checkout(self._repository(url, commit), commit, target, self.extras.folders.get(what, ""))

    def fetch_files(self, url: str, what: str, files: Checkout) -> None:
        """`fetch`, then write the files; repairs the clone as `read` does."""
        self.read(url, files.commit, what, files.write)

    def read(self, url: str, commit: str, what: str, work: Callable[[], T]) -> T:
        """`fetch`, then `work`, which reads the clone. A clone with missing or damaged files is replaced, once.

        Raises GitFailed, with the names of repository and commit, when the clone is intact and git fails all the same.
        """
        try:
            return self._read(url, commit, what, work)
        except GitFailed as error:
            raise git.about_commit(error, url, commit, what) from error

    def _read(self, url: str, commit: str, what: str, work: Callable[[], T]) -> T:
        clone = inode(self._repository(url, commit))
        try:
            self.fetch(url, commit, what)
            return work()
        except (ConfigError, GitFailed, FileNotFoundError) as error:  # the last when another process replaces the clone
            processes.raise_if_stopping()  # which may be why git failed
            if clone in {0, inode(self._repository(url, commit))} and self._intact(url, commit):
                if isinstance(error, GitFailed):
                    return work()  # what a killed process had git fetch may have come in the meantime
                raise
        self._clone_again(url, commit, what, clone)
        return work()

    def fetch(self, url: str, commit: str, what: str) -> None:
        """Fetch `commit`; raises ConfigError when the repository no longer has it, TryAgain when it is out of reach."""
        if not FULL_SHA.fullmatch(commit):
            raise ConfigError(f"{what}: {commit!r} is not a full commit id", hint="take it from `git rev-parse`")
        if _is_pinned(self._repository(url, commit), commit):
            self._clean_up(self._repository(url, commit))
            return  # whether all of its files are there shows when they are read
        with self._locked(url, commit) as repository:
            self._pin(repository, url, commit, what)

    def _pin(self, repository: Path, url: str, commit: str, what: str) -> None:
        """Give the commit a ref, which protects it from garbage collection; fetch it if need be."""
        if _is_pinned(repository, commit):
            return  # by another process, while we waited
        pin = [*NO_FSYNC, "update-ref", _ref(commit), f"{commit}^{{commit}}"]
        if _seems_known(repository, commit):
            with suppress(GitFailed):
                git.run(pin, cwd=repository)
                return
        try:
            self._fetch(repository, url, commit, what)
        except PipelineError:
            if not git.has_commit(repository, commit):
                raise
        git.run(pin, cwd=repository)
        if _may_need_packing(repository):
            with suppress(PipelineError):  # it can wait; in the background it would run without our lock
                git.run(
                    [*FOREGROUND, "maintenance", "run", "--auto", "--quiet"],
                    cwd=repository,
                    prefix=processes.dies_with_us(),
                )

    def _fetch(self, repository: Path, url: str, commit: str, what: str) -> None:
        fetch = [*NO_FSYNC, "-c", "maintenance.auto=false", "-c", "gc.auto=0", "fetch", "--quiet", "--no-tags"]
        if git.SUBMODULE in what:  # its address was checked, and not the one that a server may send us to
            fetch = ["-c", "http.followRedirects=false", *fetch]
        fetch += ["--update-shallow"]  # a shallow repository has all files of its heads, and we need no more
        if (repository / "shallow").exists():
            fetch += ["--unshallow"]  # as far as the repository has more of its history by now
        login = url not in self.strangers
        heads = "+refs/heads/*:refs/heads/*"
        git.run_remote([*fetch, "--prune", "--", url, heads], what, url, cwd=repository, login=login)
        if commit not in git.words_of(repository / "FETCH_HEAD") and not git.has_commit(
            repository, commit
        ):  # not the head of a branch
            try:  # some servers serve a commit that no branch holds
                git.run_remote([*fetch, "--", url, commit], what, url, cwd=repository, login=login)
            except ConfigError:
                hint = "a forced push removed it: run the pipeline again for the new head"
                if git.SUBMODULE in what:
                    hint = "push it there first: git push --recurse-submodules=on-demand"
                raise ConfigError(
                    f"[repositories] {what}: {git.redact(url)} does not have commit {commit[:12]}", hint=hint
                ) from None

    def history(self, url: str, commit: str, what: str = "") -> History:
        """What the clone that has the commit knows of it, and of those before it, as far as they touch the folder that is `what`."""
        return History(self._repository(url, commit), self.extras.folders.get(what, ""))

    def clone_of(self, url: str, commit: str) -> Path:
        """Where the clone is that has this commit, once it was fetched; to read only."""
        return self._repository(url, commit)

    def _repository(self, url: str, commit: str) -> Path:
        """The clone for commits of that length: a repository that was made anew with SHA-256 is another one."""
        kind = "-sha256" if len(commit) == SHA256_DIGITS else ""
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}{kind}.git"

    def _intact(self, url: str, commit: str) -> bool:
        """Whether no object of the clone is missing or damaged; slow, as it reads each of them."""
        try:
            git.run(
                ["fsck", "--full", "--no-dangling", "--no-progress"],
                cwd=self._repository(url, commit),
                prefix=processes.dies_with_us(),
            )
        except (GitFailed, OSError):
            processes.raise_if_stopping()
            return False
        return True

    def _clone_again(self, url: str, commit: str, what: str, clone: int) -> None:
        """Replace the clone once a new one has the commit: until then its other commits may be nowhere else."""
        with self._locked(url, commit) as repository, self._scratch(repository) as tmp:
            if clone not in {0, inode(repository)}:  # another reader has just done it
                self._pin(repository, url, commit, what)
                return
            new = Path(tmp) / "new"
            _init(Path(tmp), commit)
            self._pin(new, url, commit, what)
            repository.rename(Path(tmp) / "old")  # two renames in a row: others read without the lock
            new.rename(repository)

    def _scratch(self, repository: Path) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{TMP}{repository.stem}-")

    def _leftovers(self, repository: Path) -> list[Path]:
        """The scratch folders of who has the lock, or of processes that were killed while they had it."""
        return list(self.folder.glob(f"{TMP}{repository.stem}-*"))

    def _remove_leftovers(self, repository: Path) -> None:
        """For who has the lock: then they are those of killed processes."""
        for left in self._leftovers(repository):
            shutil.rmtree(left, ignore_errors=True)

    def _clean_up(self, repository: Path) -> None:
        """Remove what killed processes left, unless one is at work."""
        if self._leftovers(repository):
            with _lock_of(repository).open("w", encoding="utf-8") as lock:
                if try_lock(lock):
                    self._remove_leftovers(repository)

    @contextmanager
    def _locked(self, url: str, commit: str) -> Iterator[Path]:
        repository = self._repository(url, commit)
        self.folder.mkdir(parents=True, exist_ok=True)
        with _lock_of(repository).open("w", encoding="utf-8") as lock:
            # Inside flock a thread would not notice that we stop: signals reach the main thread.
            while not try_lock(lock):
                processes.raise_if_stopping(0.002)
            self._remove_leftovers(repository)
            if not repository.exists():
                with self._scratch(repository) as tmp:
                    _init(Path(tmp), commit)
                    (Path(tmp) / "new").rename(repository)
            for pattern in ("*.lock", "objects/*.lock", "refs/**/*.lock"):
                for left in repository.glob(pattern):
                    left.unlink(missing_ok=True)
            yield repository


def manifest_of(target: Path) -> Path:
    """The manifest of what did not lie in git of the checkout `target`, or a link to it; it may not be there."""
    return Path(f"{target.resolve()}.lock")


def _lock_of(repository: Path) -> Path:
    return Path(f"{repository}.lock")


def _init(folder: Path, commit: str) -> None:
    """A bare repository `new` in `folder`, of the kind that has such commits."""
    kind = ["--object-format=sha256"] if len(commit) == SHA256_DIGITS else []  # git before 2.29 knows no other
    git.run(["init", "--quiet", "--bare", *kind, "new"], cwd=folder)


def _may_need_packing(repository: Path) -> bool:
    """Whether it is worth asking git, which counts the same: the packs, and the files in one of 256 folders."""
    loose, packs = (len(list((repository / "objects" / folder).glob("*"))) for folder in ("17", "pack"))
    return loose >= FEW_LOOSE or packs >= FEW_IN_PACKS


def _ref(commit: str) -> str:
    return f"refs/trainyard/{commit}"


def _seems_known(repository: Path, commit: str) -> bool:
    """Whether the commit was fetched, by a few files; git is asked only then, as mostly it was not: it has just been pushed."""
    if (repository / "objects" / commit[:2] / commit[2:]).exists():
        return True
    return any(commit in git.words_of(repository / name) for name in ("FETCH_HEAD", "packed-refs"))


def _is_pinned(repository: Path, commit: str) -> bool:
    return git.words_of(repository / _ref(commit)) == [commit]
