"""A push that changes nothing that matters is answered from what an earlier run has found out; any other one is not."""

from __future__ import annotations

import dataclasses

import pytest
from team import Team

from pipelines import flow
from pipelines.config import Config, Repositories
from pipelines.context import Context
from pipelines.git_cache import Cache
from pipelines.progress import open_progress
from pipelines.runs import RunFolder, StepRecord
from pipelines.steps.fetch import Fetched
from pipelines.unchanged import fingerprint, known_already
from registry import candidates, codec
from registry.nouns import Run, Sources, utc_now

UNIMPORTANT = Repositories("", "", "").unimportant
FILES = fingerprint({"code": "1", "dataset": "2", "tests": "3"})
RUN = Run(
    id="earlier00000", model="digits", trigger="code", sources=Sources("a" * 40, "b" * 40, "c" * 40), config="d" * 64,
    parent=None, candidate=None, created_at=utc_now(), forced=False, reason="",
)  # fmt: skip


class TestTheFilesThatMatter:
    @pytest.fixture
    def content(self, tmp_path):
        """What one more commit of the code repository, with these files in it, comes down to."""
        (tmp_path / "team").mkdir()
        team = Team(tmp_path / "team")
        url, cache = str(tmp_path / "team/repositories/code.git"), Cache(tmp_path / "cache")

        def content(files, unimportant=UNIMPORTANT):
            team.write("code", files)
            sha, _ = team.push("code")
            cache.fetch(url, sha, "code")
            return cache.content(url, sha, unimportant)

        content({"model.py": "1"})
        return content

    def test_are_the_same_after_an_empty_commit(self, content):
        assert content({}) == content({})

    @pytest.mark.parametrize("name", ["README.md", "docs/more.md", "LICENSE", ".gitignore", ".github/ci.yml"])
    def test_do_not_include_what_is_unimportant(self, content, name):
        assert content({}) == content({name: "new"})

    @pytest.mark.parametrize("name", ["model.py", "requirements.txt", "LICENSE/model.py", "md", "größe.py"])
    def test_include_every_other_file(self, content, name):
        assert content({}) != content({name: "new"})

    def test_have_names(self, content):
        assert content({"a.py": "same"}) != content({"a.py": None, "b.py": "same"})

    def test_are_what_the_team_says(self, content):
        mine = ("notes/*",)
        assert content({}, mine) == content({"notes/a.txt": "new"}, mine)
        assert content({}, mine) != content({"README.md": "new"}, mine)


@pytest.fixture
def context(tmp_path):
    """A home in which one run has ended: it trained, and was accepted."""
    config = Config("digits", Repositories("code", "dataset", "tests"), home=str(tmp_path))
    config = dataclasses.replace(
        config, registry=dataclasses.replace(config.registry, url=f"file://{tmp_path}/registry")
    )
    context = Context(config, open_progress())
    folder = run_folder(context, RUN)
    for step in flow.FLOWS["code"]:
        folder.keep(StepRecord(step, "done", f"{step} is well", utc_now(), 1.0))
    return context


def run_folder(context: Context, run: Run, files: str = FILES) -> RunFolder:
    folder = RunFolder(context.config.runs / run.id)
    codec.save(run, folder.root / "run.json")
    codec.save(Fetched((), files), folder.root / "fetched.json")
    return folder


def later(**changes: object) -> Run:
    return dataclasses.replace(RUN, id="later0000000", **changes)


def test_the_same_question_about_the_same_files_is_answered(context):
    said = known_already(context, run_folder(context, later()), FILES)
    assert said == "run earlier00000 was about the same files: accept is well"


OTHERS = {
    "forced": later(forced=True),
    "another live release": later(parent=1),
    "other settings": later(config="e" * 64),
    "another trigger": later(trigger="dataset"),
    "another model": later(model="letters"),
    "new tests for a version": later(trigger="tests", candidate=1),
}


@pytest.mark.parametrize("run", OTHERS.values(), ids=OTHERS)
def test_another_question_is_not(context, run):
    assert not known_already(context, run_folder(context, run), FILES)


def test_other_files_are_another_question(context):
    other = fingerprint({"code": "new", "dataset": "2", "tests": "3"})
    assert not known_already(context, run_folder(context, later(), other), other)


@pytest.mark.parametrize("lost", ["accept", "notify"])
def test_a_run_that_has_not_ended_answers_nothing(context, lost):
    RunFolder(context.config.runs / RUN.id).forget(lost)
    assert not known_already(context, run_folder(context, later()), FILES)


def test_a_run_that_found_out_nothing_itself_answers_nothing(context):
    earlier = RunFolder(context.config.runs / RUN.id)
    for step in flow.FLOWS["code"][2:-1]:
        earlier.forget(step)
    earlier.keep(StepRecord("fetch", "enough", "nothing new", utc_now(), 0.1))
    assert not known_already(context, run_folder(context, later()), FILES)


def test_a_damaged_run_answers_nothing(context):
    (context.config.runs / RUN.id / "run.json").write_text("{", encoding="utf-8")
    assert not known_already(context, run_folder(context, later()), FILES)


@pytest.mark.parametrize("trigger", ["code", "dataset"])
def test_the_files_of_the_live_release_can_make_nothing_better(context, trigger):
    version = candidates.claim(context.store, "digits", RUN.id)
    said = known_already(context, run_folder(context, later(trigger=trigger, parent=version)), FILES)
    assert said == f"version {version}, which is live, was made of the same files"
    assert not known_already(context, run_folder(context, later(trigger="tests", parent=version)), FILES)
