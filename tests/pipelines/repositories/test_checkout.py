"""A checkout that is begun before its commit is there."""

from __future__ import annotations

import os

import pytest

from pipelines.repositories import processes
from pipelines.repositories.git import GitFailed
from pipelines.repositories.git_cache import GitCache


@pytest.fixture
def cache(tmp_path):
    return GitCache(tmp_path / "cache")


@pytest.fixture
def code(repository):
    return repository("code")


@pytest.fixture
def clone(cache, code, tmp_path):
    """The clone, with a first commit."""
    cache.fetch(str(code.url), code.commit({"model.py": b"one"}), "code")
    (folder,) = (tmp_path / "cache").glob("*.git")
    return folder


def waiting() -> int:
    """Programs that were started and have not ended."""
    return len(processes._running)


def test_writes_what_was_fetched_since(cache, code, clone, tmp_path):
    commit = code.commit({"model.py": b"two"})
    with cache.checkout(str(code.url), commit, tmp_path / "tree") as files:
        assert waiting() == 1
        cache.fetch(str(code.url), commit, "code")
        files.write()
        assert (tmp_path / "tree" / "model.py").read_bytes() == b"two"
        files.write()  # it is there: nothing to do
    assert (waiting(), os.listdir(tmp_path / "tree")) == (0, ["model.py"])


def test_writes_from_a_clone_that_has_taken_the_place_of_the_first(cache, code, clone, tmp_path):
    commit = code.commit({"model.py": b"two"})
    with cache.checkout(str(code.url), commit, tmp_path / "tree") as files:
        clone.rename(tmp_path / "damaged")
        cache.fetch(str(code.url), commit, "code")
        files.write()
    assert (tmp_path / "tree" / "model.py").read_bytes() == b"two"


def test_writes_from_a_clone_that_was_not_there(cache, code, tmp_path):
    commit = code.commit({"model.py": b"one"})
    with cache.checkout(str(code.url), commit, tmp_path / "tree") as files:
        assert waiting() == 0
        cache.fetch(str(code.url), commit, "code")
        files.write()
    assert (tmp_path / "tree" / "model.py").read_bytes() == b"one"


def test_can_be_tried_again(cache, code, clone, tmp_path):
    commit = code.commit({"model.py": b"two"})
    with cache.checkout(str(code.url), commit, tmp_path / "tree") as files:
        with pytest.raises(GitFailed):
            files.write()
        cache.fetch(str(code.url), commit, "code")
        files.write()
    assert (tmp_path / "tree" / "model.py").read_bytes() == b"two"


def test_that_is_given_up_leaves_neither_a_process_nor_files(cache, code, clone, tmp_path):
    with cache.checkout(str(code.url), "0" * 40, tmp_path / "into" / "tree"):
        assert (waiting(), len(os.listdir(tmp_path / "into"))) == (1, 1)
    assert (waiting(), os.listdir(tmp_path / "into")) == (0, [])
