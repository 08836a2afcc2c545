"""A team's own script instead of `model.py`: it reads the environment and leaves `model.keras`.

TRAINYARD_DATA         folder with train/ and validation/, each in the dataset repository's own format: a copy
TRAINYARD_OUTPUT       folder for model.keras; kept when a killed run resumes
TRAINYARD_SEED, TRAINYARD_EPOCHS, TRAINYARD_BATCH_SIZE
TRAINYARD_MODEL        when retraining: a copy of the model.keras to start from
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

from registry.errors import ConfigError, WorkerFailed
from registry.records import TrainJob
from training.data.spec import sample_files

TAIL_LINES = 12
KERAS_FILE = "model.keras"


def run_command(job: TrainJob, folder: Path, epochs: int, model: Path | None = None) -> Path:
    """Run `job.command` in a copy of the code tree; its output streams as it comes. Gives the model file.

    Raises ConfigError when the program cannot be started, WorkerFailed when it fails or leaves no model file.
    """
    own = folder / "command"
    code, data, output = own / "code", own / "data", own / "output"
    shutil.rmtree(code, ignore_errors=True)
    shutil.copytree(folder / "inputs" / "code", code, symlinks=True)
    _writable(code)
    shutil.rmtree(data, ignore_errors=True)
    for split in ("train", "validation"):  # files of its own, as those of the split may be those of the dataset itself
        shutil.copytree(sample_files(folder / "inputs" / split), data / split, copy_function=shutil.copyfile)
    _writable(data)
    output.mkdir(exist_ok=True)
    (output / KERAS_FILE).unlink(missing_ok=True)
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
    _run(job.command, code, env)
    if not (output / KERAS_FILE).exists():
        left = ", ".join(sorted(each.name for each in output.iterdir())[:10]) or "nothing"
        raise WorkerFailed(
            f"{_shown(job.command)} ended well, but left no {KERAS_FILE}; it left: {left}",
            hint=f'model.save(os.path.join(os.environ["TRAINYARD_OUTPUT"], "{KERAS_FILE}"))',
        )
    return output / KERAS_FILE


def _run(command: tuple[str, ...], code: Path, env: dict[str, str]) -> None:
    tail: deque[str] = deque(maxlen=TAIL_LINES)
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
        )
    except OSError as error:
        raise ConfigError(
            f"[training] command: {_shown(command)} cannot be started: {error.strerror}",
            hint="the first word is a program; it runs in the root of the code repository",
        ) from None
    with process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if line.strip():
                tail.append(line.rstrip())
    if process.returncode:
        ended = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        raise WorkerFailed(
            f"{_shown(command)} failed with {ended}; its last lines:\n" + "\n".join(tail),
            hint="run it by hand in the code repository, with the TRAINYARD_ variables set",
        )


def _writable(folder: Path) -> None:
    """Sources may be read-only; a script may write beside itself in its copy."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)


def _shown(command: tuple[str, ...]) -> str:
    return " ".join(command)[:200]
