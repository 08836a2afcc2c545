"""The rule that decides an acceptance test, and the numbers of a load test."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import codec
from registry.records import LoadReport, TestCase, TestReport
from unit_tests.job import AcceptJob, AcceptResult
from unit_tests.load_test import percentile
from unit_tests.policy import decide

GOOD = tuple(TestReport(suite, (TestCase("a", "passed"),)) for suite in ("api", "load", "tests"))


def test_yes_needs_all_three_suites():
    assert decide(AcceptResult(GOOD)) == (True, ())
    assert decide(AcceptResult(GOOD[:1])) == (False, ("load: was not run", "tests: was not run"))
    assert decide(AcceptResult(()))[1] == ("api: was not run", "load: was not run", "tests: was not run")


def test_every_failure_is_a_reason_in_one_line():
    tests = TestReport(
        "tests",
        (
            TestCase("t.py::a", "failed", 0, "assert 1 == 2\nmore"),
            TestCase("t.py::b", "error"),
            TestCase("c", "passed"),
        ),
    )
    assert decide(AcceptResult((*GOOD[:2], tests)))[1] == ("tests: t.py::a: assert 1 == 2", "tests: t.py::b: error")


def test_a_reason_is_cut_to_a_line_that_can_be_read():
    api = TestReport("api", (TestCase("a", "failed", 0, "  " + "x" * 400),))
    assert decide(AcceptResult((api, *GOOD[1:])))[1] == (f"api: a: {'x' * 300}",)


def test_without_settings_an_acceptance_test_has_these_limits():
    job = AcceptJob("http://x", "http://y")
    limits = (job.timeout_seconds, job.ready_seconds, job.answer_seconds, job.load_seconds, job.concurrency)
    assert limits == (300, 60, 10, 2, 4)
    assert (job.min_requests_per_second, job.max_p95_ms, job.max_body_mb) == (10, 1000, 16)


def test_a_repository_in_which_everything_is_skipped_has_shown_nothing():
    skipped = TestReport("tests", (TestCase("a", "skipped"), TestCase("b", "skipped")))
    assert decide(AcceptResult((*GOOD[:2], skipped)))[1] == ("tests: all 2 tests were skipped: nothing was tested",)
    assert decide(AcceptResult((*GOOD[:2], TestReport("tests", ()))))[1] == ("tests: the repository has none",)
    both = TestReport("tests", (TestCase("a", "skipped"), TestCase("b", "failed", 0, "no")))
    assert decide(AcceptResult((*GOOD[:2], both)))[1] == ("tests: b: no",)
    some = TestReport("tests", (TestCase("a", "skipped"), TestCase("b", "passed")))
    assert decide(AcceptResult((*GOOD[:2], some)))[0]


cases = st.builds(TestCase, st.text(max_size=5), st.sampled_from(["passed", "failed", "error", "skipped"]))
reports = st.builds(TestReport, st.sampled_from(["api", "load", "tests"]), st.lists(cases, max_size=3).map(tuple))


@given(st.lists(reports, max_size=3, unique_by=lambda each: each.suite).map(tuple))
def test_accepted_means_that_there_is_no_reason(found):
    accepted, reasons = decide(AcceptResult(found))
    assert accepted == (not reasons)
    assert accepted <= all(not report.failed for report in found)


def test_a_result_is_read_back_as_it_was_written():
    result = AcceptResult(GOOD, LoadReport(10, 0, 1.0, 10.0, 1.0, 2.0, 3.0))
    assert codec.from_json(AcceptResult, codec.to_json(result), "x") == result


def test_the_worker_gets_more_time_than_its_parts():
    job = AcceptJob("http://x", "http://y", timeout_seconds=10, ready_seconds=5, load_seconds=1)
    assert job.seconds == 136  # two minutes for all that has no limit of its own


@given(st.lists(st.floats(0, 10), min_size=1).map(sorted), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_enough_do_not_exceed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert percentile(values, 1.0) == values[-1]


def test_a_percentile_of_nothing_is_nan():
    assert math.isnan(percentile([], 0.5))
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == pytest.approx(2.0)
