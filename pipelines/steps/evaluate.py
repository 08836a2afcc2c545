"""evaluate: the very file that would be served, and the live release, on a holdout that training never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.context import Context
from pipelines.own_metrics import with_own
from pipelines.recent import gather
from pipelines.runners import Job
from pipelines.runs import RunFolder
from pipelines.text import metrics
from pipelines.workers.jobs import EvaluateJob, MeasuredModel
from registry import candidates, codec
from registry.candidates import Area
from registry.records import Evaluation, Policy, TrainResult


def main(context: Context, folder: RunFolder) -> str:
    """`evaluate/result.json` is the Evaluation; plots, golden samples and the reference are in `evaluate/outputs`."""
    result = codec.read(TrainResult, folder.job("train") / "result.json")
    candidate = MeasuredModel(result.signature, result.served, result.files)
    inputs, live = {"candidate": folder.outputs("train")}, None
    if folder.run.parent is not None:
        live, inputs["live"] = registered(context, folder, "production", folder.run.parent)
    recent = context.config.gate.recent and live is not None
    if recent and live:
        inputs["recent"] = gather(context, folder, live)
    gate = context.config.gate
    job = EvaluateJob(
        candidate=candidate,
        live=live,
        importance=True,
        reference=True,
        examples=True,
        recent=recent,
        **asked_by(gate),
    )
    found = measure(context, folder, "evaluate", job, inputs, gate.own)
    said = reported(context, "production", folder.run.parent)
    if result.reported or said:
        found = replace(found, reported=result.reported, live_reported=said)
        codec.save(found, folder.job("evaluate") / "result.json")
    return _in_words(found, gate.measure)


def reported(context: Context, area: Area, version: int | None) -> dict[str, float]:
    """What a script said of a registered version, when that was made; nothing of None."""
    if version is None:
        return {}
    return candidates.manifest(context.store, context.config.model, version, area).evaluation.reported


def asked_by(policy: Policy) -> dict[str, Any]:
    """What the gate wants to know, as fields of the job."""
    return {
        "metric": policy.measure,
        "more": policy.more,
        "costs": policy.costs,
        "slices": policy.slices,
        "answers": bool(policy.own),
        "min_samples": policy.min_samples,
    }


def registered(context: Context, run: RunFolder, area: Area, version: int) -> tuple[MeasuredModel, Path]:
    """A version of the registry as something to measure, and its folder; raises Corrupt when a byte is not the manifest's."""
    manifest = candidates.manifest(context.store, context.config.model, version, area)
    folder = candidates.local_folder(context.store, area, manifest.model, version)
    other_code = manifest.sources.code != run.run.sources.code
    return MeasuredModel(manifest.signature, manifest.served, manifest.files, version, other_code), folder


def measure(
    context: Context,
    folder: RunFolder,
    name: str,
    job: EvaluateJob,
    inputs: dict[str, Path],
    own: tuple[str, ...] = (),
) -> Evaluation:
    """Run the evaluate worker in the job folder `name`, and the team's `metrics.py` for the metrics in `own`."""
    inputs = {"holdout": folder.split("holdout"), **inputs}
    if not context.config.training.command:  # a team's own script has no `load_data` of `model.py`
        inputs["code"] = folder.sources / "code"
    codec.save(job, folder.job(name) / "job.json")
    module = ("pipelines.workers.evaluate",)
    needs = folder.requirements if "code" in inputs else None  # `load_data` may import what training may
    context.work(Job(name, module, folder.job(name), context.limits(), inputs, run=folder.run.id, requirements=needs))
    found = codec.read(Evaluation, folder.job(name) / "result.json")
    return with_own(context, folder, name, job, own, found) if own else found


def _in_words(found: Evaluation, metric: str) -> str:
    new = found.candidate
    words = f"{metric} {new.values.get(metric, float('nan')):.4f} on {new.samples} holdout samples"
    if found.comparison:
        words += f"; {metrics.gap(found.comparison)} than the live release"
    if found.recent and found.recent.comparison:
        words += f", {metrics.gap(found.recent.comparison)} on {found.recent.samples} recent predictions"
    if found.learned:
        words += f"; without {found.learned:,} others, which the live release has learned from"
    return words + (f"; {found.live_note}" if found.live_note else "")
