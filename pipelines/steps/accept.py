"""accept: the real API on the candidate, in a clone of production, under our checks, a short load and the team's tests."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from pipelines.context import Context
from pipelines.promotion import image_for, serve_job
from pipelines.runners import Job
from pipelines.runs import NothingToDo, RunFolder, briefly
from pipelines.steps.validate import prepare
from registry import candidates, codec
from registry.candidates import Area
from registry.chain import LostRace
from registry.errors import Rejected, TryAgain
from registry.records import Acceptance, Run, utc_now
from unit_tests.job import AcceptJob, AcceptResult
from unit_tests.policy import decide


def main(context: Context, folder: RunFolder) -> str:
    """Append an Acceptance for each version tried; raises Rejected when one was not accepted, with its reasons, and
    TryAgain when newer tests have refused it already.

    New code or data: the candidate of this run. New tests: the newest candidate and the live release.
    """
    run = folder.run
    if run.trigger == "tests":
        made = folder.root / "validate" / "result.json", folder.split("holdout")
        if not all(each.exists() for each in made):  # the splits stand before the result, and may be half
            prepare(context, folder)
        versions = dict.fromkeys(each for each in (run.candidate, run.parent) if each is not None)
    else:
        version = candidates.find_run(context.store, run.model, run.id)
        if version is None:
            raise NothingToDo("nothing was registered in this run")
        versions = {version: None}
    tried = [_try(context, folder, version) for version in versions]
    no = [
        f"version {each.version}{' (LIVE)' if each.version == run.parent else ''}: {briefly(each.reasons)}"
        for each in tried
        if not each.accepted
    ]
    if no:
        raise Rejected(" | ".join(no), hint=f"every check: {folder.root / 'accept'}/*/outputs/junit.xml")
    return ", ".join(f"version {each.version} passed {_count(each)} checks{_speed(each)}" for each in tried)


def _try(context: Context, folder: RunFolder, version: int) -> Acceptance:
    """Try one version, or give the trial that this run has made of it already."""
    run, store = folder.run, context.store
    known = candidates.acceptances(store, run.model, version)
    if done := _done_before(run, known):
        return done
    _overrule_no_newer_tests(context, run, known)
    context.progress.note(f"starting the API on version {version} in a clone of production")
    files = candidates.local_folder(store, "test", run.model, version)
    trial = _trial(context, folder, version, files)
    accepted, reasons = decide(trial)
    draft = Acceptance(
        model=run.model,
        version=version,
        number=0,
        card=candidates.card_digest(store, run.model, version),
        tests=run.sources.tests,
        run=run.id,
        engine=context.runner.name,
        accepted=accepted,
        reasons=reasons,
        reports=trial.reports,
        load=trial.load,
        at=utc_now(),
        previous="",
    )
    return _append(context, run, draft)


def _append(context: Context, run: Run, draft: Acceptance) -> Acceptance:
    """Append a trial, unless others have tried the version meanwhile in a way that forbids it: a trial takes minutes."""
    while True:
        known = candidates.acceptances(context.store, run.model, draft.version)
        if done := _done_before(run, known):  # by another process, in another folder of this run
            return done
        _overrule_no_newer_tests(context, run, known, ours=draft.accepted)
        with contextlib.suppress(LostRace):  # somebody has appended since we looked
            return candidates.append_acceptance(context.store, draft, after=len(known))


def _done_before(run: Run, known: list[Acceptance]) -> Acceptance | None:
    """The trial that this run has made already."""
    return next((each for each in reversed(known) if (each.run, each.tests) == (run.id, run.sources.tests)), None)


def _overrule_no_newer_tests(context: Context, run: Run, known: list[Acceptance], *, ours: bool = True) -> None:
    """The newest trial decides whether a version may go live: older tests have no say after newer ones.

    `ours` is our verdict, True as long as it may become one: a yes beside the yes of newer tests changes nothing.
    What others tried of the version of a code or dataset run is newer: the version came after this run's sources. Of two
    pushes to the tests repository, the one that came first may end last.
    """
    newest = known[-1] if known else None
    if newest is None or newest.tests == run.sources.tests:
        return
    if run.trigger == "tests":
        overruled = context.git.is_older(context.url("tests"), run.sources.tests, newest.tests)
    else:
        overruled = not (newest.accepted and ours)
    if overruled:
        said = f"refused it: {briefly(newest.reasons)}" if newest.reasons else "accepted it"
        raise TryAgain(
            f"newer tests ({newest.tests:.8}) have tried version {newest.version} meanwhile, and {said}",
            hint=f"`trainyard run {run.trigger}` runs again, with the newest tests",
        )


def _trial(context: Context, folder: RunFolder, version: int, files: Path) -> AcceptResult:
    config = context.config
    tests = folder.job("accept") / f"version-{version}"
    api = folder.job("accept") / f"api-{version}"  # beside, not below: the tests have no business in the API's folder
    for each in (tests, api):
        each.mkdir(parents=True, exist_ok=True)
    # production's own settings; `inputs/version`, not the registry's path: the runner decides where the files are
    codec.save(dataclasses.replace(serve_job(config), registry="", folder="inputs/version"), api / "job.json")
    inputs = {"version": files, "tests": folder.sources / "tests", "holdout": folder.split("holdout")}
    if folder.run.parent is not None:
        area: Area = "production"
        inputs["live"] = candidates.local_folder(context.store, area, config.model, folder.run.parent)
    run, served = folder.run.id, candidates.card(context.store, config.model, version).served
    clone = Job(
        f"api-{version}", ("serving",), api, context.limits(), {"version": files}, run=run, image=image_for(served)
    )
    with context.runner.service(clone, lambda _line: None) as service:
        policy = dataclasses.asdict(config.acceptance)
        job = AcceptJob(service.url, max_body_mb=config.serving.max_body_mb, **policy)
        codec.save(job, tests / "job.json")
        limits = context.limits(job.seconds)
        context.work(Job(f"accept-{version}", ("unit_tests",), tests, limits, inputs, run=run, reaches=service))
    return codec.read(AcceptResult, tests / "result.json")


def _count(tried: Acceptance) -> int:
    return sum(case.outcome == "passed" for report in tried.reports for case in report.cases)


def _speed(tried: Acceptance) -> str:
    load = tried.load
    return f" ({load.per_second:.0f} requests/s, p95 {load.p95_ms:.1f} ms)" if load else ""
