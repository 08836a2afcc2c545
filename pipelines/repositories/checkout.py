"""Writes a commit's files to a folder, in a fence: names and contents are those of strangers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from pipelines.repositories import git
from pipelines.repositories.tree import index_in, tree_of
from registry.files import TMP

# A commit gives the same files for everybody, whatever they have set for their own working trees.
AS_COMMITTED = ("-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.attributesFile=/dev/null")
# Twice as many processes as cores: git splits the files among them beforehand, and some end earlier.
ON_ALL_CORES = ("-c", f"checkout.workers={2 * (os.cpu_count() or 1)}", "-c", "checkout.thresholdForParallelism=1000")


class Checkout:
    """The files of a commit, on their way to the folder `target`. In `with` a process puts up its fence, where the clone is
    there already, while the commit may still be on its way."""

    def __init__(self, repository: Path, commit: str, target: Path, folder: str = "") -> None:
        """`repository` is the clone; `folder`: of which the files are wanted, empty: all."""
        self._tree = tree_of(commit, folder)
        self.repository, self.commit, self.target = repository, commit, target
        self._begun: Callable[[], None] | None = None
        self._inode = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._inode = inode(self.repository)
        if self._inode:
            self._begun = self._open.enter_context(self._in_fence())
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self) -> None:
        """Write the commit's files, all or none. Symbolic links become small text files.

        Raises TryAgain when the disk is full or does not answer, GitFailed for what git cannot read or write.
        """
        if self.target.exists():
            return
        begun, self._begun = self._begun, None
        if begun and self._inode == inode(self.repository):
            begun()
            return
        with self._in_fence() as begin:  # its fence is around the clone that is there now
            begin()

    @contextmanager
    def _in_fence(self) -> Iterator[Callable[[], None]]:
        """A process that can read the clone and write to one folder, and no more; what is yielded has it write the files."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(dir=self.target.parent, prefix=TMP))
        try:
            files = tmp / "tree"
            files.mkdir()
            words = [*AS_COMMITTED, *ON_ALL_CORES, "-c", "core.symlinks=false", "-c", "core.bare=false"]
            words += ["--git-dir", str(self.repository.absolute()), "--work-tree", str(files.absolute())]
            words += ["read-tree", "--reset", "-u", self._tree]
            fence, alone = git.fenced(self.repository, tmp)
            with git.Command(words, extra=index_in(tmp) | alone, cwd=files, prefix=fence, reads=True) as command:

                def begin() -> None:
                    command.output(git.BEGIN)
                    files.rename(self.target)

                yield begin
        finally:
            shutil.rmtree(tmp, ignore_errors=True)


def inode(folder: Path) -> int:
    """The inode of the folder that has this name now; 0 when none has."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0
