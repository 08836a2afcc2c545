"""A push that changes nothing that matters is answered from what an earlier run has found out; any other one is not."""

from __future__ import annotations

import dataclasses
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from registry_parts import promote, release
from versions import acceptance_draft, candidate, digests

from pipelines import flows
from pipelines.config.schema import Config, Repositories
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.repositories.changes import Fetched
from pipelines.reuse import prepared_data, up_to_date
from pipelines.reuse.up_to_date import digest_of, known_already
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, codec
from registry.records import (
    Run,
    Sources,
    utc_now,
)

FILES = digest_of({"code": "1", "dataset": "2", "tests": "3"})
RUN = Run(
    id="earlier00000", model="digits", trigger="code", sources=Sources("a" * 40, "b" * 40, "c" * 40), config="d" * 64,
    parent=None, candidate=None, created_at=utc_now(), forced=False, reason="",
)  # fmt: skip


@pytest.fixture
def context(tmp_path):
    """A home in which one run has ended: it trained, and was accepted."""
    config = Config("digits", Repositories("code", "dataset", "tests"), home=str(tmp_path))
    config = dataclasses.replace(
        config, registry=dataclasses.replace(config.registry, url=f"file://{tmp_path}/registry")
    )
    context = Context(config, open_progress())
    ended(context, RUN)
    publish(context, RUN)
    accept(context, RUN)
    return context


def ended(context: Context, run: Run) -> RunFolder:
    folder = run_folder(context, run)
    for step in flows.names(run.trigger):
        folder.keep(StepRecord(step, "done", f"{step} is well", utc_now(), 1.0))
    return folder


def publish(context: Context, run: Run) -> None:
    """Version 1, made by the run."""
    source = Path(context.config.home) / "made"
    source.mkdir(exist_ok=True)
    model = source / "model.tflite"
    model.write_bytes(b"a model")
    version = candidates.claim(context.store, "digits", run.id)
    card = candidate("digits", version, run.id, digests(source), sources=run.sources, parent=run.parent)
    candidates.publish(context.store, card, source)


def accept(context: Context, run: Run, accepted: bool = True) -> None:
    """One more acceptance test of version 1, by this run."""
    digest = candidates.manifest_digest(context.store, "digits", 1)
    reasons = () if accepted else ("no",)
    draft = acceptance_draft("digits", 1, digest, reasons, tests=run.sources.tests, run=run.id, at=utc_now())
    candidates.append_acceptance(context.store, draft)


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
    "another live release": later(parent=2),
    "other settings": later(config="e" * 64),
    "another trigger": later(trigger="dataset"),
    "another model": later(model="letters"),
    "new tests for a version": later(trigger="tests", candidate=1),
}


@pytest.mark.parametrize("run", OTHERS.values(), ids=OTHERS)
def test_another_question_is_not(context, run):
    assert not known_already(context, run_folder(context, run), FILES)


def test_other_code_of_trainyard_is_another_question(context):
    root = Path(up_to_date.__file__).parents[2]
    assert {path.parent.name for path in root.glob("*/__init__.py")} == set(prepared_data.PACKAGES)
    assert prepared_data.tools(context) != prepared_data.tools(context, prepared_data.PACKAGES)


def test_other_packages_are_another_question(context):
    installed = [f"{name}-{metadata.version(name)}.dist-info" for name in ("numpy", "keras", "pyarrow")]
    assert set(installed) <= set(prepared_data.tools(context))


def test_the_order_in_which_the_files_are_given_makes_no_difference():
    assert digest_of({"code": "1", "tests": "3"}) == digest_of({"tests": "3", "code": "1"})


def test_the_test_of_another_candidate_is_another_question(context):
    ended(context, TESTED)
    accept(context, TESTED)
    assert known_already(context, run_folder(context, later(trigger="tests", candidate=1)), FILES)
    shutil.rmtree(context.config.runs / "later0000000")
    assert not known_already(context, run_folder(context, later(trigger="tests", candidate=2)), FILES)


@pytest.mark.parametrize("steps", [(), ("resolve",), ("resolve", "fetch")])
def test_a_run_that_is_not_past_fetch_still_asks(context, steps):
    folder = run_folder(context, later())
    for step in steps:
        folder.keep(StepRecord(step, "done", "", utc_now(), 0.1))
    assert known_already(context, folder, FILES)


@pytest.mark.parametrize("step", ["validate", "train", "accept"])
def test_a_run_that_any_later_step_belongs_to_asks_no_more(context, step):
    folder = run_folder(context, later())
    folder.keep(StepRecord(step, "rejected", "", utc_now(), 0.1))
    assert not known_already(context, folder, FILES)


def test_a_file_that_cannot_be_read_is_passed_over(context):
    (context.config.runs / "aaaa00000000/fetched.json").mkdir(parents=True)
    assert known_already(context, run_folder(context, later()), FILES)


