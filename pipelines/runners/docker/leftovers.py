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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.docker_engine import LABEL, engine_errors, labels
from pipelines.runners.docker.transport import CONTROLLER_FILES, FOLDER, PORTER, RESULTS, fetch, remove
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
        wanted = {"label": [f"{LABEL}.home={self.home}", f"{LABEL}.owner", f"{LABEL}.{FOLDER}"]}
        with engine_errors("looking for leftovers of killed runs"):
            containers = api.containers(all=True, filters=wanted)
            volumes = api.volumes(filters=wanted)["Volumes"] or []
        things = [(each, each["Labels"]) for each in (*containers, *volumes)]
        dead = {each for each in {marks[f"{LABEL}.owner"] for _, marks in things} if self._is_dead(each)}
        left = [
            (each, marks)
            for each, marks in things
            if marks[f"{LABEL}.{FOLDER}"] == str(folder)
            or (
                marks[f"{LABEL}.owner"] in dead
                and not (_holds_files(each) and Path(marks[f"{LABEL}.{FOLDER}"]).is_dir())
            )
        ]
        remove(api, [each["Id"] for each, _ in left if not _holds_files(each)], [])
        porters = [(each["Id"], marks) for each, marks in left if "Id" in each and _holds_files(each)]
        for container, marks in porters:
            if marks[f"{LABEL}.{FOLDER}"] == str(folder):
                _salvage(api, container, folder, on_line)
        remove(api, [container for container, _ in porters], [each["Name"] for each, _ in left if "Name" in each])
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


def _holds_files(each: Mapping[str, Any]) -> bool:
    """Whether it is a volume, or the container through which its files come back."""
    return "Name" in each or PORTER.items() <= each["Labels"].items()


def _salvage(api: Any, container: str, folder: Path, on_line: Callable[[str], None]) -> None:
    """Bring checkpoints back from the volume of a killed run: the next try resumes from them."""
    on_line(f"taking over what a killed run has left on the engine for {folder}")
    try:
        with engine_errors(f"taking over files of a killed run from container {container[:12]}"):
            fetch(api, container, folder, CONTROLLER_FILES | RESULTS, 0, on_line)
    except WorkerFailed as error:
        on_line(f"they cannot be used, and training starts anew: {error}")
