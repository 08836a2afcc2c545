"""retrain: is the registered model still good enough on the new data? If not, fine-tune it, or train from scratch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipelines.context import Context
from pipelines.gate import decide as decide_by_gate
from pipelines.runs import NothingToDo, RunFolder
from pipelines.steps import evaluate, train
from pipelines.workers.jobs import EvaluateJob, MeasuredModel
from registry import codec
from registry.candidates import Area
from registry.errors import ConfigError, WorkerFailed
from registry.records import Verdict
from retraining.policy import choose_base, decide, has_learned
from training.data.learned import learned_rows
from training.data.spec import DataSpec


def main(context: Context, folder: RunFolder) -> str:
    """Raises NothingToDo when the base version still passes the gate; `train/result.json` is the TrainResult otherwise."""
    base = choose_base(folder.run.parent, folder.run.candidate)
    verdict, files = None, {}
    if base:
        subject, files["model"] = evaluate.registered(context, folder, base.area, base.version)
        verdict = _verdict(context, folder, (subject, base.area), files["model"])
    why = f"for {folder.run.occasion}" if folder.run.occasion else "on request"
    decision = decide(base, verdict, forced=folder.run.forced, why=why)
    context.progress.note("; ".join(decision.reasons))
    if not decision.retrain:
        raise NothingToDo("; ".join(decision.reasons))
    if files and (why := _has_learned(folder, files["model"])):
        context.progress.note(f"version {base.version if base else 0} is not fine-tuned: {why}; training from scratch")
        files = {}
    return train.work(context, folder, "retraining" if files else "training", files)


def _has_learned(folder: RunFolder, version: Path) -> str:
    """Why a registered version may not be fine-tuned, as it knows the holdout; else empty."""
    holdout = folder.split("holdout")
    spec = codec.read(DataSpec, holdout / "data.json")
    return has_learned(spec.moving, learned_rows(version, holdout))


def _verdict(context: Context, folder: RunFolder, base: tuple[MeasuredModel, Area], files: Path) -> Verdict | None:
    """The gate's verdict on a registered version with the new data; None when it cannot be measured on them. What a script has
    said of it still counts: that was about older data, and cannot be asked again."""
    gate, (subject, area) = context.config.gate, base
    job = EvaluateJob(candidate=subject, **evaluate.asked_by(gate))
    try:
        evaluation = evaluate.measure(context, folder, "before", job, {"candidate": files}, gate.own)
    except (ConfigError, WorkerFailed) as error:  # another kind of data than it was made for: all the more reason
        context.progress.note(f"version {subject.version} on the new data: {error}")
        return None
    evaluation = replace(evaluation, reported=evaluate.reported(context, area, subject.version))
    verdict = decide_by_gate(evaluation, gate)
    codec.save(verdict, folder.job("before") / "verdict.json")
    return verdict
