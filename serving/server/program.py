"""The API as a program: gunicorn with our settings, in the current folder, told by its `job.json`.

The folder then holds, while it runs: `api.json` (where it listens), `api.lock`, `workers/` (what each process serves)
and `models/` (our copies of mapped files).

In a container that goes live, `TRAINYARD_JOB` is the job, and `TRAINYARD_LISTENER` the Unix socket of serving.server.listener:
workers take the listening socket from there when they are ready; the server itself listens on `api.sock` for those who
ask how it is.
"""

from __future__ import annotations

import errno
import gc
import os
import shutil
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from registry import codec
from registry.errors import ConfigError
from serving import worker_status
from serving.job import ServeJob
from serving.metrics.counters import CounterTable
from serving.server import lockfile
from serving.server.connection_balance import SLOTS, Shares
from serving.server.socket_handoff import Door

BACKLOG = 2048
KEEPALIVE = 15  # seconds a connection may idle between two requests
GARBAGE = 20_000
"""New objects between two looks of the garbage collector. Python's 700 is less than one picture in JSON has lists, and
looking at them takes as long as parsing them."""
WORKER = "serving.server.gunicorn_adapter.Worker"
SHARED_MEMORY = "/dev/shm"  # noqa: S108  (heartbeat files; a disk that hangs must not kill workers)


def read_job(folder: Path, environ: Mapping[str, str]) -> ServeJob:
    """`TRAINYARD_JOB`, else `job.json`, with `TRAINYARD_HOST` and `TRAINYARD_PORT` on top; raises ConfigError or Corrupt."""
    if given := environ.get("TRAINYARD_JOB"):
        job = codec.from_json(ServeJob, given.encode(), "TRAINYARD_JOB")
    elif (folder / "job.json").is_file():
        job = codec.read(ServeJob, folder / "job.json")
    else:
        raise ConfigError(f"{folder / 'job.json'}: is missing", hint="`trainyard serve MODEL` writes it")
    port = environ.get("TRAINYARD_PORT", str(job.port))
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"TRAINYARD_PORT: {port!r} is not a port")
    return replace(job, host=environ.get("TRAINYARD_HOST", job.host), port=int(port))


