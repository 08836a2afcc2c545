"""The team's own metrics: `metrics.py` of the tests repository over the answers that an evaluation has left, in a worker."""

from __future__ import annotations

import shutil
from dataclasses import replace

from pipelines.context import Context
from pipelines.runners import Job
from pipelines.runs import RunFolder
from pipelines.workers.jobs import ANSWERS, EvaluateJob, OwnJob, OwnResult
from registry import codec
from registry.errors import Corrupt
from registry.records import Evaluation, Metrics

LATER = 60.0
"""Seconds until a worker that does not end itself when its time is over is killed."""


def with_own(
    context: Context, folder: RunFolder, name: str, job: EvaluateJob, measures: tuple[str, ...], found: Evaluation
) -> Evaluation:
    """The evaluation of the job `name`, with what the functions behind `measures` say; its answers are removed.

    Raises ConfigError or WorkerFailed that names the file and the function.
    """
    answers, own = folder.outputs(name) / ANSWERS, folder.job(f"{name}-own")
    if answers.is_symlink() or not answers.is_dir():
        raise Corrupt(
            f"{answers}: is not the folder that the evaluation leaves", hint="what ran in the worker has put it there"
        )
    taken = folder.root / f"{name}-answers"
    shutil.rmtree(taken, ignore_errors=True)
    answers.rename(taken)  # what is left among the outputs becomes a part of the version
    seconds = context.config.acceptance.timeout_seconds
    live = job.live.version or 0 if job.live else 0
    codec.save(OwnJob(measures, seconds, live, job.seed), own / "job.json")
    inputs = {"answers": taken, "tests": folder.sources / "tests"}
    worker = Job(
        "own-metrics",
        ("pipelines.workers.own_metrics",),
        own,
        context.limits(seconds + LATER),
        inputs,
        run=folder.run.id,
        requirements=folder.requirements_of("tests"),
    )
    try:
        context.work(worker)
    finally:
        shutil.rmtree(taken, ignore_errors=True)
    merged = merge(found, codec.read(OwnResult, own / "result.json"))
    codec.save(merged, folder.job(name) / "result.json")
    return merged


def merge(found: Evaluation, own: OwnResult) -> Evaluation:
    """The evaluation with the team's numbers among its own."""
    recent = found.recent
    if recent:
        recent = replace(
            recent,
            candidate=_more(recent.candidate, own.recent.candidate),
            live=_more(recent.live, own.recent.live),
            comparisons=(*recent.comparisons, *own.recent.comparisons),
            notes=(*recent.notes, *own.recent.notes),
        )
    return replace(
        found,
        candidate=replace(found.candidate, values=found.candidate.values | own.holdout.candidate),
        live=_more(found.live, own.holdout.live),
        comparisons=(*found.comparisons, *own.holdout.comparisons),
        recent=recent,
    )


def _more(measured: Metrics | None, values: dict[str, float]) -> Metrics | None:
    return replace(measured, values=measured.values | values) if measured else None
