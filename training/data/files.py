"""Finds the data files that `dataset.toml` names and reports what is plainly wrong with one, before a parser does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from training.data.checks import Checks

FILES = "the data files are there and can be read"
POINTER = b"version https://git-lfs.github.com/spec/"
CORRECT = "replace the file, or correct dataset.toml"


def find_files(repository: Path, patterns: Iterable[str], setting: str, checks: Checks) -> list[str]:
    """The files that the patterns name, sorted, relative to the repository; what is wrong goes to `checks`."""
    checks.make(FILES)
    found: set[str] = set()
    for pattern in patterns:
        try:
            matches = [path for path in repository.glob(pattern) if path.is_file() or path.is_symlink()]
        except (ValueError, IndexError, NotImplementedError):  # what pathlib raises depends on the pattern
            matches = []
        if not matches:
            checks.fail(FILES, f"{setting}: {pattern!r} matches no file", "add the file, or correct dataset.toml")
        found |= {path.relative_to(repository).as_posix() for path in matches}
    return [name for name in sorted(found) if _is_whole(repository, name, checks)]


def _is_whole(repository: Path, name: str, checks: Checks) -> bool:
    path = repository / name
    if path.is_symlink() or not path.resolve().is_relative_to(repository.resolve()):
        checks.fail(FILES, f"{name} is a symbolic link, or inside one", "put the file itself into the repository")
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        checks.fail(FILES, f"{name} is empty (0 bytes)", CORRECT)
    elif start.startswith(POINTER):
        checks.fail(
            FILES,
            f"{name} is a Git LFS pointer, not the data",
            "set [repositories] lfs = true and do not list it as unimportant, or keep the file in git itself",
        )
    else:
        return True
    return False
