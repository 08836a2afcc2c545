"""What every runner does before a worker starts: a clean job folder, settings for the libraries."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from pipelines.runners import Job
from registry.errors import PipelineError

SETTINGS = {
    "PYTHONUNBUFFERED": "1",  # the log streams live
    "PYTHONUTF8": "1",
    "PYTHONFAULTHANDLER": "1",  # a crash in C shows where
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GX_ANALYTICS_ENABLED": "false",
    "MPLBACKEND": "Agg",
}


INCOMING = ".incoming-"
"""How the name of a folder begins into which files of a worker are being copied."""


def prepare(job: Job, folder: Path) -> None:
    """A fresh start in a folder that may have seen an earlier try: no old result, no old inputs, empty scratch.

    Raises PipelineError when an input is missing.
    """
    for each in ("result.json", "error.json", "inputs", "scratch", "outputs"):
        path = folder / each
        if each != "outputs" or path.is_symlink() or not path.is_dir():  # outputs of an earlier try may be of use
            remove(path)
    for path in folder.glob(f"{INCOMING}*"):  # of a controller that was killed
        remove(path)
    for each in ("outputs", "inputs", "scratch"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    for name, path in job.inputs.items():
        if not path.exists():
            raise PipelineError(
                f"worker {job.name}: input {name} is missing: {path}", hint="an earlier step makes it: start a new run"
            )


def remove(path: Path) -> None:
    """Remove what a worker has left, whatever it is. A link goes, what it points to stays; what cannot go, stays."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
        with contextlib.suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)
        if path.exists():  # nested deeper than Python goes
            subprocess.run(["rm", "-rf", "--", str(path)], check=False, stderr=subprocess.DEVNULL)
