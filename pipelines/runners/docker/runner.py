"""Workers in containers of a Docker engine: no network, no privileges, nothing but their job folder and their inputs.

One container for each worker; process 1 in it is its supervisor (see `supervisor.py`), so that a worker ends with its
controller, and its end is reported in the same way as that of a child process. See docs/adr/containers.md.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.config.schema import RunnerConfig
from pipelines.container_images import ImageKind
from pipelines.docker_engine import engine_errors, labels, open_engine, security
from pipelines.runners import Job, OnLine, Service
from pipelines.runners.docker import limits
from pipelines.runners.docker.attach import AttachedLink
from pipelines.runners.docker.leftovers import Owner
from pipelines.runners.docker.mount_probe import Probe
from pipelines.runners.docker.readable import all_can_read
from pipelines.runners.docker.transport import FOLDER, BindMounts, CopiedFiles, Site, Transport, remove
from pipelines.runners.job_folder import prepare
from pipelines.runners.supervisor import command
from pipelines.runners.supervisor.output import opened
from pipelines.runners.supervisor.supervised import SupervisedWorker, run_through, served
from registry.errors import ConfigError, PipelineError

if TYPE_CHECKING:
    from docker import DockerClient

LOOPBACK, PORT, ADMIN_PORT = "127.0.0.1", 8500, 8501  # each server has a loopback interface to itself
How = Literal["", "bind", "copy"]


class ContainerRunner:
    """Runs workers in containers. The engine is opened when the first worker starts; before each, leftovers
    of killed controllers are removed."""

    name = "docker"

    def __init__(
        self, config: RunnerConfig, cache: Path, serve_image: str = "", grace: float = 5.0, transport: How = ""
    ) -> None:
        """`cache` remembers who owns what; `grace` is the time in seconds between SIGTERM and SIGKILL; `transport` is
        how files travel, empty: by what a probe finds."""
        self.config = config
        self.cache = cache.resolve()
        self.grace = grace
        self._names = {"train": config.image, "serve": serve_image}
        self._transport = transport
        self._probe = Probe(self.cache)
        self._images: dict[tuple[str, bytes], str] = {}
        self._lock = threading.Lock()
        self._open: Engine | None = None

    def run(self, job: Job, on_line: OnLine) -> None:
        """Run to the end; see `Runner.run`."""
        run_through(self._worker(job, on_line, {})[0])

    def service(self, job: Job, on_line: OnLine) -> AbstractContextManager[Service]:
        """Run a server while the block runs; see `Runner.service`."""
        address = {"TRAINYARD_HOST": LOOPBACK, "TRAINYARD_PORT": str(PORT), "TRAINYARD_ADMIN_PORT": str(ADMIN_PORT)}
        worker, container = self._worker(job, on_line, address)
        url, admin_url = (f"http://{LOOPBACK}:{each}" for each in (PORT, ADMIN_PORT))
        return served(worker, lambda worker: Service(url, admin_url, worker.check, worker.on_end, container))

    def image(self, requirements: Path | None, on_line: OnLine) -> str:
        """The ID of the image in which such a worker runs, built when need be; see `Runner.image`."""
        return self._image("train", requirements, self._engine().client, on_line)

    def lacks(self) -> tuple[str, ...]:
        """Nothing: a container is a fence of its own."""
        return ()

    def close(self) -> None:
        """Release the engine; also done when the runner is garbage-collected."""
        if self._open:
            self._open.close()

    def _engine(self) -> Engine:
        with self._lock:
            if not self._open:
                self._open = Engine(self.cache)
            return self._open

    def _image(self, kind: ImageKind, needs: Path | None, client: DockerClient, on_line: OnLine) -> str:
        from pipelines.container_images import catalog  # what it imports is for this runner only

        key = kind, needs.read_bytes() if needs else b""
        if key not in self._images:
            found = catalog.find(client, kind, self._names[kind])
            self._images[key] = catalog.derived(client, found, needs, on_line) if needs else found
        return self._images[key]

    def _worker(self, job: Job, on_line: OnLine, extra: Mapping[str, str]) -> tuple[SupervisedWorker, str]:
        if job.reaches and not job.reaches.container:
            raise ConfigError(
                f"worker {job.name}: the service that it reaches does not run in a container",
                hint="use one runner for both",
            )
        engine = self._engine()
        api, folder = engine.client.api, job.folder.resolve()
        prepare(job, folder)
        engine.owner.remove_leftovers(api, folder, on_line)
        own_labels = engine.owner.labels | labels(run=job.run, job=job.name, **{FOLDER: folder})
        image = self._image(job.image, job.requirements, engine.client, on_line)
        site = Site(api, image, limits.user(rootless=engine.rootless), own_labels)
        with opened(job, folder, on_line) as output:
            transport = self._transport_for(site, engine, job, folder)
            container = ""
            try:
                container = self._create(site, job, transport, extra)
                link = AttachedLink(api, container, job.name, transport, output.log)
            except BaseException:
                remove(api, [container] if container else [], [])
                with contextlib.suppress(PipelineError):  # what has failed before says why
                    transport.bring_back(on_line)
                transport.close()
                raise
            return SupervisedWorker(job, output, link, self.grace), container

    def _transport_for(self, site: Site, engine: Engine, job: Job, folder: Path) -> Transport:
        paths = [path.resolve() for path in job.inputs.values()]
        binds = self._transport == "bind" or (
            not self._transport
            and not engine.foreign
            and all_can_read(paths, site.user)
            and all(self._probe.sees(site, path) for path in (folder, *paths))
        )
        return (BindMounts if binds else CopiedFiles)(site, job, folder)

    def _create(self, site: Site, job: Job, transport: Transport, extra: Mapping[str, str]) -> str:
        api, supervisor = site.api, command.SOURCE.read_text(encoding="utf-8")
        arguments = command.arguments((0, 2), job, self.grace)
        with engine_errors(f"worker {job.name}"):
            confined = limits.worker_limits(job, self.config, mapped=self._engine().mapped)
            host = api.create_host_config(mounts=transport.mounts, **confined)
            made = api.create_container(
                site.image,
                entrypoint=["python", "-I", "-S", "-c", supervisor],  # the image may hold one of another version
                command=[*arguments, "python", "-P", "-m", *job.module],
                name=limits.container_name(["trainyard", job.run or "worker", job.name, secrets.token_hex(4)]),
                user=":".join(map(str, site.user)),
                environment=limits.environment(job, extra),
                working_dir=limits.JOB,
                labels=dict(site.labels),
                stdin_open=True,
                use_config_proxy=False,  # ~/.docker/config.json may hold a proxy's password
                healthcheck={"test": ["NONE"]},
                host_config=host,
            )
        return str(made["Id"])


class Engine:
    """An engine that was opened, and this controller as the owner of what it makes there."""

    def __init__(self, cache: Path) -> None:
        self.client = open_engine()
        try:
            options = security(self.client)
            self.rootless, self.mapped = "rootless" in options, bool(options & {"rootless", "userns"})
            self.foreign = bool(options & {"userns", "selinux"})  # its containers see no file of this machine
            self.owner = Owner(cache)
            self.close = weakref.finalize(self, _close, self.client, self.owner)
        except BaseException:
            self.client.close()
            raise


def _close(client: DockerClient, owner: Owner) -> None:
    client.close()
    owner.close()
