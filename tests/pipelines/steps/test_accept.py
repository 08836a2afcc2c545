"""accept: whose acceptance test counts, and an API that does not answer. The runner is one that starts nothing."""

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
ACCEPTED = AcceptResult(
    tuple(TestReport(suite, (TestCase("it works", "passed"),)) for suite in ("api", "load", "tests")),
    LoadReport(100, 0, 2.0, 50.0, 1.0, 2.0, 3.0),
)


REJECTED = dataclasses.replace(
    ACCEPTED, reports=(*ACCEPTED.reports[:2], TestReport("tests", (TestCase("it works", "failed"),)))
)


class Runner:
    """Every acceptance test gives `result`; `meanwhile` is what others do while one runs."""

    name = "process"

    def __init__(self, meanwhile, result):
        self.meanwhile, self.result, self.runs = meanwhile, result, 0

    @contextmanager
    def service(self, _job, _on_line):
        yield Service("http://127.0.0.1:1", "http://127.0.0.1:1", lambda: None)

    def run(self, job, _on_line):
        self.runs += 1
        self.meanwhile()
        codec.save(self.result, job.folder / "result.json")


def service(port):
    return Service(f"http://127.0.0.1:{port}", "http://127.0.0.1:1", lambda: None)


@pytest.fixture
def project(tmp_path):
    """One version, which nobody has tested yet."""
    made = Project(tmp_path)
    made.publish(tests=())
    return made


def step_accept(project, *, trigger="code", meanwhile=lambda: None, store=None, result=ACCEPTED):
    """A run with the old tests, at its step accept: a callable that performs it, and its runner."""
    run = Run("run1", MODEL, trigger, Sources("c" * 40, "d" * 40, OLD), "", None, 1, "2026-11-21T00:00:00Z")
    folder = RunFolder(project.folder / "run")
    codec.save(run, folder.root / "run.json")
    folder.split("holdout").mkdir(parents=True, exist_ok=True)
    (folder.root / "validate" / "result.json").write_text("{}")
    context = Context(project.config, open_progress(live=False))
    context.runner, context.store = Runner(meanwhile, result), store or project.store
    return lambda: accept.main(context, folder), context.runner


def outcomes(project):
    return [(each.tests[0], each.accepted) for each in candidates.acceptances(project.store, MODEL, 1)]


def test_slow_older_tests_do_not_overrule_newer_ones_that_rejected(project):
    again, runner = step_accept(project, meanwhile=lambda: project.test_again(1, ("test_dark failed",), tests=NEW))
    with pytest.raises(TryAgain, match=r"newer tests \(ffffffff\) were run on version 1 meanwhile.*test_dark") as late:
        again()
    assert "trainyard run code" in late.value.hint
    assert outcomes(project) == [("f", False)]
    with pytest.raises(TryAgain):
        again()
    assert runner.runs == 1  # the same run has the same tests: it need not even start them
    assert outcomes(project) == [("f", False)]


class Late:
    """A store with a concurrent writer: `first` is done just before the first acceptance test is appended."""

    def __init__(self, store, first):
        self._store, self._first = store, [first]

    def __getattr__(self, name):
        return getattr(self._store, name)

    def create(self, name, data, sha256=""):
        if "/acceptances/" in name and self._first:
            self._first.pop()()
        self._store.create(name, data, sha256)


def test_not_even_when_the_newer_ones_reject_just_before_the_older_ones_accept(project):
    again, _ = step_accept(
        project, store=Late(project.store, lambda: project.test_again(1, ("test_dark failed",), tests=NEW))
    )
    with pytest.raises(TryAgain, match="newer tests"):
        again()
    assert outcomes(project) == [("f", False)]


def test_newer_ones_that_accept_just_before_do_not_hinder_them(project):
    again, _ = step_accept(project, store=Late(project.store, lambda: project.test_again(1, tests=NEW)))
    again()
    assert outcomes(project) == [("f", True), ("e", True)]


def test_what_slow_older_tests_accept_is_added_to_what_newer_ones_accepted_once(project):
    again, runner = step_accept(project, meanwhile=lambda: project.test_again(1, tests=NEW))
    assert again() == again() == "version 1 passed 3 checks (50 requests/s, p95 2.0 ms)"
    assert outcomes(project) == [("f", True), ("e", True)]
    assert runner.runs == 1


def test_older_tests_that_reject_late_do_not_overrule_newer_ones_that_accepted(project):
    again, _ = step_accept(project, meanwhile=lambda: project.test_again(1, tests=NEW), result=REJECTED)
    with pytest.raises(TryAgain, match=r"newer tests \(ffffffff\) were run on version 1 meanwhile, and accepted it"):
        again()
    assert outcomes(project) == [("f", True)]


def test_nor_when_the_newer_ones_accept_just_before_the_older_ones_reject(project):
    again, _ = step_accept(
        project, store=Late(project.store, lambda: project.test_again(1, tests=NEW)), result=REJECTED
    )
    with pytest.raises(TryAgain, match="newer tests"):
        again()
    assert outcomes(project) == [("f", True)]


def test_the_same_tests_may_reject_what_they_accepted_before(project):
    project.test_again(1, tests=OLD)
    again, _ = step_accept(project, result=REJECTED)
    with pytest.raises(Rejected, match="it works"):
        again()
    assert outcomes(project) == [("e", True), ("e", False)]


def test_a_run_of_new_tests_has_the_last_word(project):
    project.test_again(1, ("test_dark failed",), tests=NEW)
    again, _ = step_accept(project, trigger="tests")
    again()
    assert outcomes(project) == [("f", False), ("e", True)]
