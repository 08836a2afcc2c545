"""A commit on top of another one, made without its working tree, and pushed to a branch."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipelines.repositories import git
from pipelines.repositories.processes import dies_with_us
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError, PipelineError, TryAgain

OVERTAKEN = re.compile(
    r"fetch first|non-fast-forward|cannot lock ref|failed to update ref|stale info|incorrect old value", re.IGNORECASE
)
"""Messages of git when another push came in between."""
REFUSED = re.compile(
    r"protected branch|hook declined|denied|403|401|authentication failed|could not read username|not allowed",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Author:
    """As git has it."""

    name: str
    email: str


def author_of(person: str) -> Author:
    """Whoever is named in a label: `ada`, `ada@example.org`, `Ada <ada@example.org>`."""
    text = clean(person, 200)
    found = re.fullmatch(r"\s*([^<>]*?)\s*<([^<>\s]+)>\s*", text)
    name, email = (found[1], found[2]) if found else (text, text if "@" in text else "")
    name, email = (re.sub(r"[<>\n\r\0]", "", each).strip() for each in (name, email))
    name = name or email or "unknown"
    return Author(name, email or f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-') or 'unknown'}@labels.invalid")


class NewCommit:
    """A commit that is made in a repository of its own, which has the objects of `clone` besides. Raises GitFailed, TryAgain."""

    def __init__(self, clone: Path, parent: str, scratch: Path, inside: str = "") -> None:
        """`inside`: the folder of the repository that all paths are in; empty: its root."""
        self._inside = f"{inside}/" if inside else ""
        self._parent, self.folder = parent, scratch / "commit.git"
        kind = ["--object-format=sha256"] if len(parent) > 40 else []
        git.run(["init", "--quiet", "--bare", *kind, str(self.folder)], cwd=scratch)
        objects = f"{(clone / 'objects').resolve()}\n"
        (self.folder / "objects" / "info" / "alternates").write_text(objects, encoding="utf-8")
        if (clone / "shallow").exists():
            (self.folder / "shallow").write_bytes((clone / "shallow").read_bytes())
        self._index = {"GIT_INDEX_FILE": str(scratch / "index")}
        self._run(["read-tree", parent])

    def show(self, path: str) -> bytes | None:
        """A file of the parent; None: it has none of this name."""
        path = self._inside + path
        if not self._run(["ls-tree", self._parent, "--", path]).strip():
            return None
        return git.run_bytes(["cat-file", "blob", f"{self._parent}:{path}"], cwd=self.folder)

    def elsewhere(self, paths: Sequence[str]) -> list[str]:
        """Those of the paths that the repository keeps in Git LFS, or passes through another filter."""
        out = self._run(["check-attr", "--cached", "-z", "filter", "--", *(self._inside + path for path in paths)])
        fields = out.split("\0")
        return [
            path.removeprefix(self._inside)
            for path, value in zip(fields[::3], fields[2::3], strict=False)
            if value not in {"unspecified", "unset"}
        ]

    def commit(self, files: Mapping[str, Path], message: str, author: Author, committer: Author) -> str:
        """Its id; `files`: path in the repository → where its bytes are."""
        for name, source in files.items():
            path = self._inside + name
            blob = self._run(["hash-object", "-w", "--no-filters", "--", str(source.resolve())]).strip()
            mode = (self._run(["ls-tree", self._parent, "--", path]).split() or ["100644"])[0]
            self._run(["update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}"])
        tree = self._run(["write-tree"]).strip()
        who = {
            "GIT_AUTHOR_NAME": author.name, "GIT_AUTHOR_EMAIL": author.email,
            "GIT_COMMITTER_NAME": committer.name, "GIT_COMMITTER_EMAIL": committer.email,
        }  # fmt: skip
        words = ["-c", "commit.gpgSign=false", "commit-tree", tree, "-p", self._parent, "-F", "-"]
        return git.run_bytes(words, cwd=self.folder, extra=self._index | who, given=message.encode()).decode().strip()

    def push(self, commit: str, url: str, branch: str, show: Callable[[str], None]) -> bool:
        """Whether it is on the branch now; False: another push came in between. `show` gets what the remote says meanwhile: its
        hook may run the pipeline, for as long as that takes. Raises ConfigError, TryAgain."""
        words = ["git", "-c", "advice.pushUpdateRejected=false", "-c", "protocol.ext.allow=never"]
        words += [*git.ssh_options(url, self.folder), "push", "--quiet", "--", url, f"{commit}:refs/heads/{branch}"]
        said = []
        with subprocess.Popen(
            [*dies_with_us(), *words], cwd=self.folder, env=git.clean_environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
        ) as process:  # fmt: skip
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    if line.startswith("remote:"):
                        show(clean(line.rstrip(), 1000))
                    else:
                        said.append(clean(line.strip(), 500))
            except BaseException:
                process.terminate()
                raise
        if process.returncode == 0:
            return True
        reason = git.redact("; ".join(said[-3:])) or f"git ended with {process.returncode}"
        if OVERTAKEN.search(reason):
            return False
        raise _not_pushed(f"[repositories] dataset: {git.redact(url)}", branch, reason)

    def _run(self, words: list[str]) -> str:
        return git.run(words, cwd=self.folder, extra=self._index)


def _not_pushed(where: str, branch: str, reason: str) -> PipelineError:
    if git.TRANSIENT.search(reason) and not git.LASTING.search(reason):
        return TryAgain(
            f"{where} cannot be reached: {reason}", hint="the network or the git server is down: retry later"
        )
    hint = f"let this user push to {branch}" if REFUSED.search(reason) else "`git push` to it by hand says more"
    return ConfigError(f"{where} does not take a push to {branch}: {reason}", hint=f"{hint}; no label is lost")
