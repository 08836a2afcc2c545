"""The training worker (`python -P -m training`): trains from nothing.

In its folder: `job.json` (TrainJob), `inputs/code`, `inputs/train`, `inputs/validation`. It leaves the TrainResult and
`outputs/`; `checkpoints/` make a killed run go on from its last epoch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from registry.records import TrainResult
from training.job import grow, open_data, open_job, train_by_command
from training.model.contract import load_contract
from training.worker.protocol import work


def main(folder: Path) -> TrainResult:
    """Raises ConfigError and WorkerFailed for faults of the code repository."""
    job, spec = open_job(folder)
    if job.command:
        return train_by_command(folder, job, spec, job.epochs)
    contract = load_contract(folder / "inputs" / "code")

    from training.finish import Trained, finish
    from training.loop.attempts import fresh_rounds

    data = open_data(folder, contract)
    grown = grow(folder, job, contract, data, fresh_rounds(contract, data, job.epochs, job.max_attempts))
    note = f"trained from nothing, attempt {grown.round.attempt}"
    trained = Trained(grown.wiring, "trained", note, grown.round.attempt, grown.epochs, grown.history)
    return finish(job, trained, data.validation, folder)


if __name__ == "__main__":
    sys.exit(work(main))
