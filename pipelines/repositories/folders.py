"""A folder of a repository as code, dataset or tests: `url#folder`. Its files are the role's, and only a push that touches it
starts the role's pipeline."""

from __future__ import annotations

from pipelines.repositories import git
from pipelines.repositories.git import GitFailed
from pipelines.repositories.git_cache import GitCache


def is_touched(cache: GitCache, url: str, name: str, folder: str, commits: tuple[str, str]) -> bool:
    """Whether a folder differs between two commits, the older first; True where that is not known. Fetches the newer one.

    Raises ConfigError and TryAgain as `GitCache.fetch` does.
    """
    old, new = commits
    if not folder or not git.FULL_SHA.fullmatch(old):
        return True
    cache.fetch(url, new, name)
    clone = cache.clone_of(url, new)
    try:
        found = git.run(["rev-parse", f"{old}:{folder}", f"{new}:{folder}"], cwd=clone).split()
    except GitFailed:  # the old one is gone after a forced push, or one of them has no such folder
        return True
    return len(set(found)) > 1
