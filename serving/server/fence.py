"""What the API may use: it runs models of teams, and reads what clients send."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from serving.job import ServeJob
from serving.prediction_log.key import make_key
from training.fence.rules import Fence, around_python

UNFENCED = "TRAINYARD_UNFENCED"
"""The variable that names to the API what the kernel does not keep it from: fenced, it cannot find out itself."""


def api_fence(job: ServeJob, folder: Path) -> Fence:
    """Its own folder, the prediction log and labels to write, the registry (or its one version), certificates and tokens to read; its
    ports to listen on; none to connect to but that of the collector of its spans, when there is one."""
    system = around_python()
    if job.tokens:  # the first one is made later, perhaps; what is not there when it starts stays out of reach
        with contextlib.suppress(OSError):
            Path(job.tokens).parent.mkdir(parents=True, exist_ok=True)
    given = [folder / job.folder] if job.folder else [_registry(job.followed)]
    if job.mirror:
        given.append(Path(job.mirror))
    # the folders, as a renewed certificate is a new file; and where links lead, as those of certbot do
    beside = {
        os.path.dirname(path)
        for each in (job.certfile, job.keyfile, job.tokens)
        if each
        for path in (os.path.abspath(each), os.path.realpath(each))
    }
    written = [folder]
    if kept := job.prediction_log:
        with contextlib.suppress(OSError):  # what is missing is dropped and counted, and predictions are made
            Path(kept.folder).mkdir(parents=True, exist_ok=True)
            make_key(Path(kept.key))
        written.append(Path(kept.folder))
        if job.labels:
            with contextlib.suppress(OSError):  # then feedback is refused
                Path(job.labels).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            written.append(Path(job.labels).parent)
        beside.add(os.path.dirname(os.path.abspath(kept.key)))
    return replace(
        system,
        read=(*system.read, *(str(each.resolve()) for each in given), *sorted(beside)),
        write=tuple(str(each.resolve()) for each in written),
        bind=(job.port, job.admin_port, *((job.grpc_port,) if job.grpc_port else ())),
        connect=_port_of(job.traces),
    )


def _port_of(url: str) -> tuple[int, ...]:
    parts = urlsplit(url)
    return (parts.port or (443 if parts.scheme == "https" else 80),) if url else ()


def _registry(url: str) -> Path:
    """The registry's folder; made when nothing was registered yet, as what is not there when it starts stays out of reach."""
    path = Path(url.removeprefix("file://"))
    with contextlib.suppress(OSError):
        path.mkdir(parents=True, exist_ok=True)
    return path
