"""The container that follows a registry in a bucket for the API in a container: it alone has a network and credentials.

It keeps the copy (serving.follower) in a volume, which the API's container mounts read-only. The engine starts it again as it
does the API: after a reboot both begin from the copy, whether the bucket answers or not.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.deploy.api_containers import ApiContainers, restart_always
from pipelines.deploy.container_facts import label, restarts_always
from pipelines.deploy.followed import in_words
from pipelines.deploy.volumes import COPY, LOGIN
from registry.errors import ConfigError, PipelineError, TryAgain, WorkerFailed
from serving.follower_login import login_files
from serving.follower_state import STATE, FollowerState
from serving.job import ServeJob
from serving.server.control import login_variables

if TYPE_CHECKING:
    from docker.models.containers import Container

BEGIN_SECONDS = 120.0
"""For the first copy of what is live. What was copied stays: the same command resumes."""
STOP_SECONDS = 5
HINT = "  hint: "
"""How the line below an error begins, by serving.__main__."""


class FollowerContainer:
    """Starts, replaces and describes it. Only one process at a time may change it."""

    def __init__(self, containers: ApiContainers) -> None:
        self._containers = containers

    def ensure(self, job: ServeJob, image: Callable[[], str], *, newest: bool = False) -> None:
        """Have one that runs with these settings, and has copied what is live. `newest`: from this image, too.

        One that works keeps its credentials; one that cannot read the bucket gets those of the caller. Raises ConfigError,
        WorkerFailed or TryAgain when a new one cannot begin: then the one before works on.
        """
        before = self._containers.all("follower")
        current = next((each for each in reversed(before) if _works(each)), None)
        login = login_files(os.environ, login_variables(), LOGIN)
        if current and self._fits(current, job, login) and not (newest and current.attrs["Image"] != image()):
            self._remove([each for each in before if each.id != current.id])
            return
        known = _files(current, LOGIN) if current else {}
        number = max((int(label(each, "number")) for each in before), default=0) + 1
        self._remove([each for each in before if current is None or each.id != current.id])
        chosen = image()
        new = self._containers.create_follower(job, chosen, number, login)
        try:
            if current:  # there is one lock
                current.stop(timeout=STOP_SECONDS)
            new.start()
            _await_begin(new)
            restart_always(new)
        except BaseException:
            self._remove([new])
            if current:
                self._containers.give_login(chosen, known)
                current.start()
            raise
        self._remove([current] if current else [])

    def remove(self) -> None:
        """End it: the copy is whole at every moment."""
        self._remove(self._containers.all("follower"))

    def describe(self, url: str) -> list[str]:
        """What it says of the bucket, for people."""
        current = next((each for each in reversed(self._containers.all("follower")) if restarts_always(each)), None)
        state = _state(current) if current else None
        return [in_words(state, url, f"`docker logs {current.name}`")] if current and state else []

    def _fits(self, current: Container, job: ServeJob, login: dict[str, bytes]) -> bool:
        if label(current, "job") != self._containers.follower_digest(job):
            return False
        state = _state(current)
        return not (state and state.error) or _files(current, LOGIN) == login

    def _remove(self, containers: list[Container]) -> None:
        for each in containers:
            each.remove(force=True, v=True)


def _works(container: Container) -> bool:
    return restarts_always(container) and container.status in {"running", "restarting"}


def _await_begin(container: Container) -> None:
    deadline = time.monotonic() + BEGIN_SECONDS
    while True:
        container.reload()
        facts = container.attrs["State"]
        if facts["Status"] in {"exited", "dead"}:
            raise _failed(container)
        state = _state(container)
        if state and state.since >= facts["StartedAt"][:19]:  # both to the second, by the engine's clock
            return
        if time.monotonic() > deadline:
            raise TryAgain(
                f"container {container.name} has not copied what is live after {BEGIN_SECONDS:.0f} s",
                hint="the same command resumes",
            )
        time.sleep(0.1)


def _failed(container: Container) -> PipelineError:
    """Why it has ended, as it has said itself."""
    code, lines = container.attrs["State"]["ExitCode"], container.logs(tail=20).decode(errors="replace").splitlines()
    hint = lines.pop().removeprefix(HINT) if lines and lines[-1].startswith(HINT) else ""
    said = lines[-1][:500] if lines else f"no output, exit code {code}"
    kind = {2: ConfigError, 75: TryAgain}.get(code, WorkerFailed)
    return kind(f"container {container.name}, which follows the registry: {said}", hint=hint)


def _state(container: Container) -> FollowerState | None:
    try:
        return FollowerState(**json.loads(_files(container, f"{COPY}/{STATE}")[STATE]))
    except (KeyError, ValueError, TypeError):
        return None


def _files(container: Container, path: str) -> dict[str, bytes]:
    """The files at a path inside, or below, by their last names; small ones."""
    from docker import errors

    try:
        parts, _ = container.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as tar:
            return {
                entry.name.rpartition("/")[2]: file.read()
                for entry in tar
                if entry.isfile() and (file := tar.extractfile(entry))
            }
    except errors.NotFound:
        return {}
