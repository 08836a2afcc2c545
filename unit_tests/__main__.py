"""The acceptance worker (`python -P -m unit_tests`): tests one version on its staging instance, knowing its URL alone.

In its folder: `job.json` (AcceptJob) and the inputs named there. It leaves the AcceptResult and `outputs/junit.xml`.
A version that fails is a result, not a failure of the worker.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from registry import codec
from registry.files import sha256_file
from registry.records import Candidate, TestReport
from training.junit import write_junit
from training.worker.protocol import report_event, work
from unit_tests.checks import HANGS, Subject, check_api, check_ready
from unit_tests.client import Api, body, plain
from unit_tests.golden import load_golden
from unit_tests.job import API, AcceptJob, AcceptResult
from unit_tests.load_test import run_load_test
from unit_tests.repository import Repository, run_repository


def main(folder: Path) -> AcceptResult:
    """Raises Corrupt when the version's own files cannot be read."""
    job, version = codec.read(AcceptJob, folder / "job.json"), folder / "inputs" / "version"
    manifest = codec.read(Candidate, version / "card.json")
    golden = load_golden(version / "golden.npz", manifest.signature)
    api, admin = (Api(each, job.answer_seconds) for each in (job.url, job.admin_url))
    subject = Subject(api, admin, job, manifest, sha256_file(version / "card.json"), golden)
    result = _test(subject, folder)
    write_junit(folder / "outputs" / "junit.xml", result.reports)
    return result


def _test(subject: Subject, folder: Path) -> AcceptResult:
    """All suites; an API that does not answer is not tested further."""
    ready = check_ready(subject)
    if ready.failed:
        return AcceptResult((ready,))
    report_event("note", text="checks over HTTP")
    checks = TestReport(API, (*ready.cases, *check_api(subject).cases))
    if any(case.name == HANGS for case in checks.failed):
        return AcceptResult((checks,))
    report_event("note", text=f"load: {subject.job.concurrency} clients for {subject.job.load_seconds:g} s")
    samples = [json.dumps(plain(subject.golden.sample(i))) for i in range(len(subject.golden))]
    load, limits = run_load_test(subject.job.url, [body([each]) for each in samples], subject.job)
    report_event("note", text="the tests repository")
    tests = run_repository(_repository(subject.job, folder), subject.job.timeout_seconds)
    return AcceptResult((checks, limits, tests), load)


def _repository(job: AcceptJob, folder: Path) -> Repository:
    inputs = folder / "inputs"
    given = {name: inputs / name for name in ("version", "holdout", "live") if (inputs / name).exists()}
    options = (f"--trainyard-url={job.url}", *(f"--trainyard-{name}={path}" for name, path in given.items()))
    return Repository(inputs / "tests", options, folder / "scratch")


if __name__ == "__main__":
    sys.exit(work(main))
