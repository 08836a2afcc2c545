"""A repository that is code, dataset and tests at once has one commit in a run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipelines.repositories import git, processes
from pipelines.steps import resolve


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
