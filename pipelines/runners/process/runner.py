"""Workers as child processes of this machine, fenced, without the controller's credentials and within limits. The default.

The controller starts a supervisor (see `supervisor.py`), and that starts the worker in a session of its own, behind a
fence (see `training/fence/`). This module prepares the job folder, the environment and the fence.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, OnLine, Service
from pipelines.runners.job_folder import SETTINGS, prepare
from pipelines.runners.process.pipes import PipeLink
from pipelines.runners.supervisor.output import opened
from pipelines.runners.supervisor.supervised import SupervisedWorker, run_through, served
from registry.errors import ConfigError
from training.environment import allowed
from training.fence.rules import Fence, around_python, lacks

LOOPBACK = "127.0.0.1"
MIB = 1 << 20


class ProcessRunner:
    """Runs workers as child processes. Needs Linux."""

    name = "process"

    def __init__(self, config: RunnerConfig, cache: Path, _serve_image: str = "", grace: float = 5.0) -> None:
        """`grace` is the time in seconds between SIGTERM and SIGKILL. Packages are kept in `cache`, else nothing is kept from
        worker to worker."""
        if sys.platform != "linux":
            raise ConfigError(f'[runner] kind: "process" needs Linux, this is {sys.platform}')
        self.require_fence = config.require_fence
        self.grace = grace
        self._config, self._cache = config, cache

    def run(self, job: Job, on_line: OnLine) -> None:
        """Run to the end; see `Runner.run`."""
        urls = (job.reaches.url, job.reaches.admin_url) if job.reaches else ()
        ports = tuple(port for url in urls if (port := urlsplit(url).port))
        with self._packages(job.requirements, on_line) as site:
            fence = Fence(read=(str(site),) if site else (), connect=ports)
            run_through(self._worker(job, on_line, _importable(site, job), fence, self.grace))

    def service(self, job: Job, on_line: OnLine) -> AbstractContextManager[Service]:
        """Run a server while the block runs; see `Runner.service`."""
        port, admin_port = free_port(), free_port()
        address = {"TRAINYARD_HOST": LOOPBACK, "TRAINYARD_PORT": str(port), "TRAINYARD_ADMIN_PORT": str(admin_port)}
        ports = Fence(bind=(port, admin_port))
        worker = self._worker(
            job, on_line, address, ports, grace=0.0
        )  # nobody waits for what it does when asked to end
        url, admin_url = (f"http://{LOOPBACK}:{each}" for each in (port, admin_port))
        return served(worker, lambda worker: Service(url, admin_url, worker.check, worker.on_end))

    def image(self, requirements: Path | None, on_line: OnLine) -> None:
        """None: what it does is to have the packages ready."""
        if requirements and not self._config.packages:
            on_line("requirements.txt is not installed: [runner] packages = false")
        with self._packages(requirements, on_line):
            pass

    @contextmanager
    def _packages(self, requirements: Path | None, on_line: OnLine) -> Iterator[Path | None]:
        """The folder from which a worker with these requirements imports, while the block runs; None: it needs no more."""
        if requirements is None or not self._config.packages:
            yield None
            return
        from pipelines.runners.process.packages import FOLDER, Packages  # who needs none does without

        config = self._config
        packages = Packages(self._cache / FOLDER, config.packages_mb, config.timeout_minutes * 60)
        with packages.ready(requirements, on_line) as site:
            yield site

    def lacks(self) -> tuple[str, ...]:
        """What this kernel cannot keep from a worker; see `Runner.lacks`."""
        return lacks()

    def _worker(
        self, job: Job, on_line: OnLine, extra: Mapping[str, str], ports: Fence, grace: float
    ) -> SupervisedWorker:
        if self.require_fence and (missing := self.lacks()):
            raise ConfigError(
                f"worker {job.name}: [runner] require_fence: this kernel cannot fence {', '.join(missing)}",
                hint='`trainyard doctor` says what is missing; kind = "docker" needs no fence of the kernel',
            )
        folder = job.folder.resolve()
        prepare(job, folder)
        for name, path in job.inputs.items():
            (folder / "inputs" / name).symlink_to(path.resolve())
        environment = self._environment(folder) | dict(job.env) | dict(extra)
        with opened(job, folder, on_line) as output:
            link = PipeLink(job, folder, environment, grace, _fence(job, folder, ports).command())
            return SupervisedWorker(job, output, link, grace)

    def _environment(self, folder: Path) -> dict[str, str]:
        scratch = folder / "scratch"  # caches too: what one worker has left there, another would load
        caches = {"XDG_CACHE_HOME": ".", "KERAS_HOME": "keras", "MPLCONFIGDIR": "matplotlib"}
        own = {"HOME": str(scratch), "TMPDIR": str(scratch)} | {
            key: str(scratch / name) for key, name in caches.items()
        }
        return {"PATH": os.defpath} | SETTINGS | allowed(os.environ) | own


def _importable(site: Path | None, job: Job) -> dict[str, str]:
    """The variables by which a worker finds packages, before Trainyard's own: none of them hides one of those."""
    if site is None:
        return {}
    own = job.env.get("PYTHONPATH") or allowed(os.environ).get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(site), *([own] if own else [])])}


def _fence(job: Job, folder: Path, ports: Fence) -> Fence:
    """Its folder to write, its inputs to read, its ports, and what Python needs."""
    system = around_python()
    inputs = [str(path.resolve()) for path in job.inputs.values()]
    return replace(
        ports,
        read=(*system.read, *ports.read, *inputs),
        names=system.names,
        write=(str(folder),),
        devices=system.devices,
        shared_memory=job.limits.memory_mb * MIB // 2,
    )


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])
