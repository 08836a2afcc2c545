"""accept: the real API on the candidate, in a staging instance, under our checks, a short load and the team's tests."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from pipelines.context import Context
from pipelines.deploy.serve_job import image_for, staging_job
from pipelines.runners import Job
from pipelines.runs import NothingToDo, RunFolder, briefly
from pipelines.steps.validate import prepare
from registry import candidates, codec
from registry.chain import LostRace
from registry.errors import Rejected, TryAgain
from registry.records import Acceptance, Run, utc_now
from unit_tests.job import AcceptJob, AcceptResult
from unit_tests.policy import decide


def main(context: Context, folder: RunFolder) -> str:
    """Append an Acceptance for each version tested; raises Rejected when one was not accepted, with its reasons, and
    TryAgain when newer tests have rejected it already.

    New code or data: the candidate of this run. New tests: the newest candidate and the live release.
    """
    tested = [_test(context, folder, version) for version in _versions(context, folder)]
    failed = [
        f"version {each.version}{' (LIVE)' if each.version == folder.run.parent else ''}: {briefly(each.reasons)}"
        for each in tested
        if not each.accepted
    ]
    if failed:
        raise Rejected(" | ".join(failed), hint=f"every check: {folder.root / 'accept'}/*/outputs/junit.xml")
    return ", ".join(f"version {each.version} passed {_count(each)} checks{_speed(each)}" for each in tested)


def _versions(context: Context, folder: RunFolder) -> list[int]:
    """The versions to test; for new tests their holdout is prepared first, as nothing else in such a run needs it."""
    run = folder.run
    if run.trigger != "tests":
        version = candidates.find_run(context.store, run.model, run.id)
        if version is None:
            raise NothingToDo("nothing was registered in this run")
        return [version]
    prepared = folder.root / "validate" / "result.json", folder.split("holdout")
    if not all(each.exists() for each in prepared):  # the splits are written before the result, and may be half
        prepare(context, folder)
    found = [each for each in (run.candidate, run.parent) if each is not None]
    return found[:1] if run.candidate == run.parent else found


def _test(context: Context, folder: RunFolder, version: int) -> Acceptance:
    """Test one version, or give what this run has found about it already."""
    run, store = folder.run, context.store
    known = candidates.acceptances(store, run.model, version)
    if done := _done_before(run, known):
        return done
    _respect_newer_tests(context, run, known)
    context.progress.note(f"starting the API on version {version} in a staging instance")
    files = candidates.local_folder(store, "test", run.model, version)
    result = _on_staging_instance(context, folder, version, files)
    accepted, reasons = decide(result)
    draft = Acceptance(
        model=run.model,
        version=version,
        number=0,
        card=candidates.manifest_digest(store, run.model, version),
        tests=run.sources.tests,
        run=run.id,
        engine=context.runner.name,
        accepted=accepted,
        reasons=reasons,
        reports=result.reports,
        load=result.load,
        at=utc_now(),
        previous="",
    )
    return _append(context, run, draft)


def _append(context: Context, run: Run, draft: Acceptance) -> Acceptance:
    """Append the record, unless other runs have tested the version meanwhile in a way that forbids it: a test takes
    minutes."""
    while True:
        known = candidates.acceptances(context.store, run.model, draft.version)
        if done := _done_before(run, known):  # by another process, in another folder of this run
            return done
        _respect_newer_tests(context, run, known, accepting=draft.accepted)
        with contextlib.suppress(LostRace):  # another process has appended in between
            return candidates.append_acceptance(context.store, draft, after=len(known))


def _done_before(run: Run, known: list[Acceptance]) -> Acceptance | None:
    """What this run has found already."""
    return next((each for each in reversed(known) if (each.run, each.tests) == (run.id, run.sources.tests)), None)


def _respect_newer_tests(context: Context, run: Run, known: list[Acceptance], *, accepting: bool = True) -> None:
    """The newest acceptance test decides whether a version may be released: older tests have no say after newer ones.

    `accepting` is this run's verdict, or that it may become one: accepting what newer tests accept changes nothing.
    What other runs found about the version of a code or dataset run is newer: the version came after this run's sources.
    Of two pushes to the tests repository, the one that came first may end last.
    """
    newest = known[-1] if known else None
    if newest is None or newest.tests == run.sources.tests:
        return
    if run.trigger == "tests":
        history = context.git.history(context.url("tests"), newest.tests)
        overruled = history.is_older(run.sources.tests, newest.tests)
    else:
        overruled = not (newest.accepted and accepting)
    if overruled:
        verdict = f"rejected it: {briefly(newest.reasons)}" if newest.reasons else "accepted it"
        raise TryAgain(
            f"newer tests ({newest.tests:.8}) were run on version {newest.version} meanwhile, and {verdict}",
            hint=f"`trainyard run {run.trigger}` runs again, with the newest tests",
        )


def _on_staging_instance(context: Context, folder: RunFolder, version: int, files: Path) -> AcceptResult:
    """Start production's API on the version, and run the checks against it."""
    config = context.config
    tests = folder.job("accept") / f"version-{version}"
    api = folder.job("accept") / f"api-{version}"  # beside, not below: the tests have no business in the API's folder
    for each in (tests, api):
        each.mkdir(parents=True, exist_ok=True)
    # production's own settings; `inputs/version`, not the registry's path: the runner decides where the files are
    codec.save(staging_job(config), api / "job.json")
    inputs = {"version": files, "tests": folder.sources / "tests", "holdout": folder.split("holdout")}
    if folder.run.parent is not None:
        inputs["live"] = candidates.local_folder(context.store, "production", config.model, folder.run.parent)
    run, served = folder.run.id, candidates.manifest(context.store, config.model, version).served
    staging = Job(
        f"api-{version}", ("serving",), api, context.limits(), {"version": files}, run=run, image=image_for(served)
    )
    with context.runner.service(staging, lambda _line: None) as service:
        policy = dataclasses.asdict(config.acceptance)
        job = AcceptJob(service.url, service.admin_url, max_body_mb=config.serving.max_body_mb, **policy)
        codec.save(job, tests / "job.json")
        limits = context.limits(job.seconds)
        needs = folder.requirements_of("tests")
        worker = Job(
            f"accept-{version}", ("unit_tests",), tests, limits, inputs, run=run, requirements=needs, reaches=service
        )
        context.work(worker)
    return codec.read(AcceptResult, tests / "result.json")


def _count(tested: Acceptance) -> int:
    return sum(case.outcome == "passed" for report in tested.reports for case in report.cases)


def _speed(tested: Acceptance) -> str:
    load = tested.load
    return f" ({load.per_second:.0f} requests/s, p95 {load.p95_ms:.1f} ms)" if load else ""
