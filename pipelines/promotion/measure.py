"""Measure a registered candidate beside the live release, on the candidate's holdout: seconds, in a worker.

    <home>/promotions/<version>-beside-<live version>/    laid out as a run's folder; after an error the logs stay

The dataset's prepared splits are those of the candidate's own run, if they are still kept; else they are made again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipelines.context import Context
from pipelines.promotion.compare import Measure
from pipelines.reuse import prepared_data
from pipelines.runs import RunFolder
from pipelines.steps.evaluate import asked_by, measure, registered, reported
from pipelines.steps.validate import prepare
from pipelines.workers.jobs import EvaluateJob
from registry import codec
from registry.records import Candidate, Evaluation, Release, Run, utc_now


def measure_by_worker(context: Callable[[], Context]) -> Measure:
    """What `promote` measures with; `context` is asked for only when there is something to measure."""

    def run(candidate: Candidate, live: Release) -> Evaluation:
        return _measure(context(), candidate, live)

    return run


def _measure(context: Context, candidate: Candidate, live: Release) -> Evaluation:
    assert live.version is not None
    folder = RunFolder(context.config.own_folder / "promotions" / f"{candidate.version}-beside-{live.version}")
    with folder.locked():
        _clear(folder.root)
        codec.save(_run(candidate, live), folder.root / "run.json")
        context.progress.note(
            f"measuring version {candidate.version} beside live version {live.version}, on the holdout of dataset "
            f"{candidate.sources.dataset:.7}"
        )
        try:
            found = _on_its_holdout(context, folder, candidate, live.version)
        except BaseException:
            for each in ("run.json", "sources", "validate/outputs"):
                _remove(folder.root / each)
            raise
        _clear(folder.root)
    return found


def _on_its_holdout(context: Context, folder: RunFolder, candidate: Candidate, live: int) -> Evaluation:
    commit = candidate.sources.code
    context.git.fetch_and_checkout(context.url("code"), commit, "code", folder.sources / "code")
    prepared_data.check_out(context, folder)
    prepare(context, folder)
    new, new_files = registered(context, folder, "test", candidate.version)
    old, old_files = registered(context, folder, "production", live)
    job = EvaluateJob(candidate=new, live=old, **asked_by(candidate.verdict.policy))
    own = candidate.verdict.policy.own
    if own:
        context.git.fetch_and_checkout(context.url("tests"), candidate.sources.tests, "tests", folder.sources / "tests")
    found = measure(context, folder, "evaluate", job, {"candidate": new_files, "live": old_files}, own)
    said = reported(context, "production", live)
    return replace(found, reported=candidate.evaluation.reported, live_reported=said)


def _run(candidate: Candidate, live: Release) -> Run:
    """What the steps want to know: the commits of the candidate, and what is live now."""
    name = f"promotion of {candidate.model} {candidate.version} beside {live.version}"
    return Run(
        id=hashlib.sha256(name.encode()).hexdigest()[:12],
        model=candidate.model,
        trigger="dataset",
        sources=candidate.sources,
        config="",
        parent=live.version,
        candidate=candidate.version,
        created_at=utc_now(),
    )


def _clear(root: Path) -> None:
    for each in root.iterdir():
        if each.name != ".lock":
            _remove(each)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
