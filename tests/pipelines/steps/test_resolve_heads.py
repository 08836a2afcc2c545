"""A repository that is code, dataset and tests at once has one commit in a run."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipelines.config.schema import Config, Repositories
from pipelines.repositories import git, processes
from pipelines.steps import resolve
from registry import candidates, releases


@pytest.fixture
def heads(monkeypatch):
    """The commits of a run, with these URLs and given commits; each time a head is asked for it is a newer commit."""

    def heads(urls, given=None):
        newest = iter("123")
        monkeypatch.setattr(git, "head", lambda url, branch, what: next(newest) * 40)
        monkeypatch.setattr(processes, "in_parallel", lambda work, items: [work(each) for each in items])
        config = SimpleNamespace(repositories=SimpleNamespace(branch_of=lambda name: "main"))
        context = SimpleNamespace(config=config, url=dict(zip(("code", "dataset", "tests"), urls, strict=True)).get)
        found = resolve._heads(context, given or {})
        return found["code"][0] + found["dataset"][0] + found["tests"][0]

    return heads


@pytest.mark.parametrize(
    ("urls", "given", "found"),
    [
        ("abc", {}, "123"),
        ("aaa", {}, "111"),
        ("aba", {}, "121"),
        ("aaa", {"tests": "9" * 40}, "999"),
        ("aab", {"code": "9" * 40}, "991"),
        ("aaa", {"code": "8" * 40, "tests": "9" * 40}, "889"),
    ],
)
def test_roles_of_one_repository_share_its_commit(heads, urls, given, found):
    assert heads(urls, given) == found


@pytest.fixture
def run_of(monkeypatch):
    """The id of the run of one commit of one repository, with these settings of [repositories]."""
    monkeypatch.setattr(git, "head", lambda url, branch, what: "1" * 40)
    monkeypatch.setattr(releases, "live", lambda store, model: None)
    monkeypatch.setattr(candidates, "newest", lambda store, model: None)

    def run_of(**settings):
        config = Config("m", replace(Repositories("a.git", "a.git", "a.git"), **settings))
        context = SimpleNamespace(config=config, store=None, url=lambda name: "a.git")
        return resolve._run(context, resolve.Request("code"), elsewhere=False).id

    return run_of


def test_another_folder_of_the_same_commit_is_another_run(run_of):
    folders = {"code_folder": "m/code", "dataset_folder": "m/data"}
    assert run_of(**folders) == run_of(**folders)
    different = [run_of(), run_of(**folders), run_of(code_folder="m/code"), run_of(dataset_folder="m/code")]
    assert len({*different, run_of(**{**folders, "dataset_folder": "m/newer"})}) == 5


def test_whole_repositories_keep_the_ids_that_their_runs_had_before_there_were_folders(run_of):
    assert run_of() == "304ccc3f964f"
