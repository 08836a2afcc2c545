"""The API as a program: gunicorn in the current folder, configured by its `job.json`.

The folder then holds, while it runs: `api.json` (where it listens), `api.lock`, `workers/` (what each process serves),
`models/` (copies of mapped files) and `preflights/` (what came of loading a release in a process of its own); and always
`known_good.json` (the releases that have answered here).

In a deployed container, `TRAINYARD_JOB` is the job, and `TRAINYARD_LISTENER` the Unix socket of serving.server.listener:
workers get the listening socket from there when they are ready; the server itself listens on `api.sock` for health checks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from registry import codec
from registry.errors import ConfigError
from serving.access.exposure import refuse_exposed
from serving.job import ServeJob
from serving.server import lockfile, ports
from serving.server.api_server import Server, operators_need_tls
from serving.server.fence import UNFENCED
from serving.server.for_workers import import_for_workers
from serving.server.gunicorn_settings import refuse_unsupported

STARTED_AGAIN = "TRAINYARD_STARTED_AGAIN"
"""The variable that says to the API why its parent has started it again."""


def read_job(folder: Path, environ: Mapping[str, str]) -> ServeJob:
    """`TRAINYARD_JOB`, else `job.json`, with `TRAINYARD_HOST`, `…_PORT` and `…_ADMIN_PORT` on top.

    Raises ConfigError or Corrupt.
    """
    if given := environ.get("TRAINYARD_JOB"):
        job = codec.from_json(ServeJob, given.encode(), "TRAINYARD_JOB")
    elif (folder / "job.json").is_file():
        job = codec.read(ServeJob, folder / "job.json")
    else:
        raise ConfigError(f"{folder / 'job.json'}: is missing", hint="`trainyard serve MODEL` writes it")
    port, admin_port = (
        _port(environ, "TRAINYARD_PORT", job.port),
        _port(environ, "TRAINYARD_ADMIN_PORT", job.admin_port),
    )
    return replace(job, host=environ.get("TRAINYARD_HOST", job.host), port=port, admin_port=admin_port)


def _port(environ: Mapping[str, str], name: str, otherwise: int) -> int:
    port = environ.get(name, str(otherwise))
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{name}: {port!r} is not a port")
    return int(port)


def run(folder: Path, environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM. Raises ConfigError when it cannot start; else gunicorn ends the process."""
    job, path = read_job(folder, environ), environ.get("TRAINYARD_LISTENER", "")
    lock, master = lockfile.acquire(folder), os.getpid()
    operators, admin = None, ""
    if not path:  # else it is published by who has started the listener
        refuse_exposed(job)
    if path:
        url, bind = f"unix://{folder / 'api.sock'}", f"unix:{folder / 'api.sock'}"
    else:
        listener, operators = ports.given(environ) or ports.listen_for_all(job)
        admin = lockfile.url(*operators.getsockname()[:2], tls=operators_need_tls(job))
        url = lockfile.url(*listener.getsockname()[:2], tls=bool(job.certfile))
        bind = f"fd://{listener.detach()}"
    for name in ("workers", "models", "preflights"):  # of a server that was killed
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "error.json").unlink(missing_ok=True)
    _use_own_scratch(folder / "scratch")
    notes = [f"not fenced: this kernel cannot keep the API from {missing}" for missing in _given(environ, UNFENCED)]
    notes += [f"started again: {why}" for why in _given(environ, STARTED_AGAIN)]
    server = Server(job, folder, bind, path, operators, notes)
    refuse_unsupported(server.effective, bind)
    lockfile.write(folder, (url, admin, server.grpc_target), job.model, job.workers)
    import_for_workers()
    try:
        server.run()
    finally:
        if os.getpid() == master:  # a worker that ends comes by here, too
            (folder / lockfile.ADDRESS_FILE).unlink(missing_ok=True)
            os.close(lock)


def _given(environ: Mapping[str, str], name: str) -> list[str]:
    return [environ[name]] if environ.get(name) else []


def _use_own_scratch(scratch: Path) -> None:
    """Have TensorFlow, Keras and what they import write to a folder of the API's own: a fence leaves no other. What a user has
    set for Keras does not count, either: it could change what a model computes."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    os.environ.update(TMPDIR=str(scratch), KERAS_HOME=str(scratch / "keras"), MPLCONFIGDIR=str(scratch / "matplotlib"))
