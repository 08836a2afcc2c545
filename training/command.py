"""A team's own script instead of `model.py`: it reads the environment and leaves `model.keras` or `model.onnx`.

TRAINYARD_DATA         folder with train/ and validation/, each in the dataset repository's own format: a copy
TRAINYARD_OUTPUT       folder for the model's file; kept when a killed run resumes
TRAINYARD_SEED, TRAINYARD_EPOCHS, TRAINYARD_BATCH_SIZE
TRAINYARD_MODEL        when retraining: a copy of the model.keras to start from
TRAINYARD_REHEARSAL    1 in a rehearsal, see `training.rehearsal`
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Timer

from registry.errors import ConfigError, WorkerFailed
from registry.records import TrainJob
from training.code_copy import copy_code, make_writable
from training.data.spec import sample_files
from training.reported import FILE as REPORTED
from training.script_output import KEPT, failure

KERAS_FILE, ONNX_FILE = "model.keras", "model.onnx"


class TooLong(Exception):
    """The script was ended because its time was over."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is different when a script is only rehearsed."""

    own: Path
    """A folder for its copies and its output."""
    seconds: float
    """The time that it has. Its output is shown only when it fails."""
    environment: dict[str, str]


def run_command(
    job: TrainJob, folder: Path, epochs: int, model: Path | None = None, rehearsal: Rehearsal | None = None
) -> Path:
    """Run `job.command` in a copy of the code tree; its output streams as it comes. Gives the model file.

    Raises ConfigError when the program cannot be started, ScriptFailed when it fails, WorkerFailed when it leaves no model
    file, TooLong when a rehearsal's time is over.
    """
    own = rehearsal.own if rehearsal else folder / "command"
    own.mkdir(exist_ok=True)
    code, data, output = own / "code", own / "data", own / "output"
    copy_code(folder / "inputs" / "code", code)
    shutil.rmtree(data, ignore_errors=True)
    for split in ("train", "validation"):  # files of its own, as those of the split may be those of the dataset itself
        shutil.copytree(sample_files(folder / "inputs" / split), data / split, copy_function=shutil.copyfile)
    make_writable(data)
    output.mkdir(exist_ok=True)
    for name in (KERAS_FILE, ONNX_FILE, REPORTED):
        (output / name).unlink(missing_ok=True)
    env = os.environ | {
        # `python` is this very Python, where Keras is
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "TRAINYARD_DATA": str(data),
        "TRAINYARD_OUTPUT": str(output),
        "TRAINYARD_SEED": str(job.seed),
        "TRAINYARD_EPOCHS": str(epochs),
        "TRAINYARD_BATCH_SIZE": str(job.batch_size),
    }
    if model:
        start = own / KERAS_FILE
        start.unlink(missing_ok=True)
        shutil.copyfile(model, start)  # the registry has this file as well: a script that writes must not reach it
        env["TRAINYARD_MODEL"] = str(start)
    if rehearsal:
        env |= rehearsal.environment
    _run(job.command, code, env, rehearsal.seconds if rehearsal else 0.0)
    return _model_file(job.command, output, code)


def _model_file(command: tuple[str, ...], output: Path, code: Path) -> Path:
    found = [output / name for name in (KERAS_FILE, ONNX_FILE) if (output / name).exists()]
    if not found:
        raise WorkerFailed(
            f"{_shown(command)} ended well, but left no {KERAS_FILE} and no {ONNX_FILE}; {_left(output, code)}",
            hint=_SAVE,
        )
    if len(found) > 1:
        raise WorkerFailed(
            f"{_shown(command)} left both {KERAS_FILE} and {ONNX_FILE}", hint="leave the one that is to be served"
        )
    return found[0]


_SAVE = (
    f'model.save(os.path.join(os.environ["TRAINYARD_OUTPUT"], "{KERAS_FILE}")): that name, in that folder; a model of '
    f"another framework: {ONNX_FILE}, see docs/how-to/onnx.md"
)


def _left(output: Path, code: Path) -> str:
    """What the script has left where the model belongs, and models that it has left beside itself."""
    left = ", ".join(sorted(each.name for each in output.iterdir())[:10]) or "nothing"
    beside = [each.relative_to(code).as_posix() for each in sorted(code.rglob("*")) if _is_model(each)]
    return f"it left: {left}" + (f"; in the code's folder: {', '.join(beside[:10])}" if beside else "")


def _is_model(path: Path) -> bool:
    return (
        path.suffix in {".keras", ".h5", ".hdf5", ".model", ".onnx", ".pkl", ".joblib", ".pt"}
        or path.name == "saved_model.pb"
    )


def _run(command: tuple[str, ...], code: Path, env: dict[str, str], seconds: float) -> None:
    said: deque[str] = deque(maxlen=KEPT)
    try:
        process = subprocess.Popen(
            command,
            cwd=code,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            process_group=0 if seconds else None,
        )
    except OSError as error:
        raise ConfigError(
            f"[training] command: {_shown(command)} cannot be started: {error.strerror}",
            hint="the first word is a program; it runs in the root of the code repository",
        ) from None
    over = Event()
    clock = Timer(seconds, _end, [process, over]) if seconds else None
    with process:
        assert process.stdout
        if clock:
            clock.start()
        for line in process.stdout:
            if not seconds:
                _show(line)
            said.append(line.rstrip())
    if clock:
        clock.cancel()
    if over.is_set():
        raise TooLong
    if process.returncode:
        if seconds:
            _show("\n".join([*said, ""]))
        raise failure(_shown(command), process.returncode, said, code)


def _end(process: subprocess.Popen[str], over: Event) -> None:
    """End the script and what it has started, which would keep its output open."""
    over.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _shown(command: tuple[str, ...]) -> str:
    return " ".join(command)[:200]
