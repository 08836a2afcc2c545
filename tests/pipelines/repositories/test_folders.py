"""A folder of a repository as code, dataset or tests."""

import json

import pytest

from pipelines.config.addresses import folder_problem, parted
from pipelines.repositories.folders import is_touched
from pipelines.repositories.git_cache import GitCache
from pipelines.repositories.tree import Extras
from registry.errors import ConfigError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12\n"


@pytest.fixture
def one(repository):
    return repository("one")


@pytest.fixture
def cache(tmp_path):
    return GitCache(tmp_path / "cache", Extras(folders={"code": "m/code", "dataset": "m/data"}))


def test_each_role_gets_the_files_of_its_folder_by_one_fetch(one, cache, tmp_path):
    sha = one.commit({"README.md": b"x", "m/code/model.py": b"c", "m/data/a/1.csv": b"d", "m/code-2/model.py": b"no"})
    for name in ("code", "dataset", "tests"):
        cache.fetch_and_checkout(str(one.url), sha, name, tmp_path / name)
    found = {
        name: sorted(str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*") if p.is_file())
        for name in ("code", "dataset")
    }
    assert found == {"code": ["model.py"], "dataset": ["a/1.csv"]}
    assert (tmp_path / "tests" / "README.md").exists()
    assert len(list((tmp_path / "cache").glob("*.git"))) == 1


def test_a_folder_that_is_not_there_is_named(one, cache, tmp_path):
    sha = one.commit({"m/code": b"a file"})
    with pytest.raises(ConfigError, match=r"\[repositories\] code: commit .* has no folder 'm/code'"):
        cache.fetch_and_checkout(str(one.url), sha, "code", tmp_path / "code")


def test_what_lies_above_the_folder_counts(one, cache, tmp_path):
    modules = b'[submodule "m/data/sub"]\n\tpath = m/data/sub\n\turl = ../sub.git\n[submodule "x"]\n\tpath = x\n\turl = ../x.git\n'
    files = {".gitattributes": b"*.bin filter=lfs\n*.enc filter=git-crypt\n", "m/data/w.bin": LFS, "m/data/k.enc": b"?",
             ".gitmodules": modules, ".lfsconfig": b"[lfs]\n\turl = https://lfs.example.org\n",
             ".dvc/config": b"[core]\nremote = r\n", "m/data/t.csv.dvc": b"outs: []\n"}  # fmt: skip
    sha = one.commit(files)
    found = cache.look(str(one.url), sha, "dataset", tmp_path)
    assert list(found.pointers) == ["w.bin"]
    assert found.modules == {"sub": "../sub.git"}
    assert found.lfs == {"lfs.url": "https://lfs.example.org"}
    assert found.dvc_config == b"[core]\nremote = r\n"
    assert found.lacks == {
        "kept as the filter 'git-crypt' of .gitattributes makes it, and filters do not run here": ["k.enc"]
    }


def test_only_commits_that_touch_the_folder_are_new_in_it(one, cache):
    first = one.commit({"m/code/model.py": b"1", "m/data/a.csv": b"1"})
    one.commit({"m/code/model.py": b"1", "m/data/a.csv": b"2"})
    last = one.commit({"m/code/model.py": b"2", "m/data/a.csv": b"2"})
    url = str(one.url)
    cache.fetch(url, last, "code")
    history = cache.history(url, last, "code")
    assert [each.sha for each in history.changes(first, last, "code").commits] == [last]
    assert len(cache.history(url, last).changes(first, last, "tests").commits) == 2
    digests = [cache.history(url, last, "dataset").content_digest(sha, ()) for sha in (first, last)]
    assert digests[0] != digests[1] == cache.history(url, last, "dataset").content_digest(f"{last}^", ())


def test_a_push_touches_the_folders_in_which_it_changes_something(one, cache):
    first = one.commit({"m/code/model.py": b"1", "m/data/a.csv": b"1"})
    last = one.commit({"m/code/model.py": b"1", "m/data/a.csv": b"2"})
    url = str(one.url)
    assert not is_touched(cache, url, "code", "m/code", (first, last))
    assert is_touched(cache, url, "dataset", "m/data", (first, last))
    assert is_touched(cache, url, "tests", "", (first, last))
    assert is_touched(cache, url, "code", "m/code", ("0" * 40, last))
    assert is_touched(cache, url, "code", "gone", (first, last))


@pytest.mark.parametrize(
    ("address", "url", "folder"),
    [
        ("https://h/a.git#x/y/", "https://h/a.git", "x/y"),
        ("git@h:a.git#x", "git@h:a.git", "x"),
        ("../a.git", "../a.git", ""),
    ],
)
def test_an_address_may_name_a_folder(address, url, folder):
    assert parted(address) == (url, folder)


@pytest.mark.parametrize("folder", ["../x", "a/../b", "/x", "a//b", "./a", ".git/x", "a\nb"])
def test_what_is_no_folder_inside_is_refused(folder):
    assert folder_problem(folder)


def test_the_remembered_answer_is_that_of_the_folder(one, cache, tmp_path):
    sha = one.commit({"m/code/model.py": b"1", "m/data/a.csv": b"1"})
    for _ in range(2):
        names = {what: cache.look(str(one.url), sha, what, tmp_path).names for what in ("code", "dataset")}
        assert json.dumps(names) == '{"code": ["model.py"], "dataset": ["a.csv"]}'
