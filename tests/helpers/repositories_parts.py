"""Bare repositories, and clones to work in."""

from __future__ import annotations

import subprocess
from pathlib import Path

from team import clean_environment

PERSON = {f"GIT_{role}_{what}": "d@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(*arguments: str, cwd: Path, given: bytes = b"") -> str:
    environment = clean_environment() | PERSON | {"GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=cwd,
        env=environment,
        input=given,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


class Repository:
    """A bare repository and a clone of it to work in."""

    def __init__(self, folder: Path, name: str, *options: str) -> None:
        self.url = folder / "served" / f"{name}.git"
        self.url.parent.mkdir(exist_ok=True)
        git("init", "--quiet", "--bare", "--initial-branch=main", *options, str(self.url), cwd=folder)
        self.work = folder / "work" / name
        git("init", "--quiet", "--initial-branch=main", *options, str(self.work), cwd=folder)
        git("remote", "add", "origin", str(self.url), cwd=self.work)

    def commit(self, files: dict[str, bytes], *entries: str) -> str:
        """Push these files, and entries of the index (`mode,sha,path`); gives the commit."""
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        git("add", "--all", cwd=self.work)
        for each in entries:
            git("update-index", "--add", "--cacheinfo", each, cwd=self.work)
        git("commit", "--quiet", "--allow-empty", "-m", "change", cwd=self.work)
        git("push", "--quiet", "--force", "origin", "main", cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)
