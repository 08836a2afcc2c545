"""The rehearsal of a team's own script: run once on a single batch before it trains, so that its errors show at once.

The same command runs in folders of its own, with TRAINYARD_EPOCHS=1 and TRAINYARD_REHEARSAL=1, and every `fit` of Keras
trains one batch (see `training.rehearsal_hook`). Then the model file is scanned, loaded and tried on the dataset as the
trained one will be. The check runs in a process of its own (`python -P -m training.rehearsal`): TensorFlow would stay in
this one, and take memory from the training.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry import codec
from registry.errors import ConfigError, PipelineError, WorkerFailed
from registry.records import TrainJob
from training import rehearsal_hook
from training.command import KERAS_FILE, ONNX_FILE, Rehearsal, TooLong, run_command
from training.data.spec import DataSpec
from training.heavy import import_tensorflow
from training.model.contract import register_own
from training.model.model_file import load_model, scan_model_file
from training.onnx_script import open_onnx_of_script
from training.reported import must_hold, read_reported
from training.script_output import ScriptFailed
from training.worker.protocol import OUT_OF_MEMORY, load_failure, report_event, work

if TYPE_CHECKING:
    from training.model.samples import Samples
    from training.model.signature import Wiring

DONE = "rehearsed"
"""A file in `command/`: a run that resumes does not rehearse again."""
UNTRAINED = frozenset({"", "AssertionError", "SystemExit"})
"""Exceptions that may only mean that a model which has seen one batch is not good enough for the script."""
LEAVE_OUT = "if it fails only because it has seen a single batch: [training] rehearsal_seconds = 0"


@dataclass(frozen=True, slots=True)
class Checked:
    """The model of the rehearsal can be served."""

    kind: str
    """`.onnx` or `.keras`."""


def rehearse(job: TrainJob, folder: Path, model: Path | None = None) -> None:
    """Rehearse `job.command`, unless that was done before in this job's folder.

    Raises what `run_command` raises, and what the check of the model finds. What cannot be known from one batch, or not
    in `job.rehearsal_seconds`, is a note.
    """
    done, own = folder / "command" / DONE, folder / "rehearsal"  # as deep as `command`: relative paths are the same
    if done.exists() or not job.rehearsal_seconds:
        return
    shutil.rmtree(own, ignore_errors=True)
    hook = own / "hook"
    hook.mkdir(parents=True)
    shutil.copyfile(rehearsal_hook.__file__, hook / "sitecustomize.py")
    mark, began = own / "training-has-begun", time.monotonic()
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(hook), os.environ.get("PYTHONPATH")])),
        "TRAINYARD_EPOCHS": "1",
        "TRAINYARD_REHEARSAL": "1",
        "TRAINYARD_REHEARSAL_MARK": str(mark),
    }
    report_event("note", text="rehearsing the script on a single batch")
    try:
        run_command(job, folder, 1, model, Rehearsal(own, job.rehearsal_seconds, environment))
        _check(own)
        if said := read_reported(own / "output"):  # a script may leave none in a rehearsal
            must_hold(said, job.must_report)
    except TooLong:
        _note(
            f"was ended after {job.rehearsal_seconds:g} s ([training] rehearsal_seconds): the training begins without it"
        )
    except ScriptFailed as error:
        if mark.exists() and error.exception in UNTRAINED:
            _note(f"says little, as its script wants a trained model: {str(error).splitlines()[0]}")
        else:
            raise _before_training(error, mark) from error
    except PipelineError as error:
        raise _before_training(error, mark) from error
    else:
        _note(f"took {time.monotonic() - began:.0f} s: the script's model fits the dataset and can be saved and loaded")
    shutil.rmtree(own, ignore_errors=True)
    done.parent.mkdir(exist_ok=True)
    done.touch()


def _note(text: str) -> None:
    report_event("note", text=f"the rehearsal {text}")


def _before_training(error: PipelineError, mark: Path) -> PipelineError:
    """The same error, saying when it was found, and the way out when it may have been too early."""
    kind = WorkerFailed if isinstance(error, ScriptFailed) else type(error)
    early = mark.exists() and not OUT_OF_MEMORY.search(str(error))
    hint = "; ".join(filter(None, [error.hint, LEAVE_OUT if early else ""]))
    return kind(f"before its training, in a rehearsal: {error}", hint=hint)


def _check(own: Path) -> None:
    """Raise what is wrong with the rehearsal's model."""
    command = [sys.executable, "-P", "-m", "training.rehearsal"]
    done = subprocess.run(command, cwd=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)  # noqa: T201  (for the log)
        raise load_failure(own) or WorkerFailed(
            f"the check of its model ended with exit code {done.returncode}", hint="see worker.log"
        )


def open_script_model(folder: Path, job: TrainJob, spec: DataSpec, file: Path) -> tuple[Wiring, Samples]:
    """The model that a script has left, scanned, loaded and wired to the dataset; and the validation split.

    Raises ConfigError, Corrupt or WorkerFailed for a file that cannot be taken or does not suit the dataset.
    """
    if not (folder / "inputs" / "code" / "model.py").is_file():
        scan_model_file(file)  # before TensorFlow is imported: a wrong file is reported at once
    names = register_own(folder / "inputs" / "code")
    import_tensorflow()

    from training.model.samples import open_samples
    from training.model.signature import wire

    validation = open_samples(folder / "inputs" / "validation", None)
    model = load_model(file, names, compiled=False)
    origin = f"the model of {' '.join(job.command)[:200]}"
    return wire(model, spec, validation, origin, of_a_script=True), validation


def main(own: Path) -> Checked:
    """Check the model in `own`, the folder `rehearsal` of a job."""
    folder = own.parent
    job, spec = (
        codec.read(TrainJob, folder / "job.json"),
        codec.read(DataSpec, folder / "inputs" / "train" / "data.json"),
    )
    try:
        if (file := own / "output" / ONNX_FILE).exists():
            open_onnx_of_script(folder, job, spec, file)
        else:
            open_script_model(folder, job, spec, own / "output" / KERAS_FILE)
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"{own / 'output'}/", ""), hint=error.hint) from error
    return Checked(file.suffix if file.exists() else Path(KERAS_FILE).suffix)


if __name__ == "__main__":
    sys.exit(work(main))
