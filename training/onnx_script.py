"""The end of a training by a script that has left `model.onnx`: matched with the dataset, measured and described. No TensorFlow."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from registry import codec
from registry.records import Served, TrainJob, TrainResult
from training.anomaly import threshold_of
from training.command import ONNX_FILE
from training.data.spec import DataSpec
from training.loop.goal import measure
from training.loop.history import HISTORY, History
from training.metrics import Wanted
from training.outcome import Made, describe_result, empty_outputs

if TYPE_CHECKING:
    from training.model.onnx_wiring import OnnxAnswers
    from training.model.samples import Samples


def open_onnx_of_script(folder: Path, job: TrainJob, spec: DataSpec, file: Path) -> tuple[OnnxAnswers, Samples]:
    """The file that a script has left, scanned, loaded, matched with the dataset and asked for the validation split.

    Raises ConfigError or Corrupt for a file that cannot be taken or does not suit the dataset.
    """
    from training.model.onnx_wiring import wire_onnx
    from training.model.samples import open_samples

    validation = open_samples(folder / "inputs" / "validation", None)
    return wire_onnx(file, spec, validation, f"the model of {' '.join(job.command)[:200]}"), validation


def finish_onnx(job: TrainJob, folder: Path, spec: DataSpec, file: Path, made: Made) -> TrainResult:
    """Fill `outputs/` with the script's file, as it is, and describe it."""
    from training.model.onnx_wiring import wire_onnx
    from training.model.samples import open_samples

    found, validation = open_onnx_of_script(folder, job, spec, file)
    outputs = empty_outputs(folder)
    shutil.copyfile(file, outputs / ONNX_FILE)
    codec.save(History(job.metric, job.threshold, job.seed), outputs / HISTORY)
    reason = f"ONNX Runtime: the script's own file; answers the same one by one and in batches on {len(validation)} validation samples"
    served = Served("onnx", ONNX_FILE, reason, onnx=found.wiring)
    wanted = Wanted((job.metric,), job.costs, targets=spec.targets)
    if spec.task == "anomaly":
        train = open_samples(folder / "inputs" / "train", None)
        scores = wire_onnx(file, spec, train, f"the model of {' '.join(job.command)[:200]}").answers
        spec = replace(spec, threshold=threshold_of(scores, spec.quantile))
    values = measure(spec.task, found.answers, validation.y, wanted, spec.classes, spec.threshold)
    signature = replace(found.signature, threshold=spec.threshold).with_dates(spec.dates)
    return describe_result(job, folder, made, signature, served, values)