def listen(job: ServeJob) -> socket.socket:
    """The listening socket; raises ConfigError naming host and port when it cannot be had."""
    family = socket.AF_INET6 if ":" in job.host else socket.AF_INET
    try:
        listener = socket.create_server((job.host, job.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _no_port(job, error) from None
    # Inherited by every connection: a client that has gone quiet is told so, sooner than serving.server.gunicorn_adapter hangs up.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", job.timeout_seconds, 0))
    return listener


def run(folder: Path, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. Raises ConfigError when it cannot start; else gunicorn ends the process."""
    job, path = read_job(folder, environ), environ.get("TRAINYARD_LISTENER", "")
    lock, master = lockfile.hold(folder), os.getpid()
    if path:
        url, bind = f"unix://{folder / 'api.sock'}", f"unix:{folder / 'api.sock'}"
    else:
        listener = listen(job)
        url, bind = lockfile.url(*listener.getsockname()[:2]), f"fd://{listener.detach()}"
    for name in ("workers", "models"):  # of a server that was killed
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "error.json").unlink(missing_ok=True)
    server = Server(job, folder, bind, path)
    lockfile.write(folder, url, job.model)
    try:
        server.run()
    finally:
        if os.getpid() == master:  # a worker that ends comes by here, too
            (folder / lockfile.FILE).unlink(missing_ok=True)
            os.close(lock)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn, told by code. `GUNICORN_CMD_ARGS` may add to it, e.g. `--max-requests 10000`."""

    def __init__(self, job: ServeJob, folder: Path, bind: str, listener: str = "") -> None:
        """`bind` is gunicorn's; `listener` the path of serving.server.listener's Unix socket, if requests come from there."""
        self._job, self._folder, self._bind, self._listener = job, folder, bind, listener
        self._shares, self._counters = Shares(), CounterTable(SLOTS)
        self._door: Door | None = None
        super().__init__()
        self._refuse()

    def load_config(self) -> None:
        """Called by gunicorn."""
        for name, value in settings(self._job, self._bind).items():
            if name in self.cfg.settings:  # control_socket_disable is unknown to gunicorn before 25.1
                self.cfg.set(name, value)
        extra = self.cfg.parser().parse_args(self.cfg.get_cmd_args_from_env())
        for name, value in vars(extra).items():
            if value is not None and name != "args":
                self.cfg.set(name, value)
        self.cfg.set("post_worker_init", self._worker_begins)
        self.cfg.set("child_exit", self._worker_ended)
        self.cfg.set("pre_fork", self._worker_comes)

    def _refuse(self) -> None:
        """Settings from the environment that would break the API."""
        if self.cfg.preload_app:
            raise ConfigError(
                "GUNICORN_CMD_ARGS: --preload would load the model before the workers are forked",
                hint="take --preload away: neither TensorFlow nor LiteRT's threads survive a fork",
            )
        if self.cfg.worker_class_str != WORKER:
            raise ConfigError(
                f"GUNICORN_CMD_ARGS: worker class {self.cfg.worker_class_str!r} is not supported",
                hint="take --worker-class away: the API needs its own",
            )
        if self.cfg.is_ssl:
            raise ConfigError(
                "GUNICORN_CMD_ARGS: --certfile and --keyfile are not supported: promotion asks the API over http",
                hint="take them away and put TLS in front of the API, e.g. nginx",
            )
        if self.cfg.bind != [self._bind]:
            raise ConfigError(
                f"GUNICORN_CMD_ARGS: --bind {' '.join(self.cfg.bind)} is not supported",
                hint="take --bind away: [serving] host and port say where the API listens",
            )

    def load(self) -> Any:
        """The app; called by gunicorn in each worker, after the fork."""
        from serving.app import create_app
        from serving.engines.base import cores
        from serving.model_source import open_source
        from serving.model_swap import ModelSwap
        from serving.protocols.base import Limits

        # Each worker's TensorFlow, where it is needed, gets its share of the cores.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores() // self._job.workers)))
        workers = self._folder / "workers"
        source = open_source(self._job, self._folder / "models")
        self.model_swap = ModelSwap(source, workers, self._folder / "models", self._taking)
        self.model_swap.start()
        limits = Limits(self._job.max_body_mb << 20, self._job.max_instances)
        return create_app(
            self.model_swap,
            self._job.model,
            limits,
            lambda: {"expected": self._job.workers, "workers": worker_status.read_all(workers)},
            self._counters.counters(self._share.slot),
        )

    def _worker_comes(self, _server: Any, worker: Any) -> None:
        worker.share = self._share = self._shares.take()

    def _worker_begins(self, worker: Any) -> None:
        """Let a new worker take requests when it has its model, or after a while without, so that it can say why."""
        until = time.monotonic() + self._job.timeout_seconds
        while worker.alive and not self.model_swap.first_attempt.wait(0.2) and time.monotonic() < until:
            worker.notify()
        gc.set_threshold(GARBAGE)
        if self._listener:
            worker.door = self._door = Door(worker, self._listener, self._ready, self._job.timeout_seconds)
            worker.door.look()

    def _ready(self) -> bool:
        """Whether this worker knows what to answer: it has a model, or there is none to have."""
        swap = self.model_swap
        return swap.current is not None or (swap.first_attempt.is_set() and not swap.error)

    def _taking(self) -> bool:
        """Whether this worker has a socket from which to take connections."""
        return not self._listener or (self._door is not None and self._door.is_open)

    def _worker_ended(self, _server: Any, worker: Any) -> None:
        self._shares.give_back(worker.share)
        self._counters.worker_ended(worker.share.slot)
        worker_status.remove(self._folder / "workers", worker.pid)


def settings(job: ServeJob, bind: str) -> dict[str, Any]:
    """Settings for gunicorn. The model is loaded after the fork, so there is no preload."""
    return {
        "bind": bind,
        "worker_class": WORKER,
        "workers": job.workers,
        "threads": job.threads,
        "timeout": max(30, job.timeout_seconds),
        "graceful_timeout": job.timeout_seconds,
        "keepalive": KEEPALIVE,
        "backlog": BACKLOG,
        "limit_request_line": 4094,
        "limit_request_fields": 64,
        "limit_request_field_size": 8190,
        "worker_tmp_dir": SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None,
        "control_socket_disable": True,
        "logger_class": "serving.server.logs.JsonLogger",
        "accesslog": "-",
        "errorlog": "-",
        "proc_name": f"trainyard-{job.model}",
    }


def _no_port(job: ServeJob, error: OSError) -> ConfigError:
    where = f"{job.host}:{job.port}"
    if error.errno == errno.EADDRINUSE:
        hint = "stop what listens there, or set [serving] port (or --port) to a free one"
        return ConfigError(f"port {job.port} is in use ({where})", hint=hint)
    if error.errno == errno.EACCES:
        return ConfigError(f"port {job.port} may not be used ({where})", hint="set [serving] port to one above 1023")
    return ConfigError(f"cannot listen on {where}: {error.strerror or error}", hint="set [serving] host and port")
