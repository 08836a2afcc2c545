"""Where workers run: the interface `Runner`, and what a worker is given, `Job`.

A runner takes a job folder with `job.json` and leaves `result.json` or `error.json` there; how a program is started,
limited and ended is the runner's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from pipelines.config.schema import RunnerConfig
from pipelines.container_images import ImageKind
from registry.dataclass import dataclass

OnLine = Callable[[str], None]
RUNNERS = {
    "process": "pipelines.runners.process.runner:ProcessRunner",
    "docker": "pipelines.runners.docker.runner:ContainerRunner",
}
"""`[runner] kind` → module and class, imported when used."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may use."""

    seconds: float
    """From start to end; 0: no limit."""
    memory_mb: int
    """Anonymous and shared memory of all its processes together, and private memory of each; 0: no limit."""
    disk_mb: int = 0
    """What it may write to its job folder; 0: no limit."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server that runs in a worker."""

    url: str
    """For workers that get the service as `reaches`, e.g. `http://127.0.0.1:41235`; the controller may not reach it."""
    admin_url: str
    """The same for operators."""
    check: Callable[[], None]
    """Raises WorkerFailed, with the server's last lines, once it has ended by itself. For loops that wait for it."""
    on_end: Callable[[Callable[[], None]], None] = lambda _call: None
    """Takes what is called once the server has ended: at once, or later from another thread."""
    container: str = ""
    """The id of the container whose loopback interface it listens on; empty: it is a process of this machine."""


@dataclass(frozen=True, slots=True)
class Job:
    """One worker: a Python module, its job folder, what it may read, what it may use."""

    name: str
    """For logs: `train`, `evaluate`, …"""
    module: tuple[str, ...]
    """The module and its arguments: `("training",)` runs `python -P -m training`."""
    folder: Path
    """Holds `job.json`; `result.json`, `error.json`, `worker.log` and `outputs/` appear here. The working folder."""
    limits: Limits
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Appears to the worker as `inputs/<name>`, to be read only."""
    env: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    """The run it belongs to, for labels."""
    requirements: Path | None = None
    """A `requirements.txt` of the team. A container runs in an image with these packages; a process imports them, too, unless
    the settings say otherwise."""
    image: ImageKind = "train"
    """Which packages it needs: all, or those of the API (no TensorFlow)."""
    reaches: Service | None = None
    """The one server that this worker talks to; in a container it reaches nothing else. When that ends, the worker is ended."""


class Runner(Protocol):
    """Runs workers without the controller's credentials: their environment is an allow-list plus `job.env`."""

    name: str

    def run(self, job: Job, on_line: OnLine) -> None:
        """Run to the end; each line of output goes to `on_line` and to `worker.log`.

        Returns when there is a `result.json`. Raises what the worker raised (`error.json`), or WorkerFailed for a crash,
        a timeout or too much memory. An exception in the caller (Ctrl-C, SIGTERM) kills the worker, children included.
        """

    def service(self, job: Job, on_line: OnLine) -> AbstractContextManager[Service]:
        """Start a server that listens on `TRAINYARD_HOST` at `TRAINYARD_PORT`, and for operators at `TRAINYARD_ADMIN_PORT`.

        It does not wait until the server is ready. At the end of the block the server is killed, children included.
        A server that has ended by itself makes the block raise WorkerFailed with its last lines, also in place of an
        Exception that the block raises: that one came of it. `on_line` is called from another thread.
        """

    def image(self, requirements: Path | None, on_line: OnLine) -> str | None:
        """The digest of the image in which a worker with these requirements runs, built if need be; None: no image."""

    def lacks(self) -> tuple[str, ...]:
        """What its workers are not kept from, in words, though they should be: the kernel cannot. Nothing: they are fenced."""


def open_runner(config: RunnerConfig, cache: Path, serve_image: str = "") -> Runner:
    """The runner named in `[runner] kind`.

    `cache` is a folder for what outlives a worker (fonts, who owns which container); `serve_image` is for jobs with
    `image="serve"`, empty: Trainyard's own.
    """
    module, _, name = RUNNERS[config.kind].partition(":")
    return cast("Runner", getattr(import_module(module), name)(config, cache, serve_image))
