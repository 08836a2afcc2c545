"""How a job folder and its inputs come into a container, and what the worker wrote comes back.

Bind mounts where the engine sees this machine's files; else volumes that are filled and read through the engine's API. Decided by
`pipelines.runners.docker.mount_probe`, for each job.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.docker_engine import engine_errors, labels
from pipelines.runners import Job, job_folder
from pipelines.runners.docker import tar_stream
from pipelines.runners.docker.limits import JOB, bind, volume
from registry.errors import PipelineError

CONTROLLER_FILES = frozenset({"inputs", "scratch", "worker.log", "job.json"})
"""Names in a job folder that a worker does not make."""
RESULTS = frozenset({"result.json", "error.json"})
FOLDER = "folder"
"""The label that names the job folder to which a container or volume belongs."""
TRANSFER = labels(kind="porter")
"""Of containers that never run, through which files travel; the value is the one that earlier versions of Trainyard gave."""


@dataclass(frozen=True)
class Site:
    """Where on the engine a worker will run, and as whom."""

    api: Any
    """The SDK's APIClient."""
    image: str
    user: tuple[int, int]
    """User and group inside."""
    labels: Mapping[str, str]


class Transport(Protocol):
    """The way of one job's files. `close` follows whatever happens."""

    mounts: list[dict[str, Any]]

    def bring_back(self, refused: Callable[[str], None]) -> None:
        """The worker has ended: bring what it wrote into the job folder, as the caller's.

        What cannot be taken over is reported to `refused`. Raises PipelineError when nothing can.
        """

    def close(self) -> None:
        """Leave nothing of it on the engine."""


class BindMounts:
    """Bind mounts. The job folder of root is lent to the worker's user and comes back."""

    def __init__(self, site: Site, job: Job, folder: Path) -> None:
        self.folder = folder
        self._lent = os.geteuid() == 0 and site.user[0] != 0
        self.mounts = [
            bind(str(folder), JOB, read_only=False),
            bind(str(folder / "inputs"), f"{JOB}/inputs", read_only=True),
        ]
        for name, path in job.inputs.items():
            mount_point, source = folder / "inputs" / name, path.resolve()
            make = (
                mount_point.mkdir if source.is_dir() else mount_point.touch
            )  # else the engine does, and it would be root's
            make()
            self.mounts.append(bind(str(source), f"{JOB}/inputs/{name}", read_only=True))
        if self._lent:
            _give(folder, site.user)

    def bring_back(self, _refused: Callable[[str], None]) -> None:
        """See `Transport`."""
        if self._lent:
            _give(self.folder, (os.geteuid(), os.getegid()))

    def close(self) -> None:
        """See `Transport`."""


class CopiedFiles:
    """Two volumes, the inputs' read-only for the worker, and a container that never runs: through it they are filled
    and read."""

    def __init__(self, site: Site, job: Job, folder: Path) -> None:
        self.site, self.job, self.folder = site, job, folder
        self._volumes = [f"trainyard-{secrets.token_hex(8)}-{each}" for each in ("job", "inputs")]
        self._container = ""
        self.mounts = [
            volume(self._volumes[0], JOB, read_only=False),
            volume(self._volumes[1], f"{JOB}/inputs", read_only=True),
        ]
        try:
            with engine_errors(f"worker {job.name}: copying its files to the engine"):
                self._fill()
        except BaseException:
            self.close()
            raise

    def _fill(self) -> None:
        api, own_labels = self.site.api, dict(self.site.labels)
        for each in self._volumes:
            api.create_volume(each, labels=own_labels)
        mounts = [
            volume(name, target, read_only=False) for name, target in zip(self._volumes, (JOB, "/inputs"), strict=True)
        ]
        self._container = transfer_container(api, self.site.image, mounts, own_labels)
        api.put_archive(self._container, "/", self._tar())

    def _tar(self) -> Iterator[bytes]:
        """`job/…` and `inputs/…`, as the volumes are mounted in that container."""
        root, top = (0, 0), JOB.strip("/")
        try:
            yield from tar_stream.pack(self.folder, top, self.site.user, CONTROLLER_FILES - {"job.json"})
            for each in ("inputs", "scratch"):
                yield tar_stream.empty(f"{top}/{each}", self.site.user)
            for name, path in self.job.inputs.items():
                yield from tar_stream.pack(path.resolve(), f"inputs/{name}", root)
        except OSError as error:
            raise PipelineError(
                f"worker {self.job.name}: {error.filename}: {error.strerror}", hint="check its permissions"
            ) from error
        yield tar_stream.END

    def bring_back(self, refused: Callable[[str], None]) -> None:
        """See `Transport`."""
        with engine_errors(f"worker {self.job.name}: copying its files from the engine"):
            fetch(self.site.api, self._container, self.folder, CONTROLLER_FILES, self.job.limits.disk_mb, refused)

    def close(self) -> None:
        """See `Transport`; what the engine does not remove now is a leftover for the next controller."""
        remove(self.site.api, [self._container] if self._container else [], self._volumes)


def transfer_container(api: Any, image: str, mounts: list[dict[str, Any]], own_labels: Mapping[str, str]) -> str:
    """The id of a container that is never started: its files can be written and read nevertheless."""
    host = api.create_host_config(mounts=mounts, network_mode="none")
    made = api.create_container(
        image, ["true"], entrypoint=[], host_config=host, labels=dict(own_labels) | TRANSFER, use_config_proxy=False
    )
    return str(made["Id"])


def fetch(
    api: Any, container: str, folder: Path, leave: frozenset[str], most_mb: int, refused: Callable[[str], None]
) -> None:  # fmt: skip
    """Make `folder` what the job folder in a container is, save the names in `leave`; a result comes last."""
    new = Path(tempfile.mkdtemp(prefix=job_folder.INCOMING, dir=folder))
    try:
        chunks, _ = api.get_archive(container, f"{JOB}/.")
        with contextlib.closing(chunks):
            tar_stream.unpack(chunks, new, most_mb, leave, refused)
        tar_stream.replace(new, folder, leave, "result.json")
    except BaseException:
        job_folder.remove(new)
        raise


def remove(api: Any, containers: list[str], volumes: list[str]) -> None:
    """Remove containers, running or not, and then volumes. What is gone already, or cannot go now, is passed over: it is
    a leftover for the next controller."""
    for each in containers:
        with contextlib.suppress(PipelineError), engine_errors("removing a container"):
            api.remove_container(each, force=True, v=True)
    for each in volumes:
        with contextlib.suppress(PipelineError), engine_errors("removing a volume"):
            api.remove_volume(each, force=True)


def _give(folder: Path, owner: tuple[int, int]) -> None:
    """Change the owner of a folder and all below it, never following a link, and however deep a worker has nested it:
    `chown` can, Python's walks cannot."""
    command = ["chown", "-R", "-P", "-h", "--", ":".join(map(str, owner)), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(
            f"{folder}: cannot be given to another user: {done.stderr.strip()[-200:]}", hint="chown -R it"
        )
