"""Repositories for the tests, and what a run gets of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories_parts import Repository

from pipelines.repositories.git_cache import GitCache
from pipelines.repositories.tree import Extras


@pytest.fixture
def repository(tmp_path):
    return lambda name, *options: Repository(tmp_path, name, *options)


@pytest.fixture
def bring(tmp_path):
    """The folder that a run gets for a commit, with these settings."""
    numbers = iter(range(100))

    def bring(url, commit, what="dataset", **extras) -> Path:
        target = tmp_path / f"got{next(numbers)}"
        GitCache(tmp_path / "home/git", Extras(**extras)).fetch_and_checkout(str(url), commit, what, target)
        return target

    return bring
