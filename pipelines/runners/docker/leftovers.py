"""What a killed controller has left on the engine; the next one of the same home removes it.

Containers and volumes carry three labels for this: the home, their owner, and the job folder. An owner is a controller: a
file in the home's cache that it holds locked while it lives. If the lock can be taken, its owner is dead. Nothing without
all three labels, and nothing of another home, is ever touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipelines.docker_engine import LABEL, engine_errors, labels
from pipelines.runners.docker.transport import CONTROLLER_FILES, FOLDER, RESULTS, TRANSFER, fetch, remove
from registry.errors import WorkerFailed
from registry.files import write_new

_TOKEN = re.compile(r"[0-9a-f]{16}")


class Owner:
    """The controller, as an owner of containers and volumes."""

    def __init__(self, cache: Path) -> None:
        self._owners = cache / "docker" / "owners"
        self._owners.mkdir(parents=True, exist_ok=True)
        self.home = _home(cache)
        self.token = secrets.token_hex(8)
        while (lock := _locked(self._owners / self.token, os.O_CREAT)) is None:
            self.token = secrets.token_hex(8)  # another controller took it for a dead one's, just before it was locked
        self._lock = lock

    @property
    def labels(self) -> dict[str, str]:
        """The labels of all that this controller makes."""
        return labels(home=self.home, owner=self.token)

    def remove_leftovers(self, api: Any, folder: Path, on_line: Callable[[str], None]) -> None:
        """Remove what dead owners of this home have left, and all that is left of the job in `folder`, which begins anew:
        the engine may have been away when that ended. Checkpoints that only the engine has come back first.

        Files of another job stay until that begins anew, or its folder is gone: no other job writes there. Raises
        PipelineError when checkpoints of this one are there, and cannot come back now.
        """
        with engine_errors("looking for leftovers of killed runs"):
            found = list(_found(api, self.home))
        dead = {owner for owner in {each.owner for each in found} if self._is_dead(owner)}
        left = [
            each
            for each in found
            if each.folder == str(folder)
            or (each.owner in dead and (each.kind == "worker" or not Path(each.folder).is_dir()))
        ]
        names = {kind: [each.name for each in left if each.kind == kind] for kind in ("worker", "transfer", "volume")}
        remove(api, names["worker"], [])
        for each in left:
            if each.kind == "transfer" and each.folder == str(folder):
                _bring_back(api, each.name, folder, on_line)
        remove(api, names["transfer"], names["volume"])
        for path in self._owners.iterdir():
            if path.name != self.token and (lock := _locked(path)):
                path.unlink(missing_ok=True)
                os.close(lock)

    def close(self) -> None:
        """Remove the lock file: what this owner has left is then a dead one's."""
        (self._owners / self.token).unlink(missing_ok=True)
        os.close(self._lock)

    def _is_dead(self, token: str) -> bool:
        if token == self.token or not _TOKEN.fullmatch(token):
            return False
        if not (self._owners / token).exists():
            return True
        lock = _locked(self._owners / token)
        if lock:
            os.close(lock)
        return lock is not None


def _locked(path: Path, flags: int = 0) -> int | None:
    """A descriptor that holds the file locked; None when another process holds it, or it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None


def _home(cache: Path) -> str:
    """A name for this home that no other home has, on whatever machine, and that a copy of it does not have."""
    path = cache / "docker" / "home"
    with contextlib.suppress(FileExistsError):
        write_new(path, secrets.token_hex(16).encode())
    return hashlib.sha256(path.read_bytes() + os.fsencode(cache.resolve())).hexdigest()[:24]


class _Found(NamedTuple):
    """A container or volume of this home, by its labels."""

    kind: Literal["worker", "transfer", "volume"]
    """Files of a job come back through its transfer container, out of its volumes."""
    name: str
    """The ID of a container, the name of a volume."""
    owner: str
    folder: str


def _found(api: Any, home: str) -> Iterator[_Found]:
    wanted = {"label": [f"{LABEL}.home={home}", f"{LABEL}.owner", f"{LABEL}.{FOLDER}"]}
    for each in api.containers(all=True, filters=wanted):
        kind: Literal["worker", "transfer"] = "transfer" if TRANSFER.items() <= each["Labels"].items() else "worker"
        yield _Found(kind, each["Id"], each["Labels"][f"{LABEL}.owner"], each["Labels"][f"{LABEL}.{FOLDER}"])
    for each in api.volumes(filters=wanted)["Volumes"] or []:
        yield _Found("volume", each["Name"], each["Labels"][f"{LABEL}.owner"], each["Labels"][f"{LABEL}.{FOLDER}"])


def _bring_back(api: Any, container: str, folder: Path, on_line: Callable[[str], None]) -> None:
    """Bring checkpoints back from the volume of a killed run: the next try resumes from them."""
    on_line(f"taking over what a killed run has left on the engine for {folder}")
    try:
        with engine_errors(f"taking over files of a killed run from container {container[:12]}"):
            fetch(api, container, folder, CONTROLLER_FILES | RESULTS, 0, on_line)
    except WorkerFailed as error:
        on_line(f"they cannot be used, and training starts from scratch: {error}")
