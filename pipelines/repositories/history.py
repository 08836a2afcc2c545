"""What the commits of a clone say: what is new since another one, who made it, and whether the files are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.repositories import git
from pipelines.repositories.changes import Changes, Commit
from pipelines.repositories.git import FULL_SHA, GitFailed
from pipelines.repositories.memory import Memory
from pipelines.repositories.tree import any_of, tree_of
from pipelines.text.clean import clean


class History:
    """Questions about commits of one clone. Raises GitFailed, and FileNotFoundError when the clone is gone."""

    def __init__(self, clone: Path, folder: str = "") -> None:
        """`folder`: the only one whose files count; empty: all do."""
        self.clone, self.folder = clone, folder
        self._paths = [f":(top,literal){folder}"] if folder else []

    def changes(self, old: str | None, new: str, what: str, most: int = 10) -> Changes:
        """The newest commits up to `new` that `old` does not have; without a usable `old`, just the last one."""
        if old == new:
            return Changes(what, ())
        out = self._log(old, new)
        rows = [line.split("\x1f", 3) for line in out.split("\0") if line]
        commits = [Commit(sha, clean(author), clean(subject), address) for sha, address, author, subject in rows]
        return Changes(what, tuple(commits[:most]), max(len(commits) - most, 0))

    def authors(self, old: str | None, new: str) -> set[str] | None:
        """Authors and committers (`name <address>`, by the repository's .mailmap) of the commits up to `new` that `old`
        does not have; without a usable `old`, of all. None when a shallow repository does not have all of these commits."""
        if old == new:
            return set()
        memory, question = Memory(self.clone, __file__), ("authors", old or "", new, *self._paths)
        if known := memory.recall(*question):
            return set(json.loads(known))
        since = [f"^{old}"] if old and FULL_SHA.fullmatch(old) and git.has_commit(self.clone, old) else []
        cut = set(git.words_of(self.clone / "shallow"))  # commits whose parents are missing
        if cut and cut & set(git.run(["rev-list", *since, new, "--"], cwd=self.clone).split()):
            return None
        mailmap = ["-c", f"mailmap.blob={new}:.mailmap"]  # a bare clone has no working tree to find it in
        log = ["log", "-z", "--use-mailmap", "--format=%aN <%aE>%x00%cN <%cE>", *since, new, "--", *self._paths]
        out = git.run([*mailmap, *log], cwd=self.clone)
        authors = {clean(each, 200) for each in out.split("\0") if each.strip()}
        if since or not old:  # else it may still come
            memory.keep(json.dumps(sorted(authors)), *question)
        return authors

    def content_digest(self, commit: str, unimportant: Sequence[str]) -> str:
        """A digest of the commit's files, names and bytes, except for those that match a pattern in `unimportant`."""
        tree = tree_of(commit, self.folder)
        memory, question = Memory(self.clone, __file__), ("content", tree, *unimportant)
        if known := memory.recall(*question):
            return known
        listed = git.run(["-c", "core.quotePath=true", "ls-tree", "-r", "--full-tree", tree], cwd=self.clone)
        matches = any_of(unimportant)
        kept = [row for row in listed.splitlines() if not matches(row.partition("\t")[2].strip('"'))]
        digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()
        memory.keep(digest, *question)
        return digest

    def is_older(self, commit: str, than: str) -> bool:
        """Whether `than` came after `commit`, by their history; False when that is not known here."""
        try:
            git.run(["merge-base", "--is-ancestor", commit, than], cwd=self.clone)
        except (GitFailed, FileNotFoundError):
            return False
        return commit != than

    def _log(self, old: str | None, new: str) -> str:
        log = ["log", "-z", "--format=%H%x1f%ae%x1f%an%x1f%s"]
        if old and FULL_SHA.fullmatch(old):
            try:
                return git.run([*log, f"{old}..{new}", "--", *self._paths], cwd=self.clone)
            except GitFailed:
                if git.has_commit(self.clone, old):
                    raise
        return git.run([*log, "--max-count=1", new, "--", *self._paths], cwd=self.clone)
