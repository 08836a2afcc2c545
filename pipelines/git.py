"""What we ask of git: the head of a branch, a commit's files, a list of commits. Plain `git`, no library."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipelines.markup import clean
from registry.errors import ConfigError, PipelineError, TryAgain

TIMEOUT = 600.0  # seconds for one git command that talks to a remote
FULL_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# What git says when the remote is only out of reach for now.
PASSING = re.compile(
    r"could not resolve|timed out|connection (refused|reset|closed)|unable to access|early eof|network is unreachable"
    r"|the remote end hung up|temporarily|couldn't connect|rpc failed|no route to host",
    re.IGNORECASE,
)
# What git sets for hooks (`git rev-parse --local-env-vars`, and for a push) would turn our commands to its repository.
# GIT_CONFIG_COUNT of that list stays: git does not set it, people do, to log in.
OF_A_HOOK = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_OBJECT_DIRECTORY", "GIT_DIR",
    "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_INTERNAL_SUPER_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR",
    "GIT_QUARANTINE_PATH", "GIT_NAMESPACE", "GIT_PROTOCOL",
}  # fmt: skip
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"  # no question that nobody answers
_running: set[subprocess.Popen[str]] = set()
_ending = threading.Event()
T = TypeVar("T")
# What git says when it cannot write on this machine.
FULL = re.compile(r"no space left|out of diskspace|disk quota|couldn't write|write error", re.IGNORECASE)
# A commit gives the same files for everybody, whatever they have set for their own working trees.
AS_COMMITTED = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.attributesFile=/dev/null")
HINTS = {
    "dubious ownership": "git config --global --add safe.directory PATH, or run as the owner",
    "authentication failed": "set up a git credential helper or a deploy key for this user",
    "could not read username": "set up a git credential helper or a deploy key for this user",
    "permission denied": "give this user read access to the repository",
}


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


def at_once(work: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """`work` for all names at the same time; when one fails, or we are asked to end, no git command goes on."""
    with ThreadPoolExecutor(len(names)) as pool:
        try:
            futures = [pool.submit(work, name) for name in names]
            waiting = set(futures)
            while waiting:  # not in one go: a signal that the kernel gave to another thread is seen when we wake up
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            return [future.result() for future in futures]
        except Exception:
            kill_running()
            pool.shutdown()
            _ending.clear()
            raise
        except BaseException:  # the process ends; a thread that was just being started may still come
            kill_running()
            raise


def kill_running() -> None:
    """End every git command that runs for us, with its helpers (ssh, git-remote-https), and those that would follow."""
    _ending.set()
    for process in tuple(_running):
        _signal(process, signal.SIGTERM)


def head(url: str, branch: str, what: str, timeout: float = 60.0) -> str:
    """The commit at the tip of `branch`; `what` names the repository in errors, `timeout` is in seconds.

    Raises ConfigError when the repository is missing, empty or without the branch, TryAgain when it cannot be reached.
    """
    done = _remote(["ls-remote", "--heads", "--", url], what, url, timeout)
    rows = (line.partition("\t") for line in done.splitlines())
    heads = {name: commit for commit, tab, name in rows if tab}
    if not heads:
        raise ConfigError(f"[repositories] {what}: {shown(url)} is empty", hint=f"push a first commit to {branch}")
    if f"refs/heads/{branch}" not in heads:
        names = ", ".join(sorted(each.removeprefix("refs/heads/") for each in heads)[:5])
        raise ConfigError(
            f"[repositories] {what}: {shown(url)} has no branch {branch!r} (it has {names})",
            hint=f"push to {branch}, or set [repositories] branch",
        )
    return heads[f"refs/heads/{branch}"]


class Cache:
    """Bare copies of the repositories, so that a commit once used can be used again, even after a forced push."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, url: str, commit: str, what: str) -> None:
        """Bring `commit` here; raises ConfigError when the repository no longer has it, TryAgain when out of reach."""
        if not FULL_SHA.fullmatch(commit):
            raise ConfigError(f"{what}: {commit!r} is not a full commit id", hint="take it from `git rev-parse`")
        with self._locked(url) as repository:
            if not self._has(repository, commit):
                self._bring(repository, url, commit, what)
            # a name of our own keeps the commit from being collected as garbage
            _git(["update-ref", f"refs/trainyard/{commit}", commit], cwd=repository)

    def _bring(self, repository: Path, url: str, commit: str, what: str) -> None:
        # in the background it would work without our lock
        fetch = ["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false", "fetch", "--quiet", "--no-tags"]
        _remote([*fetch, "--prune", "--", url, "+refs/heads/*:refs/heads/*"], what, url, cwd=repository)
        if not self._has(repository, commit):
            try:  # some servers give a commit that no branch holds
                _remote([*fetch, "--", url, commit], what, url, cwd=repository)
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
        tmp = Path(tempfile.mkdtemp(dir=target.parent, prefix=".tmp-"))
        try:
            index = {"GIT_INDEX_FILE": str(tmp.absolute() / "index")}
            tree = tmp / "tree"
            tree.mkdir()
            base = [*AS_COMMITTED, "-c", "core.symlinks=false", "-c", "core.bare=false"]
            base += ["--git-dir", str(repository.absolute()), "--work-tree", str(tree.absolute())]
            _git([*base, "read-tree", commit], extra=index, cwd=tree)
            _git([*base, "checkout-index", "--all", "--force"], extra=index, cwd=tree)
            tree.rename(target)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)

    def changes(self, url: str, old: str | None, new: str, what: str, most: int = 10) -> Changes:
        """The newest commits up to `new` that `old` does not have; without a usable `old`, just the last one."""
        repository = self._repository(url)
        known = old is not None and FULL_SHA.fullmatch(old) and self._has(repository, old)
        span = [f"{old}..{new}"] if known else ["--max-count=1", new]
        out = _git(["log", "-z", "--format=%H%x1f%an%x1f%s", *span, "--"], cwd=repository)
        rows = [line.split("\x1f", 2) for line in out.split("\0") if line]
        commits = [Commit(sha, clean(author), clean(subject)) for sha, author, subject in rows]
        return Changes(what, tuple(commits[:most]), max(len(commits) - most, 0))

    def _repository(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"

    def _has(self, repository: Path, commit: str) -> bool:
        try:
            _git(["cat-file", "-e", f"{commit}^{{commit}}"], cwd=repository)
        except GitFailed:
            return False
        return True

    @contextmanager
    def _locked(self, url: str) -> Iterator[Path]:
        repository = self._repository(url)
        self.folder.mkdir(parents=True, exist_ok=True)
        with Path(f"{repository}.lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not repository.exists():
                with tempfile.TemporaryDirectory(dir=self.folder, prefix=".tmp-") as tmp:
                    _git(["init", "--quiet", "--bare", "new"], cwd=Path(tmp))
                    (Path(tmp) / "new").rename(repository)
            for place in ("*.lock", "objects/*.lock", "refs/**/*.lock"):
                for left in repository.glob(place):  # only we work here: it is of a git that was killed
                    left.unlink(missing_ok=True)
            yield repository


def hooks_folder(repository: Path) -> Path:
    """Where git looks for the hooks of the bare `repository` (or of a `.git`); core.hooksPath may turn it elsewhere."""
    said = _git(["--git-dir", str(repository.absolute()), "rev-parse", "--git-path", "hooks"], cwd=repository)
    return Path(os.path.abspath(repository / said.removesuffix("\n")))


def clean_environment() -> dict[str, str]:
    """Our environment without what a git hook sets (GIT_DIR …), and without prompts that would wait for ever."""
    kept = {key: value for key, value in os.environ.items() if key not in OF_A_HOOK}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


def _ssh(cwd: Path | None) -> list[str]:
    """The ssh that we would use, when the person has not chosen one."""
    if {"GIT_SSH_COMMAND", "GIT_SSH"} & os.environ.keys():
        return []
    try:
        _git(["config", "--get", "core.sshCommand"], cwd=cwd)
    except GitFailed:
        return ["-c", f"core.sshCommand={SSH}"]
    return []


def shown(url: str) -> str:
    """The URL without what may be secret, for messages: a password, which may hold `/` and `@`, and a user name that is
    no account of ssh."""
    return re.sub(r"(?<=://)([^\s/@:]*:\S*|(?<!ssh://)\S*)@", "", url)


def _remote(arguments: list[str], what: str, url: str, timeout: float = TIMEOUT, cwd: Path | None = None) -> str:
    try:
        return _git(["-c", "protocol.ext.allow=never", *_ssh(cwd), *arguments], timeout=timeout, cwd=cwd)
    except TimedOut:
        raise TryAgain(f"[repositories] {what}: {shown(url)} did not answer in {timeout:.0f} s") from None
    except GitFailed as error:
        said = str(error)
        message = f"[repositories] {what}: cannot read {shown(url)}: {said}"
        if PASSING.search(said):
            raise TryAgain(message, hint="the network or the git server is down: run it again later") from None
        hint = next((hint for word, hint in HINTS.items() if word in said.lower()), f"check [repositories] {what}")
        raise ConfigError(message, hint=hint) from None


class GitFailed(PipelineError):
    """git said no; the message is its own last words."""


class TimedOut(TryAgain):
    """git did not end."""


def _git(
    arguments: list[str], *, timeout: float = TIMEOUT, extra: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    with subprocess.Popen(
        ["git", *arguments], env=clean_environment() | (extra or {}), cwd=cwd, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            _running.add(process)
            if _ending.is_set():
                raise TryAgain("git was stopped")
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            raise TimedOut(
                f"git did not end in {timeout:.0f} s in {cwd or Path.cwd()}", hint="is its disk slow?"
            ) from None
        except BaseException:
            _end(process)
            raise
        finally:
            _running.discard(process)
    if process.returncode:
        words = [line.removeprefix("fatal: ") for line in err.splitlines() if line.strip()]
        telling = [line for line in words if not line.startswith(("Please make sure", "and the repository exists"))]
        said = clean(shown("; ".join(telling[-3:])), 2000)
        if cwd and FULL.search(said) and not PASSING.search(said):
            raise TryAgain(f"git cannot write to {cwd}: {said}", hint="free some space; then the same command goes on")
        raise GitFailed(said or f"git ended with {process.returncode}")
    return out


def _end(process: subprocess.Popen[str]) -> None:
    _signal(process, signal.SIGTERM)  # upon which git removes its lock files
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
