"""What the API may use: it runs models of teams, and reads what clients send."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from serving.job import ServeJob
from training.fence.rules import Fence, around_python

UNFENCED = "TRAINYARD_UNFENCED"
"""The variable that names to the API what the kernel does not keep it from: fenced, it cannot find out itself."""


def api_fence(job: ServeJob, folder: Path) -> Fence:
    """Its own folder to write, the registry (or its one version), certificates and tokens to read; its two ports to listen
    on, and none to connect to."""
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
    return replace(
        system,
        read=(*system.read, *(str(each.resolve()) for each in given), *sorted(beside)),
        write=(str(folder.resolve()),),
        bind=(job.port, job.admin_port),
    )


def _registry(url: str) -> Path:
    """The registry's folder; made when nothing was registered yet, as what is not there when it starts stays out of reach."""
    path = Path(url.removeprefix("file://"))
    with contextlib.suppress(OSError):
        path.mkdir(parents=True, exist_ok=True)
    return path
