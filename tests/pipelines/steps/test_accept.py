"""accept: whose trial counts, and an API that does not answer. The runner is one that starts nothing."""

import dataclasses
from contextlib import contextmanager

import pytest
from promotion_parts import MODEL, Project

from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.runners import Service
from pipelines.runs import RunFolder
from pipelines.steps import accept
from registry import candidates, codec
from registry.errors import Rejected, TryAgain
from registry.records import LoadReport, Run, Sources, TestCase, TestReport
from unit_tests.job import AcceptResult

OLD, NEW = "e" * 40, "f" * 40
YES = AcceptResult(
    tuple(TestReport(suite, (TestCase("it works", "passed"),)) for suite in ("api", "load", "tests")),
    LoadReport(100, 0, 2.0, 50.0, 1.0, 2.0, 3.0),
)


NO = dataclasses.replace(YES, reports=(*YES.reports[:2], TestReport("tests", (TestCase("it works", "failed"),))))


class Runner:
    """Every trial gives `result`; `meanwhile` is what others do while one runs."""

    name = "process"

    def __init__(self, meanwhile, result):
        self.meanwhile, self.result, self.trials = meanwhile, result, 0

    @contextmanager
    def service(self, _job, _on_line):
        yield Service("http://127.0.0.1:1", lambda: None)

    def run(self, job, _on_line):
        self.trials += 1
        self.meanwhile()
        codec.save(self.result, job.folder / "result.json")


def service(port):
    return Service(f"http://127.0.0.1:{port}", lambda: None)


@pytest.fixture
def project(tmp_path):
    """One version, which nobody has tried yet."""
    made = Project(tmp_path)
    made.publish(trials=())
    return made


def trial(project, *, trigger="code", meanwhile=lambda: None, store=None, result=YES):
    """A run with the old tests, at its step accept: a callable that performs it, and its runner."""
    run = Run("run1", MODEL, trigger, Sources("c" * 40, "d" * 40, OLD), "", None, 1, "2026-11-21T00:00:00Z")
    folder = RunFolder(project.folder / "run")
    codec.save(run, folder.root / "run.json")
    folder.split("holdout").mkdir(parents=True, exist_ok=True)
    (folder.root / "validate" / "result.json").write_text("{}")
    context = Context(project.config, open_progress(live=False))
    context.runner, context.store = Runner(meanwhile, result), store or project.store
    return lambda: accept.main(context, folder), context.runner


def tried(project):
    return [(each.tests[0], each.accepted) for each in candidates.acceptances(project.store, MODEL, 1)]


def test_a_slow_trial_with_older_tests_does_not_overrule_the_no_of_newer_ones(project):
    again, runner = trial(project, meanwhile=lambda: project.try_again(1, ("test_dark failed",), tests=NEW))
    with pytest.raises(TryAgain, match=r"newer tests \(ffffffff\) have tried version 1 meanwhile.*test_dark") as late:
        again()
    assert "trainyard run code" in late.value.hint
    assert tried(project) == [("f", False)]
    with pytest.raises(TryAgain):
        again()
    assert runner.trials == 1  # the same run has the same tests: it need not even try
    assert tried(project) == [("f", False)]


class Late:
    """A store into which somebody is quicker to write: `first` is done just before the first trial is appended."""

    def __init__(self, store, first):
        self._store, self._first = store, [first]

    def __getattr__(self, name):
        return getattr(self._store, name)

    def create(self, name, data, sha256=""):
        if "/acceptances/" in name and self._first:
            self._first.pop()()
        self._store.create(name, data, sha256)


def test_not_even_when_the_no_comes_between_the_last_look_and_the_yes(project):
    again, _ = trial(project, store=Late(project.store, lambda: project.try_again(1, ("test_dark failed",), tests=NEW)))
    with pytest.raises(TryAgain, match="newer tests"):
        again()
    assert tried(project) == [("f", False)]


def test_a_yes_that_comes_between_is_no_hindrance(project):
    again, _ = trial(project, store=Late(project.store, lambda: project.try_again(1, tests=NEW)))
    again()
    assert tried(project) == [("f", True), ("e", True)]


def test_a_slow_trial_is_added_to_the_yes_of_newer_tests_and_made_once(project):
    again, runner = trial(project, meanwhile=lambda: project.try_again(1, tests=NEW))
    assert again() == again() == "version 1 passed 3 checks (50 requests/s, p95 2.0 ms)"
    assert tried(project) == [("f", True), ("e", True)]
    assert runner.trials == 1


def test_a_slow_no_of_older_tests_does_not_overrule_the_yes_of_newer_ones(project):
    again, _ = trial(project, meanwhile=lambda: project.try_again(1, tests=NEW), result=NO)
    with pytest.raises(TryAgain, match=r"newer tests \(ffffffff\) have tried version 1 meanwhile, and accepted it"):
        again()
    assert tried(project) == [("f", True)]


def test_nor_when_the_yes_comes_between_the_last_look_and_the_no(project):
    again, _ = trial(project, store=Late(project.store, lambda: project.try_again(1, tests=NEW)), result=NO)
    with pytest.raises(TryAgain, match="newer tests"):
        again()
    assert tried(project) == [("f", True)]


def test_a_no_of_the_same_tests_counts_after_their_yes(project):
    project.try_again(1, tests=OLD)
    again, _ = trial(project, result=NO)
    with pytest.raises(Rejected, match="it works"):
        again()
    assert tried(project) == [("e", True), ("e", False)]


def test_a_run_of_new_tests_has_the_last_word(project):
    project.try_again(1, ("test_dark failed",), tests=NEW)
    again, _ = trial(project, trigger="tests")
    again()
    assert tried(project) == [("f", False), ("e", True)]
