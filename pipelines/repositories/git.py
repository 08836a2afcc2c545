"""How git is asked, and what its faults mean: the head of a branch, and commands for others. Plain `git`, no library."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pipelines.text.clean import clean
from registry.errors import ROOM, ConfigError, PipelineError, TryAgain

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
K = TypeVar("K")
T = TypeVar("T")
# What git says when it cannot write on this machine.
LITTLE_ROOM = 1 << 20  # bytes
FULL = re.compile(r"no space left|out of diskspace|disk quota|couldn't write|write error", re.IGNORECASE)
HINTS = {
    "dubious ownership": "git config --global --add safe.directory PATH, or run as the owner",
    "authentication failed": "set up a git credential helper or a deploy key for this user",
    "could not read username": "set up a git credential helper or a deploy key for this user",
    "permission denied": "give this user read access to the repository",
}


def at_once(work: Callable[[K], T], things: Sequence[K]) -> list[T]:
    """`work` for all things at the same time; when one fails, or we are asked to end, no git command goes on."""
    with ThreadPoolExecutor(len(things)) as pool:
        try:
            futures = [pool.submit(work, thing) for thing in things]
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


def go_on(seconds: float = 0.0) -> None:
    """For threads of `at_once` that wait: sleeps so long; raises TryAgain once we are asked to end."""
    if _ending.wait(seconds):
        raise TryAgain("git was stopped")


def kill_running() -> None:
    """End every git command that runs for us, with its helpers (ssh, git-remote-https), and those that would follow."""
    _ending.set()
    for process in tuple(_running):
        _signal(process, signal.SIGTERM)


def head(url: str, branch: str, what: str, timeout: float = 60.0) -> str:
    """The commit at the tip of `branch`; `what` names the repository in errors, `timeout` is in seconds.

    Raises ConfigError when the repository is missing, empty or without the branch, TryAgain when it cannot be reached.
    """
    done = ask_remote(["ls-remote", "--heads", "--", url], what, url, timeout)
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


def hooks_folder(repository: Path) -> Path:
    """Where git looks for the hooks of the bare `repository` (or of a `.git`); core.hooksPath may turn it elsewhere."""
    said = ask(["--git-dir", str(repository.absolute()), "rev-parse", "--git-path", "hooks"], cwd=repository)
    return Path(os.path.abspath(repository / said.removesuffix("\n")))


def clean_environment() -> dict[str, str]:
    """Our environment without what a git hook sets (GIT_DIR …), and without prompts that would wait for ever."""
    kept = {key: value for key, value in os.environ.items() if key not in OF_A_HOOK}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


@functools.cache
def _ends_with_us() -> tuple[str, ...]:
    """What makes the kernel end git when we are killed: a fetch from a remote that hangs would stay for ever."""
    program = shutil.which("setpriv")  # util-linux; that of BusyBox cannot do it
    if program and not os.path.realpath(program).endswith("busybox"):
        return (program, "--pdeathsig", "TERM", "--")
    return ()


def _ssh(url: str, cwd: Path | None) -> list[str]:
    """The ssh that we would use, when the person has not chosen one."""
    if os.path.isdir(url) or {"GIT_SSH_COMMAND", "GIT_SSH"} & os.environ.keys():
        return []  # a folder of this machine needs none
    try:
        ask(["config", "--get", "core.sshCommand"], cwd=cwd)
    except GitFailed:
        return ["-c", f"core.sshCommand={SSH}"]
    return []


def shown(url: str) -> str:
    """The URL without what may be secret, for messages: a password, which may hold `/` and `@`, and a user name that is
    no account of ssh."""
    return clean(re.sub(r"(?<=://)([^\s/@:]*:\S*|(?<!ssh://)\S*)@", "", url), 1000)


def ask_remote(arguments: list[str], what: str, url: str, timeout: float = TIMEOUT, cwd: Path | None = None) -> str:
    """Run a git command that talks to the repository `what` at `url`; gives its output.

    Raises TryAgain when it is out of reach, ConfigError with git's last words for anything else.
    """
    try:
        return ask(["-c", "protocol.ext.allow=never", *_ssh(url, cwd), *arguments], timeout=timeout, cwd=cwd)
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


def ask(
    arguments: list[str], *, timeout: float = TIMEOUT, extra: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a git command in `cwd`, with the environment `extra`; gives its output.

    Raises GitFailed with its last words, TimedOut after `timeout` seconds, TryAgain when the disk is full or we end.
    """
    with subprocess.Popen(
        [*_ends_with_us(), "git", *arguments], env=clean_environment() | (extra or {}), cwd=cwd, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            _running.add(process)
            go_on()
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
        if cwd and (FULL.search(said) or _no_room(cwd)) and not PASSING.search(said):
            raise TryAgain(f"git cannot write to {cwd}: {said}", hint=ROOM)
        raise GitFailed(said or f"git ended with {process.returncode}")
    return out


def _no_room(folder: Path) -> bool:
    """Whether the disk of a folder is so full that it may be why git failed: not all of its messages say so."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return False
    return state.f_bavail * state.f_frsize < LITTLE_ROOM or 0 == state.f_favail < state.f_files


def _end(process: subprocess.Popen[str]) -> None:
    _signal(process, signal.SIGTERM)  # upon which git removes its lock files
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
