"""The training worker (`python -P -m training`): trains from scratch.

In its folder: `job.json` (TrainJob), `inputs/code`, `inputs/train`, `inputs/validation`. It leaves the TrainResult and
`outputs/`; with `checkpoints/` a killed run resumes after its last epoch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from registry.records import TrainResult
from training.job import open_data, open_job, run_attempts, train_by_command
from training.model.contract import load_contract
from training.worker.protocol import work


def main(folder: Path) -> TrainResult:
    """Raises ConfigError and WorkerFailed for errors of the code repository."""
    job, spec = open_job(folder)
    if job.command:
        return train_by_command(folder, job, spec, job.epochs)
    contract = load_contract(folder / "inputs" / "code")

    from training.finish import Trained, finish
    from training.loop.attempts import attempts_from_scratch

    data = open_data(folder, contract)
    attempts = attempts_from_scratch(contract, data, job.epochs, job.max_attempts)
    best = run_attempts(folder, job, contract, data, attempts)
    note = f"trained from scratch, attempt {best.attempt.attempt + 1}"
    return finish(job, Trained.of(best, note), data, folder)


if __name__ == "__main__":
    sys.exit(work(main))
