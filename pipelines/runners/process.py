"""Workers as child processes of this machine, without our credentials and within limits. The embedded default.

The controller starts a guard (see `guard.py`), and the guard starts the worker in a session of its own. This module
prepares the job folder and the environment, reads the output while the worker runs, and says how it ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.config import RunnerConfig
from pipelines.runners import Job, OnLine, Service
from pipelines.runners.guarded import Guarded
from pipelines.runners.output import OURS, Output, WorkerLog
from registry.errors import ConfigError, PipelineError
from registry.nouns import utc_now
from training.environment import allowed

LOOPBACK = "127.0.0.1"
NOTICE = 0.2  # seconds until the end of a server is known

SETTINGS = {
    "PYTHONUNBUFFERED": "1",  # the log streams live
    "PYTHONUTF8": "1",
    "PYTHONFAULTHANDLER": "1",  # a crash in C tells where
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GX_ANALYTICS_ENABLED": "false",
    "MPLBACKEND": "Agg",
}


class ProcessRunner:
    """Runs workers as child processes. Needs Linux."""

    name = "process"

    def __init__(self, _config: RunnerConfig, cache: Path, grace: float = 5.0) -> None:
        """`cache` is kept from worker to worker; `grace` is the time in seconds between SIGTERM and SIGKILL."""
        if sys.platform != "linux":
            raise ConfigError(f'[runner] kind: "process" needs Linux, this is {sys.platform}')
        self.cache = cache.resolve()
        self.grace = grace

    def run(self, job: Job, on_line: OnLine) -> None:
        """Run to the end; see `Runner.run`."""
        with self._worker(job, on_line) as worker:
            worker.follow()
        if failure := worker.failure():
            raise failure

    @contextlib.contextmanager
    def service(self, job: Job, on_line: OnLine) -> Iterator[Service]:
        """Run a server while the block runs; see `Runner.service`."""
        port = free_port()
        address = {"TRAINYARD_HOST": LOOPBACK, "TRAINYARD_PORT": str(port)}
        with self._worker(job, on_line, address) as worker:
            worker.follow_aside()
            try:
                yield Service(f"http://{LOOPBACK}:{port}", worker.check)
            except Exception:
                worker.wait(NOTICE)  # a server that died just now is the cause, not the block
                worker.check()
                raise
            worker.check()

    def image(self, requirements: Path | None, on_line: OnLine) -> None:
        """None: a process has the packages that Trainyard itself has, and is told when a team wants others."""
        if requirements:
            on_line('requirements.txt is not installed: a worker of [runner] kind = "process" has our own packages')

    def _worker(self, job: Job, on_line: OnLine, extra: Mapping[str, str] | None = None) -> Guarded:
        folder = job.folder.resolve()
        _prepare(job, folder)
        self.cache.mkdir(parents=True, exist_ok=True)
        environment = self._environment(folder) | dict(job.env) | dict(extra or {})
        log = WorkerLog(folder / "worker.log")
        log.write([f"{OURS} {utc_now()} {job.name}: {' '.join(job.module)}"])
        try:
            return Guarded(job, folder, environment, self.grace, Output(log, on_line))
        except BaseException:
            log.close()
            raise

    def _environment(self, folder: Path) -> dict[str, str]:
        scratch = str(folder / "scratch")
        caches = {"XDG_CACHE_HOME": ".", "KERAS_HOME": "keras", "MPLCONFIGDIR": "matplotlib"}
        own = {"HOME": scratch, "TMPDIR": scratch} | {key: str(self.cache / name) for key, name in caches.items()}
        return {"PATH": os.defpath} | SETTINGS | allowed(os.environ) | own


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


def _prepare(job: Job, folder: Path) -> None:
    """A fresh start in a folder that may have seen an earlier try: no old result, no old inputs, empty scratch."""
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
        (folder / "inputs" / name).symlink_to(path.resolve())
