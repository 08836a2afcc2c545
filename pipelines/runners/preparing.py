"""What every runner does before a worker starts: a clean job folder, its log, our settings."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.runners import Job, OnLine
from pipelines.runners.output import OURS, Output, WorkerLog
from registry.errors import PipelineError
from registry.nouns import utc_now

SETTINGS = {
    "PYTHONUNBUFFERED": "1",  # the log streams live
    "PYTHONUTF8": "1",
    "PYTHONFAULTHANDLER": "1",  # a crash in C tells where
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GX_ANALYTICS_ENABLED": "false",
    "MPLBACKEND": "Agg",
}


def prepare(job: Job, folder: Path) -> None:
    """A fresh start in a folder that may have seen an earlier try: no old result, no old inputs, empty scratch.

    Raises PipelineError when an input is missing.
    """
    for each in ("result.json", "error.json"):
        (folder / each).unlink(missing_ok=True)
    for each in ("outputs", "inputs", "scratch"):
        if (folder / each).is_symlink():  # the worker has put it there: what it points to is not ours
            (folder / each).unlink()
        elif each != "outputs" and (folder / each).exists():
            shutil.rmtree(folder / each, ignore_errors=each == "scratch")
        (folder / each).mkdir(parents=True, exist_ok=True)
    for name, path in job.inputs.items():
        if not path.exists():
            raise PipelineError(
                f"worker {job.name}: input {name} is missing: {path}", hint="an earlier step makes it: start a new run"
            )


@contextlib.contextmanager
def opened(job: Job, folder: Path, on_line: OnLine) -> Iterator[Output]:
    """The worker's log, for a block that starts the worker; closed again when that fails."""
    log = WorkerLog(folder / "worker.log")
    try:
        log.write([f"{OURS} {utc_now()} {job.name}: {' '.join(job.module)}"])
        yield Output(log, on_line)
    except BaseException:
        log.close()
        raise
