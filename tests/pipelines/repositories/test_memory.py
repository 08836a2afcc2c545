"""What is known of a commit is not found out twice; what may have changed is."""

from __future__ import annotations

import os
import shutil

import pytest

from pipelines.repositories import git_cache
from pipelines.repositories.git_cache import GitCache
from pipelines.repositories.memory import FOLDER, Memory
from registry.errors import ConfigError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The commands that git has been given since this was last called."""
    log, program = tmp_path / "asked", tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho " $* " >> {log}\nexec {shutil.which("git")} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def asked() -> str:
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        log.unlink(missing_ok=True)
        return text

    return asked


class TestACommitWhoseFilesAreAllThere:
    def test_is_looked_at_once(self, repository, bring, asked):
        data = repository("data")
        commit = data.commit({"a.csv": b"1,2\n" * 9})
        bring(data.url, commit)
        assert "ls-tree" in asked()
        assert (bring(data.url, commit) / "a.csv").read_bytes() == b"1,2\n" * 9
        assert "ls-tree" not in asked()

    def test_is_looked_at_again_when_what_looks_at_it_has_changed(self, repository, bring, asked, monkeypatch):
        data = repository("data")
        commit = data.commit({"a.csv": b"1,2\n" * 9})
        bring(data.url, commit)
        asked()
        monkeypatch.setattr(git_cache.tree, "__file__", __file__)
        bring(data.url, commit)
        assert "ls-tree" in asked()

    def test_is_looked_at_again_in_a_clone_that_was_made_again(self, repository, bring, asked, tmp_path):
        data = repository("data")
        commit = data.commit({"a.csv": b"1,2\n" * 9})
        bring(data.url, commit)
        shutil.rmtree(tmp_path / "home/git")
        asked()
        bring(data.url, commit)
        assert "ls-tree" in asked()


def test_a_commit_that_names_what_is_not_there_is_refused_each_time(repository, bring):
    data = repository("data")
    commit = data.commit({"a.csv": POINTER})
    for _ in range(2):
        with pytest.raises(ConfigError, match="in Git LFS"):
            bring(data.url, commit)


class TestWhatIsKnownOfACommit:
    @pytest.fixture
    def clone(self, repository, tmp_path):
        """What a clone knows, and the commits in it."""
        code = repository("code")
        commits = [code.commit({"model.py": each, "README.md": each}) for each in (b"1", b"2")]
        cache = GitCache(tmp_path / "cache")
        cache.fetch(str(code.url), commits[1], "code")
        return cache.history(str(code.url), commits[1]), commits

    def test_is_a_digest_for_each_choice_of_files(self, clone, asked):
        history, (_, commit) = clone
        some, every = (history.content_digest(commit, patterns) for patterns in (["*.md"], []))
        asked()
        assert some != every
        assert [history.content_digest(commit, patterns) for patterns in (["*.md"], [])] == [some, every]
        assert asked() == ""

    def test_is_who_made_what_is_new_since_each_other_one(self, clone, asked):
        history, (old, new) = clone
        found = [history.authors(since, new) for since in (None, old)]
        asked()
        assert found == [history.authors(since, new) for since in (None, old)] != [set(), set()]
        assert asked() == ""

    def test_is_not_who_made_what_is_new_since_a_commit_that_is_not_here(self, clone, asked):
        history, (_, commit) = clone
        history.authors("0" * 40, commit)
        asked()
        history.authors("0" * 40, commit)
        assert " log " in asked()


class TestAnAnswer:
    def test_that_was_damaged_is_none(self, tmp_path):
        memory = Memory(tmp_path, __file__)
        memory.keep("yes", "is it?")
        (file,) = (tmp_path / FOLDER).iterdir()
        for damaged in (b"", b"yes", file.read_bytes()[:-1], b"\0" * 20, b"\xff\xfe"):
            file.write_bytes(damaged)
            assert memory.recall("is it?") == ""
        memory.keep("yes", "is it?")
        assert memory.recall("is it?") == "yes"

    def test_to_another_question_is_none(self, tmp_path):
        memory = Memory(tmp_path, __file__)
        memory.keep("yes", "is it?")
        (file,) = (tmp_path / FOLDER).iterdir()
        memory.keep("no", "is it not?")
        (other,) = {*(tmp_path / FOLDER).iterdir()} - {file}
        shutil.copyfile(file, other)
        assert memory.recall("is it not?") == ""
        assert memory.recall("is", "it?") == ""

    def test_that_cannot_be_kept_does_not_matter(self, tmp_path):
        memory = Memory(tmp_path / "gone", __file__)
        memory.keep("yes", "is it?")
        assert memory.recall("is it?") == ""
