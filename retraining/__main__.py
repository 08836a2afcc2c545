"""The retraining worker (`python -P -m retraining`): goes on from a registered model.

In its folder: `job.json` (TrainJob), `inputs/code`, `inputs/train`, `inputs/validation` and `inputs/model`, a registered
version's folder. It fine-tunes that model; when the threshold is not reached, or the data no longer fit the model, it
trains from nothing as the training worker does, and keeps the better one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from registry import codec
from registry.records import TrainJob, TrainResult
from retraining.policy import RESPLIT
from training.data.spec import DataSpec
from training.job import grow, open_data, open_job, train_by_command
from training.model.contract import load_contract
from training.worker.protocol import tell, work

if TYPE_CHECKING:
    from retraining.finetune import OldModel
    from training.loop.attempts import Grown


def main(folder: Path) -> TrainResult:
    """Raises ConfigError and WorkerFailed for faults of the code repository, Corrupt for a bad model file."""
    job, spec = open_job(folder)
    epochs = job.retrain_epochs or job.epochs
    old = folder / "inputs" / "model"
    if job.command:
        from training.model.model_file import scan_model_file

        if codec.read(DataSpec, old / "data.json").split != spec.split:
            tell("note", text=f"the registered model is not given to the script: {RESPLIT}")
            return train_by_command(folder, job, spec, job.epochs)
        file = (old / "model.keras").resolve()
        scan_model_file(file)
        return train_by_command(folder, job, spec, epochs, file)
    return _retrain(folder, job, epochs, old)


def _retrain(folder: Path, job: TrainJob, epochs: int, version: Path) -> TrainResult:
    contract = load_contract(folder / "inputs" / "code")

    from retraining.finetune import open_old_model
    from training.finish import Trained, finish
    from training.loop.attempts import fresh_rounds
    from training.loop.fit import Round

    data = open_data(folder, contract)
    rounds = fresh_rounds(contract, data, job.epochs, job.max_attempts)
    old = open_old_model(version, contract.code, data, job.learning_rate)
    if isinstance(old, str):
        tell("note", text=f"the registered model cannot be fine-tuned: {old}; training from nothing")
    else:
        tell("note", text=f"fine-tuning the registered model with a learning rate of {old.rate:g}")
        tuning = Round("fine-tuned", 0, epochs, old.start, contract.retrain, old.settle, optional=True)
        rounds = [tuning, *rounds]
    grown = grow(folder, job, contract, data, rounds)
    trained = Trained(
        grown.wiring, grown.round.how, _note(grown, old), grown.round.attempt, grown.epochs, grown.history
    )
    return finish(job, trained, data.validation, folder)


def _note(grown: Grown, old: OldModel | str) -> str:
    """Why it was done this way."""
    nothing = f"trained from nothing, attempt {grown.round.attempt}"
    if isinstance(old, str):
        return f"{nothing}: the registered model cannot be fine-tuned: {old}"
    if grown.round.how == "trained":
        return f"{nothing}: {grown.history.rounds[0].failed or 'fine-tuning did not reach the threshold'}"
    better = "; training from nothing did no better" if len(grown.history.rounds) > 1 else ""
    return f"fine-tuned with a learning rate of {old.rate:g}{better}"


if __name__ == "__main__":
    sys.exit(work(main))
