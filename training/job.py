"""What the training and the retraining worker share: open the job, train from scratch, or run a team's own script."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from registry import codec
from registry.records import TrainJob, TrainResult
from training.data.spec import DataSpec
from training.machine import use_threads
from training.model.contract import FILE, Contract

if TYPE_CHECKING:
    from training.loop.attempts import BestAttempt
    from training.loop.fit import Attempt, Data


def open_job(folder: Path) -> tuple[TrainJob, DataSpec]:
    """The job, and the dataset that it is about. Raises ConfigError for a metric that does not suit the dataset.

    Of anomalies nothing that is trained on says how good a model is: unless the gate goes by the mean score, which is aimed at then,
    the first attempt is good enough."""
    from training.loop.goal import check_metric

    job = codec.read(TrainJob, folder / "job.json")
    use_threads(job.threads)
    spec = codec.read(DataSpec, folder / "inputs" / "train" / "data.json")
    check_metric(job.metric, spec.task, spec.classes, spec.targets)
    if spec.task == "anomaly" and job.metric != "mean_score":
        job = replace(job, metric="mean_score", threshold=math.inf)
    return job, spec


def open_data(folder: Path, contract: Contract) -> Data:
    """Both splits, as the team's `load_data` gives them if it has one."""
    from training.loop.fit import Data
    from training.model.samples import open_samples

    train, validation = (open_samples(folder / "inputs" / name, contract) for name in ("train", "validation"))
    return Data(codec.read(DataSpec, folder / "inputs" / "train" / "data.json"), train, validation)


def run_attempts(
    folder: Path, job: TrainJob, contract: Contract, data: Data, attempts: Sequence[Attempt]
) -> BestAttempt:
    """Make the attempts, from the last checkpoint on when this job was killed before."""
    from training.loop.attempts import AttemptLoop
    from training.loop.checkpoints import Checkpoints
    from training.loop.fit import Goal
    from training.metrics import Wanted

    be_repeatable(job)
    wanted = Wanted((job.metric,), job.costs, targets=data.spec.targets)
    goal = Goal(data.spec.task, job.metric, job.threshold, job.patience, job.seed, job.batch_size, wanted)
    bound_to = (folder / "job.json").read_bytes() + (contract.code / FILE).read_bytes() + version("keras").encode()
    digest = hashlib.sha256(bound_to).hexdigest()
    return AttemptLoop(contract, data, goal, Checkpoints(folder / "checkpoints"), digest).run(attempts)


def be_repeatable(job: TrainJob) -> None:
    """Same seed, same model. On a GPU operators without a deterministic twin would raise, so there, and where the job
    does not want it, it is the seed alone."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(job.seed)
    if job.deterministic and not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def train_by_command(
    folder: Path, job: TrainJob, spec: DataSpec, epochs: int, model: Path | None = None
) -> TrainResult:
    """Let the team's script train, after a rehearsal, then treat its model like any other: load, export, measure."""
    from training.command import ONNX_FILE, run_command
    from training.onnx_script import finish_onnx
    from training.outcome import Made
    from training.rehearsal import open_script_model, rehearse

    rehearse(job, folder, model)
    file = run_command(job, folder, epochs, model)
    note = f"trained by {' '.join(job.command)}" if model is None else f"retrained by {' '.join(job.command)}"
    if file.name == ONNX_FILE:
        result = finish_onnx(job, folder, spec, file, Made("command", note, 0, epochs))
        return _with_reported(result, folder, job)
    wiring, validation = open_script_model(folder, job, spec, file)

    from training.finish import Trained, finish
    from training.loop.fit import Data
    from training.loop.history import History
    from training.model.samples import open_samples

    be_repeatable(job)
    history = History(job.metric, job.threshold, job.seed)
    trained = Trained(wiring, "command", note, 0, epochs, history, file)
    train = open_samples(folder / "inputs" / "train", None) if spec.task == "anomaly" else validation
    return _with_reported(finish(job, trained, Data(spec, train, validation), folder), folder, job)


def _with_reported(result: TrainResult, folder: Path, job: TrainJob) -> TrainResult:
    """The result with what the script says of its model; its folder is removed. Raises ConfigError where a number is missing."""
    from training.reported import must_hold, read_reported

    result = replace(result, reported=read_reported(folder / "command" / "output"))
    must_hold(result.reported, job.must_report)
    shutil.rmtree(folder / "command")
    return result