def test_altered_acceptance_tests_answer_nothing(context):
    (found,) = Path(context.config.home).glob("registry/test/digits/1/acceptances/**/*.json")
    found.write_bytes(found.read_bytes().replace(b"true", b"false"))
    assert not known_already(context, run_folder(context, later()), FILES)


def test_other_files_are_another_question(context):
    other = digest_of({"code": "new", "dataset": "2", "tests": "3"})
    assert not known_already(context, run_folder(context, later(), other), other)


@pytest.mark.parametrize("lost", ["accept", "notify"])
def test_a_run_that_has_not_ended_answers_nothing(context, lost):
    RunFolder(context.config.runs / RUN.id).forget(lost)
    assert not known_already(context, run_folder(context, later()), FILES)


def test_a_run_that_found_out_nothing_itself_answers_nothing(context):
    earlier = RunFolder(context.config.runs / RUN.id)
    for step in flows.names("code")[2:-1]:
        earlier.forget(step)
    earlier.keep(StepRecord("fetch", "enough", "nothing new", utc_now(), 0.1))
    assert not known_already(context, run_folder(context, later()), FILES)


def test_a_damaged_run_answers_nothing(context):
    (context.config.runs / RUN.id / "run.json").write_text("{", encoding="utf-8")
    assert not known_already(context, run_folder(context, later()), FILES)


@pytest.mark.parametrize("trigger", ["code", "dataset"])
def test_the_files_of_the_live_release_can_make_nothing_better(context, trigger):
    said = known_already(context, run_folder(context, later(trigger=trigger, parent=1)), FILES)
    assert said == "version 1, which is live, was made of the same files"
    assert not known_already(context, run_folder(context, later(trigger="tests", parent=1)), FILES)
    accept(context, TESTED, accepted=False)
    assert not known_already(context, run_folder(context, later(trigger=trigger, parent=1)), FILES)


@pytest.mark.parametrize("trigger", ["code", "dataset"])
def test_nobody_is_asked_again_about_what_was_taken_back(context, trigger):
    again = later(trigger=trigger, parent=2)
    assert not known_already(context, run_folder(context, again), FILES)
    publish(context, dataclasses.replace(RUN, id="other0000000"))
    promote(context.store, 1, "token 1")
    promote(context.store, 2, "token 2")
    assert not known_already(context, run_folder(context, again), FILES)
    release(context.store, 2, kind="rollback")
    said = known_already(context, run_folder(context, again), FILES)
    assert said == (
        "version 1 was made of the same files, and was taken back by release 3; "
        f"`trainyard run {trigger} --force` makes another version of them"
    )
    assert not known_already(context, run_folder(context, later(trigger="tests", parent=2)), FILES)


TESTED = dataclasses.replace(RUN, id="tested000000", trigger="tests", candidate=1)


def test_a_push_of_the_same_tests_is_answered_until_another_run_has_tested_a_version_since(context):
    again = later(trigger="tests", candidate=1)
    ended(context, TESTED)
    accept(context, TESTED)
    assert known_already(context, run_folder(context, again), FILES)
    accept(context, dataclasses.replace(TESTED, id="others000000"))
    assert not known_already(context, run_folder(context, again), FILES)


@pytest.mark.parametrize("who", ["other tests of the candidate", "other tests of the live release"])
def test_what_was_overruled_answers_nothing(context, who):
    asked = RUN if who == "other tests of the candidate" else dataclasses.replace(TESTED, parent=1, candidate=None)
    if asked != RUN:
        ended(context, asked)
        accept(context, asked)
    accept(context, dataclasses.replace(TESTED, id="others000000"), accepted=False)
    again = dataclasses.replace(asked, id="later0000000")
    assert not known_already(context, run_folder(context, again), FILES)


def test_what_was_rejected_is_never_an_answer_whatever_others_accepted(context):
    for name in ("aaaa00000000", "zzzz00000000"):  # runs are found by name
        no = run_folder(context, dataclasses.replace(RUN, id=name))
        for step in ("resolve", "fetch", "notify"):
            no.keep(StepRecord(step, "done", "", utc_now(), 1.0))
        no.keep(StepRecord("validate", "rejected", "worse than what is live", utc_now(), 1.0))
        assert not known_already(context, run_folder(context, later()), FILES)
        shutil.rmtree(no.root)
    assert known_already(context, run_folder(context, later()), FILES)


def test_a_run_whose_acceptance_tests_cannot_be_read_answers_nothing(context):
    shutil.rmtree(Path(context.config.home) / "registry/test/digits/1")
    assert not known_already(context, run_folder(context, later()), FILES)


def test_a_run_that_is_past_fetch_asks_no_more(context):
    folder = run_folder(context, later())
    folder.keep(StepRecord("register", "done", "version 2", utc_now(), 1.0))
    assert not known_already(context, folder, FILES)
