"""train: a model from scratch, in a worker that never sees the holdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.context import Context
from pipelines.runners import Job
from pipelines.runs import RunFolder
from registry import codec
from registry.records import TrainJob, TrainResult
from registry.records.measure import SCRIPT, name_after

PARITY = ("{python}", "-P", "-m", "serving.engines.parity")
"""Checks the converted file where there is no TensorFlow, as in the API."""


def main(context: Context, folder: RunFolder) -> str:
    """`train/result.json` is the TrainResult; raises WorkerFailed as the worker did."""
    return work(context, folder, "training", {})


def work(context: Context, folder: RunFolder, module: str, more: dict[str, Path]) -> str:
    """Run a training or retraining worker; gives a line about the result."""
    job = folder.job("train")
    codec.save(_job(context), job / "job.json")
    inputs = {"code": folder.sources / "code", "train": folder.split("train"), "validation": folder.split("validation")}
    needs = folder.requirements
    folder.keep_image(context.runner.image(needs, context.show))
    folder.keep_unfenced(lacks := context.runner.lacks())
    context.work(Job("train", (module,), job, context.limits(), inputs | more, run=folder.run.id, requirements=needs))
    result = codec.read(TrainResult, job / "result.json")
    metric = context.config.gate.measure
    if result.signature.task == "anomaly":  # they are marked in the holdout alone
        metric = "mean_score"
    value = result.validation.get(metric, float("nan"))
    reached = "" if result.reached else f", short of the threshold {context.config.gate.threshold:g}"
    return f"{result.note}: {metric} {value:.4f} on the validation split{reached}; served by {result.served.engine}{open_to(lacks)}"


def open_to(lacks: Sequence[str]) -> str:
    """The end of a line: what the worker was not kept from, if anything."""
    return f"; not fenced: this kernel cannot keep a worker from {', '.join(lacks)}" if lacks else ""


def _job(context: Context) -> TrainJob:
    config = context.config
    return TrainJob(
        model=config.model,
        seed=config.training.seed,
        epochs=config.training.epochs,
        batch_size=config.training.batch_size,
        max_attempts=config.training.max_attempts,
        patience=config.training.patience,
        metric=config.gate.measure,
        threshold=config.gate.threshold,
        command=config.training.command,
        rehearsal_seconds=config.training.rehearsal_seconds,
        parity_command=PARITY,
        retrain_epochs=config.retraining.epochs,
        learning_rate=config.retraining.learning_rate,
        deterministic=config.training.deterministic,
        costs=config.gate.costs,
        must_report=tuple(name_after(SCRIPT, each) for each in config.gate.said),
    )
