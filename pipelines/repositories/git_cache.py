"""Bare clones of the three repositories on this machine: a commit's files, and the commits since another one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pipelines.repositories import git, processes, tree
from pipelines.repositories.changes import Changes, Commit
from pipelines.repositories.complete import Bringer
from pipelines.repositories.git import FULL_SHA, GitFailed
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.memory import Memory
from pipelines.repositories.tree import Extras, Tree, any_of, index_in, look
from pipelines.text.clean import clean
from registry.errors import ConfigError, PipelineError
from registry.files import TMP, try_lock, write_whole

T = TypeVar("T")
# A commit gives the same files for everybody, whatever they have set for their own working trees.
AS_COMMITTED = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.attributesFile=/dev/null")
# Waiting for the disk takes long, and what a power cut damages is fetched again when it is read.
NO_FSYNC = ("-c", "core.fsync=none")
SHA256_DIGITS = 64
FEW_LOOSE, FEW_IN_PACKS = 8, 4  # files: git packs 27 of the former; two packs are 4 files or more
FOREGROUND = ("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false")
# Twice as many processes as cores: git splits the files among them beforehand, and some end earlier.
ON_ALL_CORES = ("-c", f"checkout.workers={2 * (os.cpu_count() or 1)}", "-c", "checkout.thresholdForParallelism=1000")


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
        memory, question = Memory(self._repository(url, commit), tree.__file__), ("names nothing but its files", commit)
        if names := memory.recall(*question):
            return Tree(names=json.loads(names))
        found = self.read(url, commit, what, lambda: look(self._repository(url, commit), commit, scratch))
        if found == Tree(names=found.names):
            memory.keep(json.dumps(found.names), *question)
        return found

    def look_at_known(self, url: str, branch: str, scratch: Path) -> tuple[str, Tree] | None:
        """The newest commit of the branch that is here, and what its files name; None when nothing was fetched yet."""
        for digits in (40, SHA256_DIGITS):
            repository = self._repository(url, "0" * digits)
            if repository.is_dir():
                names = ["for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}"]
                if commit := git.run(names, cwd=repository).strip():
                    return commit, look(repository, commit, scratch)
        return None

    def fetch_files(self, url: str, commit: str, what: str, target: Path) -> None:
        """`fetch`, then `checkout`; repairs the clone as `read` does."""
        self.read(url, commit, what, lambda: self.checkout(url, commit, target))

    def read(self, url: str, commit: str, what: str, work: Callable[[], T]) -> T:
        """`fetch`, then `work`, which reads the clone. A clone with missing or damaged files is replaced, once.

        Raises GitFailed, with the names of repository and commit, when the clone is intact and git fails all the same.
        """
        try:
            return self._read(url, commit, what, work)
        except GitFailed as error:
            raise git.about_commit(error, url, commit, what) from error

    def _read(self, url: str, commit: str, what: str, work: Callable[[], T]) -> T:
        clone = _inode(self._repository(url, commit))
        try:
            self.fetch(url, commit, what)
            return work()
        except (ConfigError, GitFailed, FileNotFoundError) as error:  # the last when another process replaces the clone
            processes.raise_if_stopping()  # which may be why git failed
            if clone in {0, _inode(self._repository(url, commit))} and self._intact(url, commit):
                if isinstance(error, GitFailed):
                    return work()  # what a killed process had git fetch may have come in the meantime
                raise
        self._clone_again(url, commit, what, clone)
        return work()

    def fetch(self, url: str, commit: str, what: str) -> None:
        """Fetch `commit`; raises ConfigError when the repository no longer has it, TryAgain when it is out of reach."""
        if not FULL_SHA.fullmatch(commit):
            raise ConfigError(f"{what}: {commit!r} is not a full commit id", hint="take it from `git rev-parse`")
        with self._locked(url, commit) as repository:
            self._pin(repository, url, commit, what)

    def _pin(self, repository: Path, url: str, commit: str, what: str) -> None:
        """Give the commit a ref, which protects it from garbage collection; fetch it if need be."""
        if _words_of(repository / _ref(commit)) == [commit]:
            return  # whether all of its files are there shows when they are read
        pin = [*NO_FSYNC, "update-ref", _ref(commit), f"{commit}^{{commit}}"]
        try:
            git.run(pin, cwd=repository)
        except GitFailed:
            self._fetch(repository, url, commit, what)
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
        if commit not in _words_of(repository / "FETCH_HEAD") and not self._has(
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

    def checkout(self, url: str, commit: str, target: Path) -> None:
        """Write the commit's files to `target`, all or none. Symbolic links become small text files.

        Raises TryAgain when the disk is full or does not answer.
        """
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        repository = self._repository(url, commit)
        tmp = Path(tempfile.mkdtemp(dir=target.parent, prefix=TMP))
        try:
            index = index_in(tmp)
            files = tmp / "tree"
            files.mkdir()
            words = [*AS_COMMITTED, *ON_ALL_CORES, "-c", "core.symlinks=false", "-c", "core.bare=false"]
            words += ["--git-dir", str(repository.absolute()), "--work-tree", str(files.absolute())]
            words += ["read-tree", "--reset", "-u", commit]
            fence, alone = git.fenced(repository, tmp)  # names and contents of strangers are written
            git.run(words, extra=index | alone, cwd=files, prefix=fence)
            files.rename(target)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)

    def changes(self, url: str, old: str | None, new: str, what: str, most: int = 10) -> Changes:
        """The newest commits up to `new` that `old` does not have; without a usable `old`, just the last one."""
        if old == new:
            return Changes(what, ())
        out = self._log(self._repository(url, new), old, new)
        rows = [line.split("\x1f", 3) for line in out.split("\0") if line]
        commits = [Commit(sha, clean(author), clean(subject), address) for sha, address, author, subject in rows]
        return Changes(what, tuple(commits[:most]), max(len(commits) - most, 0))

    def authors(self, url: str, old: str | None, new: str) -> set[str] | None:
        """Authors and committers (`name <address>`, by the repository's .mailmap) of the commits up to `new` that `old`
        does not have; without a usable `old`, of all. None when a shallow repository does not have all of these commits."""
        repository = self._repository(url, new)
        if old == new:
            return set()
        memory, question = Memory(repository, __file__), ("authors", old or "", new)
        if known := memory.recall(*question):
            return set(json.loads(known))
        since = [f"^{old}"] if old and FULL_SHA.fullmatch(old) and self._has(repository, old) else []
        cut = set(_words_of(repository / "shallow"))  # commits whose parents are missing
        if cut and cut & set(git.run(["rev-list", *since, new, "--"], cwd=repository).split()):
            return None
        mailmap = ["-c", f"mailmap.blob={new}:.mailmap"]  # a bare clone has no working tree to find it in
        log = ["log", "-z", "--use-mailmap", "--format=%aN <%aE>%x00%cN <%cE>", *since, new, "--"]
        out = git.run([*mailmap, *log], cwd=repository)
        authors = {clean(each, 200) for each in out.split("\0") if each.strip()}
        if since or not old:  # else it may still come
            memory.keep(json.dumps(sorted(authors)), *question)
        return authors

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
        repository = self._repository(url, commit)
        memory, question = Memory(repository, __file__), ("content", commit, *unimportant)
        if known := memory.recall(*question):
            return known
        listed = git.run(["-c", "core.quotePath=true", "ls-tree", "-r", "--full-tree", commit], cwd=repository)
        matches = any_of(unimportant)
        kept = [row for row in listed.splitlines() if not matches(row.partition("\t")[2].strip('"'))]
        digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()
        memory.keep(digest, *question)
        return digest

    def is_older(self, url: str, commit: str, than: str) -> bool:
        """Whether `than` came after `commit`, by their history; False when that is not known here."""
        try:
            git.run(["merge-base", "--is-ancestor", commit, than], cwd=self._repository(url, than))
        except (GitFailed, FileNotFoundError):
            return False
        return commit != than

    def _repository(self, url: str, commit: str) -> Path:
        """The clone for commits of that length: a repository that was made anew with SHA-256 is another one."""
        kind = "-sha256" if len(commit) == SHA256_DIGITS else ""
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}{kind}.git"

    def _has(self, repository: Path, commit: str) -> bool:
        try:
            git.run(["cat-file", "-e", f"{commit}^{{commit}}"], cwd=repository)
        except GitFailed:
            return False
        return True

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
            if clone not in {0, _inode(repository)}:  # another reader has just done it
                self._pin(repository, url, commit, what)
                return
            new = Path(tmp) / "new"
            _init(Path(tmp), commit)
            self._pin(new, url, commit, what)
            repository.rename(Path(tmp) / "old")  # two renames in a row: others read without the lock
            new.rename(repository)

    def _scratch(self, repository: Path) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{TMP}{repository.stem}-")

    @contextmanager
    def _locked(self, url: str, commit: str) -> Iterator[Path]:
        repository = self._repository(url, commit)
        self.folder.mkdir(parents=True, exist_ok=True)
        with Path(f"{repository}.lock").open("w", encoding="utf-8") as lock:
            while not try_lock(
                lock
            ):  # inside flock a thread would not notice that we stop: signals reach the main thread
                processes.raise_if_stopping(0.01)
            for left in self.folder.glob(
                f"{TMP}{repository.stem}-*"
            ):  # the lock is ours: leftovers of a killed process
                shutil.rmtree(left, ignore_errors=True)
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
