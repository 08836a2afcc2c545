"""Where workers run. A runner takes a job folder and gives back files; how a program starts is its affair alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self, cast

from registry.errors import ConfigError

OnLine = Callable[[str], None]
RUNNERS = {"process": "pipelines.runners.process:ProcessRunner"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may use."""

    seconds: float
    """From start to end; 0: no limit."""
    memory_mb: int
    """Anonymous and shared memory of all its processes together, and private memory of each; 0: no limit."""


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


class Service(str):
    """The URL of a server that runs in a worker, e.g. `http://127.0.0.1:41235`."""

    __slots__ = ("check",)
    check: Callable[[], None]
    """Raises WorkerFailed, with the server's last words, once it has ended by itself. For loops that wait for it."""

    def __new__(cls, url: str, check: Callable[[], None]) -> Self:
        service = super().__new__(cls, url)
        service.check = check
        return service


class Runner(Protocol):
    """Runs workers without our credentials in their environment, which is an allow-list plus `job.env`."""

    name: str

    def run(self, job: Job, on_line: OnLine) -> None:
        """Run to the end; each line of output goes to `on_line` and to `worker.log`.

        Returns when `result.json` stands. Raises what the worker raised (`error.json`), or WorkerFailed for a crash,
        a timeout or too much memory. An exception in the caller (Ctrl-C, SIGTERM) kills the worker, children included.
        """

    def service(self, job: Job, on_line: OnLine) -> AbstractContextManager[Service]:
        """Start a server that listens on the port given as `TRAINYARD_PORT` (and on `TRAINYARD_HOST`); gives its URL.

        It does not wait until the server is ready. At the end of the block the server is killed, children included.
        A server that has ended by itself makes the block raise WorkerFailed with its last words, also in place of an
        Exception that the block raises: that one came of it. `on_line` is called from another thread.
        """


def open_runner(kind: str, cache: Path) -> Runner:
    """The runner named in `[runner] kind`; `cache` is a folder for caches that workers may keep (fonts, bytecode)."""
    if kind not in RUNNERS:
        raise ConfigError(f"[runner] kind: {kind!r} is not known", hint=f"use one of: {', '.join(RUNNERS)}")
    module, _, name = RUNNERS[kind].partition(":")
    return cast("Runner", getattr(import_module(module), name)(cache))
