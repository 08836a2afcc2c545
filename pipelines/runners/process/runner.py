"""Workers as child processes of this machine, without the controller's credentials and within limits. The default.

The controller starts a supervisor (see `supervisor.py`), and that starts the worker in a session of its own. This module
prepares the job folder and the environment.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, OnLine, Service
from pipelines.runners.job_folder import SETTINGS, prepare
from pipelines.runners.process.pipes import PipeLink
from pipelines.runners.supervisor.output import opened
from pipelines.runners.supervisor.supervised import SupervisedWorker, run_through, served
from registry.errors import ConfigError
from training.environment import allowed

LOOPBACK = "127.0.0.1"


class ProcessRunner:
    """Runs workers as child processes. Needs Linux."""

    name = "process"

    def __init__(self, _config: RunnerConfig, cache: Path, _serve_image: str = "", grace: float = 5.0) -> None:
        """`cache` is kept from worker to worker; `grace` is the time in seconds between SIGTERM and SIGKILL."""
        if sys.platform != "linux":
            raise ConfigError(f'[runner] kind: "process" needs Linux, this is {sys.platform}')
        self.cache = cache.resolve()
        self.grace = grace

    def run(self, job: Job, on_line: OnLine) -> None:
        """Run to the end; see `Runner.run`."""
        run_through(self._worker(job, on_line, {}, self.grace))

    def service(self, job: Job, on_line: OnLine) -> AbstractContextManager[Service]:
        """Run a server while the block runs; see `Runner.service`."""
        port, admin_port = free_port(), free_port()
        address = {"TRAINYARD_HOST": LOOPBACK, "TRAINYARD_PORT": str(port), "TRAINYARD_ADMIN_PORT": str(admin_port)}
        worker = self._worker(job, on_line, address, grace=0.0)  # nobody waits for what it does when asked to end
        url, admin_url = (f"http://{LOOPBACK}:{each}" for each in (port, admin_port))
        return served(worker, lambda worker: Service(url, admin_url, worker.check, worker.on_end))

    def image(self, requirements: Path | None, on_line: OnLine) -> None:
        """None: a process has the packages that Trainyard itself has, and `on_line` gets a warning when a team wants others."""
        if requirements:
            on_line(
                'requirements.txt is not installed: a worker of [runner] kind = "process" has Trainyard\'s own packages'
            )

    def _worker(self, job: Job, on_line: OnLine, extra: Mapping[str, str], grace: float) -> SupervisedWorker:
        folder = job.folder.resolve()
        prepare(job, folder)
        for name, path in job.inputs.items():
            (folder / "inputs" / name).symlink_to(path.resolve())
        self.cache.mkdir(parents=True, exist_ok=True)
        environment = self._environment(folder) | dict(job.env) | dict(extra)
        with opened(job, folder, on_line) as output:
            return SupervisedWorker(job, output, PipeLink(job, folder, environment, grace), grace)

    def _environment(self, folder: Path) -> dict[str, str]:
        scratch = str(folder / "scratch")
        caches = {"XDG_CACHE_HOME": ".", "KERAS_HOME": "keras", "MPLCONFIGDIR": "matplotlib"}
        own = {"HOME": scratch, "TMPDIR": scratch} | {key: str(self.cache / name) for key, name in caches.items()}
        return {"PATH": os.defpath} | SETTINGS | allowed(os.environ) | own


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])
