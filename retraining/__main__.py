"""The retraining worker (`python -P -m retraining`): starts from a registered model.

In its folder: `job.json` (TrainJob), `inputs/code`, `inputs/train`, `inputs/validation` and `inputs/model`, a registered
version's folder. It fine-tunes that model; when the threshold is not reached, or the data no longer fit the model, it
trains from scratch as the training worker does, and keeps the better one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from registry import codec
from registry.records import TrainJob, TrainResult
from retraining.policy import NO_KERAS, RESPLIT
from training.command import KERAS_FILE
from training.data.spec import DataSpec
from training.job import open_data, open_job, run_attempts, train_by_command
from training.model.contract import load_contract
from training.worker.protocol import report_event, work

if TYPE_CHECKING:
    from training.loop.attempts import BestAttempt


def main(folder: Path) -> TrainResult:
    """Raises ConfigError and WorkerFailed for errors of the code repository, Corrupt for a bad model file."""
    job, spec = open_job(folder)
    epochs = job.retrain_epochs or job.epochs
    old = folder / "inputs" / "model"
    if job.command:
        from training.model.contract import register_own
        from training.model.model_file import scan_model_file

        if codec.read(DataSpec, old / "data.json").split != spec.split:
            report_event("note", text=f"the registered model is not given to the script: {RESPLIT}")
            return train_by_command(folder, job, spec, job.epochs)
        file = (old / KERAS_FILE).resolve()
        if not file.exists():
            report_event("note", text=f"the registered model is not given to the script: {NO_KERAS}")
            return train_by_command(folder, job, spec, job.epochs)
        scan_model_file(file, register_own(folder / "inputs" / "code"))
        return train_by_command(folder, job, spec, epochs, file)
    return _retrain(folder, job, epochs, old)


def _retrain(folder: Path, job: TrainJob, epochs: int, version: Path) -> TrainResult:
    contract = load_contract(folder / "inputs" / "code")

    from retraining.finetune import CannotFineTune, open_registered
    from training.finish import Trained, finish
    from training.loop.attempts import attempts_from_scratch
    from training.loop.fit import Attempt

    data = open_data(folder, contract)
    attempts = attempts_from_scratch(contract, data, job.epochs, job.max_attempts)
    try:
        model = open_registered(version, contract.code, data, job.learning_rate)
    except CannotFineTune as error:
        why = f"the registered model cannot be fine-tuned: {error}"
        report_event("note", text=f"{why}; training from scratch")
        best = run_attempts(folder, job, contract, data, attempts)
        return finish(job, Trained.of(best, f"{_from_scratch(best)}: {why}"), data, folder)
    report_event("note", text=f"fine-tuning the registered model with a learning rate of {model.rate:g}")
    if contract.fit and not contract.retrain:
        report_event("note", text="model.py has a fit and no retrain: its fit does the fine-tuning")
    hook = contract.retrain or contract.fit
    tuning = Attempt("fine-tuned", 0, epochs, model.start, hook, model.settle, optional=True)
    best = run_attempts(folder, job, contract, data, [tuning, *attempts])
    return finish(job, Trained.of(best, _note(best, model.rate)), data, folder)


def _note(best: BestAttempt, rate: float) -> str:
    """What came of fine-tuning, and of training from scratch if that was done, too."""
    if best.attempt.how == "trained":
        return f"{_from_scratch(best)}: {best.history.rounds[0].failed or 'fine-tuning did not reach the threshold'}"
    better = "; training from scratch did no better" if len(best.history.rounds) > 1 else ""
    return f"fine-tuned with a learning rate of {rate:g}{better}"


def _from_scratch(best: BestAttempt) -> str:
    return f"trained from scratch, attempt {best.attempt.attempt + 1}"


if __name__ == "__main__":
    sys.exit(work(main))
