"""Run git commands, and translate their failures; the head of a remote branch. Plain `git`, no library."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipelines.repositories.processes import TIMEOUT, Program, TimedOut, dies_with_us
from pipelines.text.clean import clean
from registry.errors import FREE_SPACE, ConfigError, PipelineError, TryAgain
from training.fence.rules import Fence, around_programs

FULL_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# Messages of git when a remote is out of reach for now.
TRANSIENT = re.compile(
    r"could not resolve|timed out|connection (refused|reset|closed)|unable to access|early eof|network is unreachable"
    r"|the remote end hung.up|temporarily|couldn't connect|rpc failed|no route to host",
    re.IGNORECASE,
)
# What git also calls "unable to access", and waiting does not mend.
LASTING = re.compile(r"returned error: (3\d\d|4(?!08|29)\d\d)|certificate|unsupported protocol", re.IGNORECASE)
# What git sets for hooks (`git rev-parse --local-env-vars`, and for a push) would turn our commands to the hook's repository.
# GIT_CONFIG_COUNT of that list stays: git does not set it, people do, to log in.
HOOK_VARIABLES = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_OBJECT_DIRECTORY", "GIT_DIR",
    "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_INTERNAL_SUPER_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR",
    "GIT_QUARANTINE_PATH", "GIT_NAMESPACE", "GIT_PROTOCOL",
}  # fmt: skip
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"  # fails instead of asking a question that nobody answers
LITTLE_SPACE = 1 << 20  # bytes
BEGIN = b"\n"
"""What a git command that was started in its fence waits for."""
SUBMODULE = ", submodule "
"""Between the names of a repository and of the submodule of it, in what errors call it."""
# Messages of git when it cannot write on this machine.
DISK_FULL = re.compile(r"no space left|out of diskspace|disk quota|couldn't write|write error", re.IGNORECASE)
HINTS = {
    "dubious ownership": "git config --global --add safe.directory PATH, or run as the owner",
    "authentication failed": "set up a git credential helper or a deploy key for this user",
    "could not read username": "set up a git credential helper or a deploy key for this user",
    "permission denied": "give this user read access to the repository",
    "returned error: 3": "the server redirects git elsewhere: write the address that it redirects to",
    "returned error: 401": "set up a git credential helper or a deploy key for this user",
    "returned error: 403": "give this user read access to the repository",
    "certificate": "have git trust the server's certificate: git config --global http.sslCAInfo FILE",
    "missing necessary objects": "it is a partial clone or damaged: name the repository that it was cloned from",
    "lazy fetching disabled": "it is a partial clone: name the repository that it was cloned from",
}
# Messages of git about a commit's files, once it is certain that nothing of the clone is missing or damaged.
TREE_HINTS = {
    "invalid path": "rename that file: git does not write such a name",
    "file name too long": "shorten that name: no file of this machine's disk may have it",
    "permission denied": "`trainyard doctor` shows what this user may write",
    "bad config": "correct that file in the repository",
}


def head(url: str, branch: str, what: str, timeout: float = 60.0) -> str:
    """The commit at the tip of `branch`; `what` names the repository in errors, `timeout` is in seconds.

    Raises ConfigError when the repository is missing, empty or without the branch, TryAgain when it is out of reach.
    """
    listed = run_remote(["ls-remote", "--heads", "--", url], what, url, timeout)
    rows = (line.partition("\t") for line in listed.splitlines())
    heads = {name: commit for commit, tab, name in rows if tab}
    if not heads:
        raise ConfigError(f"[repositories] {what}: {redact(url)} is empty", hint=f"push a first commit to {branch}")
    if f"refs/heads/{branch}" not in heads:
        names = ", ".join(sorted(each.removeprefix("refs/heads/") for each in heads)[:5])
        raise ConfigError(
            f"[repositories] {what}: {redact(url)} has no branch {branch!r} (it has {names})",
            hint=f"push to {branch}, or set [repositories] branch",
        )
    return heads[f"refs/heads/{branch}"]


def hooks_folder(repository: Path) -> Path:
    """Where git looks for the hooks of the bare `repository` (or of a `.git`); core.hooksPath may turn it elsewhere."""
    path = run(["--git-dir", str(repository.absolute()), "rev-parse", "--git-path", "hooks"], cwd=repository)
    return Path(os.path.abspath(repository / path.removesuffix("\n")))


def clean_environment() -> dict[str, str]:
    """Our environment without what a git hook sets (GIT_DIR …), and without prompts that would wait for ever."""
    kept = {key: value for key, value in os.environ.items() if key not in HOOK_VARIABLES}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


def ssh_options(url: str, cwd: Path | None) -> list[str]:
    """Options that set our ssh, unless the user has chosen one."""
    if os.path.isdir(url) or {"GIT_SSH_COMMAND", "GIT_SSH"} & os.environ.keys():
        return []  # a local folder needs none
    return [] if setting("core.sshCommand", cwd=cwd) else ["-c", f"core.sshCommand={SSH}"]


def setting(name: str, url: str = "", *, cwd: Path | None = None) -> str:
    """What this user or machine has set git to, for `url` when one is given; "" when nothing."""
    try:
        return run(["config", *(["--get-urlmatch", name, url] if url else ["--get", name])], cwd=cwd).rstrip("\n")
    except GitFailed:
        return ""


def redact(url: str) -> str:
    """The URL for messages, without what may be secret: a password, which may hold `/` and `@`, and a user name that is
    not an account of ssh."""
    return clean(re.sub(r"(?<=://)([^\s/@:]*:\S*|(?<!ssh://)\S*)@", "", url), 1000)


def run_remote(
    arguments: list[str], what: str, url: str, timeout: float = TIMEOUT, cwd: Path | None = None, *, login: bool = True
) -> str:
    """Run a git command that talks to the repository `what` (code, or one of its submodules) at `url`; returns its output.

    Without `login` it is not given what this user, or Jenkins, would answer to whatever server asks.

    Raises TryAgain when it is out of reach, ConfigError with git's last lines for anything else.
    """
    try:
        own = [] if login else ["-c", "http.extraHeader="]
        extra = {} if login else {"GIT_ASKPASS": "", "SSH_ASKPASS": ""}
        words = ["-c", "protocol.ext.allow=never", *own, *ssh_options(url, cwd), *arguments]
        return run(words, timeout=timeout, cwd=cwd, extra=extra, prefix=dies_with_us())
    except TimedOut:
        raise TryAgain(f"[repositories] {what}: {redact(url)} did not answer in {timeout:.0f} s") from None
    except GitFailed as error:
        reason = str(error)
        message = f"[repositories] {what}: cannot read {redact(url)}: {reason}"
        if TRANSIENT.search(reason) and not LASTING.search(reason):
            raise TryAgain(message, hint="the network or the git server is down: retry later") from None
        raise ConfigError(message, hint=_hint(reason, HINTS, f"check its address: {named_in(what)}")) from None


def named_in(what: str) -> str:
    """Where the address of a repository, or of the submodule of one, is written."""
    return ".gitmodules" if SUBMODULE in what else f"[repositories] {what}"


def about_commit(error: GitFailed, url: str, commit: str, what: str) -> GitFailed:
    """The error with the name of the repository, and what to do: its clone is intact, so it is the commit that git cannot use."""
    message = f"[repositories] {what}: git cannot use commit {commit[:12]} of {redact(url)}: {error}"
    return GitFailed(message, hint=_hint(str(error), TREE_HINTS, "correct that in the repository, and push again"))


def _hint(reason: str, hints: dict[str, str], otherwise: str) -> str:
    return next((hint for part, hint in hints.items() if part in reason.lower()), otherwise)


def fenced(repository: Path, into: Path) -> tuple[list[str], dict[str, str]]:
    """The words before a git command, and its environment, that reads `repository`, writes to the folder `into` and does
    nothing else: no network, no settings of this user or machine, so no filters and no hooks of theirs.

    It begins when a byte comes on its stdin: until then the fence is put up, which takes longer than most git commands.
    """
    system = around_programs()
    program = os.path.realpath(shutil.which("git") or "git")
    installed = [os.path.join(os.path.dirname(os.path.dirname(program)), each) for each in ("lib", "libexec", "share")]
    read = (*system.read, os.path.dirname(program), *installed, str(repository.resolve()))
    words = Fence(read=read, write=(str(into.resolve()),)).command(waits=True, ends_with_us=True)
    return words, {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(into)}


class GitFailed(PipelineError):
    """git failed; the message is the last lines of its stderr."""


def run(
    arguments: list[str],
    *,
    timeout: float = TIMEOUT,
    extra: dict[str, str] | None = None,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
) -> str:
    """Run a git command in `cwd`, with the environment `extra`, after the words `prefix`; returns its output.

    Raises GitFailed with its last lines, TimedOut after `timeout` seconds, TryAgain when the disk is full or we stop.
    """
    out = run_bytes(arguments, timeout=timeout, extra=extra, cwd=cwd, prefix=prefix)
    return out.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def run_bytes(
    arguments: list[str],
    *,
    timeout: float = TIMEOUT,
    extra: dict[str, str] | None = None,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    given: bytes = b"",
) -> bytes:
    """As `run`, with `given` on its stdin; the output as git wrote it."""
    with Command(arguments, extra=extra, cwd=cwd, prefix=prefix, reads=bool(given)) as command:
        return command.output(given, timeout)


class Command(Program):
    """A git command that was started; see `run`."""

    def __init__(
        self, arguments: list[str], *, extra: dict[str, str] | None = None, cwd: Path | None = None,
        prefix: Sequence[str] = (), reads: bool = False,
    ) -> None:  # fmt: skip
        super().__init__([*prefix, "git", *arguments], env=clean_environment() | (extra or {}), cwd=cwd, reads=reads)

    def output(self, given: bytes = b"", timeout: float = TIMEOUT) -> bytes:
        """What it writes when it reads `given`, once it has ended. Raises as `run` does."""
        code, out, err = self.finish(given, timeout)
        if code:
            raise _failure(err.decode("utf-8", "replace"), code, self.cwd)
        return out


def has_commit(repository: Path, commit: str) -> bool:
    """Whether the repository has the commit."""
    try:
        run(["cat-file", "-e", f"{commit}^{{commit}}"], cwd=repository)
    except GitFailed:
        return False
    return True


def words_of(path: Path) -> list[str]:
    """The words in a file that git writes; none when there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []


def _failure(err: str, code: int, cwd: Path | None) -> PipelineError:
    """TryAgain when git failed because it could not write to the disk of `cwd`, else GitFailed."""
    lines = [line.removeprefix("fatal: ") for line in err.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Please make sure", "and the repository exists"))]
    reason = clean(redact("; ".join(lines[-3:])), 2000)
    if cwd and (DISK_FULL.search(reason) or _disk_is_full(cwd)) and not TRANSIENT.search(reason):
        return TryAgain(f"git cannot write to {cwd}: {reason}", hint=FREE_SPACE)
    return GitFailed(reason or f"git exited with {code}")


def _disk_is_full(folder: Path) -> bool:
    """Whether the disk of a folder is so full that git may have failed for it: not all of its messages mention it."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return False
    return state.f_bavail * state.f_frsize < LITTLE_SPACE or 0 == state.f_favail < state.f_files
