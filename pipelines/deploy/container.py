"""The API as a container: workers that take connections from a listener's socket, so one API can follow another.

The listener holds the published port for as long as there is an API. An API container has no network: its workers take
the listening socket over a Unix socket once they have their model (serving.server.socket_handoff). So a new container is started beside
the old one, waited for, and shares its queue of connections; then the old one answers what it has begun, and ends.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind, catalog
from pipelines.deploy import DEPLOY_SECONDS
from pipelines.deploy.api_containers import ApiContainers, restart_always, restart_never
from pipelines.deploy.container_facts import (
    ADMIN_PORT,
    changes,
    grpc_of,
    health_check,
    is_of_this_version,
    label,
    no_port,
    restarts_always,
    settings_of,
    url_of,
)
from pipelines.deploy.follower import FollowerContainer
from pipelines.docker_engine import engine_errors, open_engine
from pipelines.trust import open_registry
from registry import releases
from registry.errors import ConfigError, TryAgain, WorkerFailed
from serving.access.checks import check
from serving.job import ServeJob
from serving.server import lockfile
from serving.server.control import await_workers

if TYPE_CHECKING:
    from docker.models.containers import Container

    from docker import DockerClient

RUNS = {"running", "restarting"}
KILL_AFTER = 10  # seconds beyond what the job gives to requests in flight
WHAT = "the API's container"


class ContainerDeployment:
    """See Deployment. `folder` holds a lock only: no other process starts, replaces or stops the API of this home meanwhile."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.remedy = f"`trainyard serve {config.model} --background` applies them, host and ports after `--stop` only"
        self._config, self._folder = config, folder

    def start(self, job: ServeJob, image: ImageKind) -> str:
        check(job)
        with engine_errors(WHAT), self._alone():
            current, listener = self._settle(), self._listener()
            if current:
                self._check_registry(job, current)
                self._follow_bucket(job)
                self._containers.refresh_access(job, current.attrs["Image"])
                if (
                    listener
                    and (url := url_of(listener))
                    and self._can_load(current, image)
                    and is_of_this_version(current)
                ):
                    return url  # whatever images there are by now: a rollback must not wait for one
            wanted = self._image(image)
            try:
                if current is None:
                    self._follow_bucket(job)
                url = self._listen(job, wanted)
                if current is None:
                    self._start_new(job, wanted, image, None, DEPLOY_SECONDS)
                elif not is_of_this_version(current):  # before a release that it could not read
                    larger: ImageKind = "train" if label(current, "kind") == "train" else image
                    self._replace(current, job, self._image(larger), larger, self._last_release(), DEPLOY_SECONDS)
            except BaseException:
                if current is None:  # a port without an API behind it would keep clients waiting
                    self._clear()
                raise
            return url

    def follow(self, job: ServeJob, image: ImageKind, number: int, seconds: float = DEPLOY_SECONDS) -> None:
        self.start(job, image)
        with engine_errors(WHAT), self._alone():
            current = self._settle()
            if current and not self._can_load(current, image):
                self._replace(current, job, self._image(image), image, number, seconds)
        with engine_errors(WHAT):
            await_workers(self.version, number, seconds)

    def update(self, job: ServeJob, image: ImageKind) -> None:
        with engine_errors(WHAT), self._alone():
            current, wanted = self._settle(), self._image(image)
            if current:
                self._follow_bucket(job, newest=True)
                self._containers.refresh_access(job, current.attrs["Image"])
            if current is None or label(current, "job") in self._acceptable(job, image, wanted):
                return
            self._replace(current, job, wanted, image, self._last_release(), DEPLOY_SECONDS)

    def refresh(self, job: ServeJob) -> None:
        with engine_errors(WHAT), self._alone():
            if current := self._current():
                self._containers.refresh_access(job, current.attrs["Image"])

    def stop(self) -> bool:
        with engine_errors(WHAT), self._alone():
            apis = self._containers.all("api")
            for each in apis:
                self._drain(each)
            self._clear()
            return any(each.status in RUNS for each in apis)

    def running(self) -> str | None:
        with engine_errors(WHAT):
            listener = self._listener()
            return url_of(listener) if listener and self._current() else None

    def admin(self) -> str:
        with engine_errors(WHAT):
            listener = self._listener()
            return (listener and url_of(listener, ADMIN_PORT)) or ""

    def grpc(self) -> str:
        with engine_errors(WHAT):
            listener = self._listener()
            return grpc_of(listener) if listener else ""

    def changed(self, job: ServeJob) -> dict[str, str]:
        with engine_errors(WHAT):
            current, listener = self._current(), self._listener()
            return changes(job, current, listener) if current and listener else {}

    def version(self) -> dict[str, Any]:
        with engine_errors(WHAT):
            current = self._current()
            if current is None:
                raise TryAgain("no API is running")
            return _ask(current)

    def unfenced(self) -> tuple[str, ...]:
        return ()

    def parts(self) -> list[str]:
        with engine_errors(WHAT):
            found = [each for role in ("listener", "follower", "api") for each in self._containers.all(role)]
            said = [f"container {each.name}: {_state(each)}, `docker logs {each.name}`" for each in found]
            return [*self._follower.describe(self._config.registry.url), *said]

    @functools.cached_property
    def _engine(self) -> DockerClient:
        return open_engine()

    @functools.cached_property
    def _containers(self) -> ApiContainers:
        return ApiContainers(self._config, self._engine)

    @functools.cached_property
    def _follower(self) -> FollowerContainer:
        return FollowerContainer(self._containers)

    def _follow_bucket(self, job: ServeJob, *, newest: bool = False) -> None:
        """Have somebody follow a registry that is in a bucket."""
        if job.mirror:
            self._follower.ensure(job, lambda: self._image("serve"), newest=newest)

    def _alone(self) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        return lockfile.exclusive(self._folder)

    def _image(self, image: ImageKind) -> str:
        return catalog.find(self._engine, image, self._config.serving.image)

    def _last_release(self) -> int:
        last = releases.latest(open_registry(self._config, only_look=True), self._config.model)
        return last.number if last else 0

    def _acceptable(self, job: ServeJob, image: ImageKind, wanted: str) -> set[str]:
        """Digests of the API that is wanted. The image with everything has what the smaller one has: it may stay."""
        found = {self._containers.digest(job, wanted)}
        if image == "serve" and not self._config.serving.image:
            larger = catalog.lookup(self._engine, catalog.own_name("train"))
            found |= {self._containers.digest(job, larger)} if larger else set()
        return found

    def _can_load(self, current: Container, image: ImageKind) -> bool:
        """Whether it can load what needs `image`."""
        if image == "serve" or label(current, "kind") == "train":
            return True
        return bool(current.attrs["Image"] == self._image(image))

    def _listener(self) -> Container | None:
        return next((each for each in self._containers.all("listener") if each.status == "running"), None)

    def _current(self) -> Container | None:
        """The API that answers."""
        return next(
            (each for each in reversed(self._containers.all("api")) if restarts_always(each) and each.status in RUNS),
            None,
        )

    def _settle(self) -> Container | None:
        """The API that answers; what a killed promotion has left beside it goes."""
        current = self._current()
        for each in self._containers.all("probe"):
            each.remove(force=True, v=True)
        for each in self._containers.all("api"):
            if current is None or each.id != current.id:
                self._drain(each)
        return current

    def _clear(self) -> None:
        """Remove all but APIs."""
        self._follower.remove()
        for each in [*self._containers.all("listener"), *self._containers.all("probe")]:
            each.remove(force=True, v=True)
        self._containers.volumes.remove()

    def _check_registry(self, job: ServeJob, current: Container) -> None:
        found = settings_of(current)["registry"]
        if found != job.registry:
            raise ConfigError(
                f"the API that runs in container {current.name} is another one: registry {found}, not {job.registry}",
                hint=f"`trainyard serve {job.model} --stop` stops it; then run again",
            )

    def _listen(self, job: ServeJob, image: str) -> str:
        """The URL of a listener that runs; one is started if need be."""
        if (listener := self._listener()) and (url := url_of(listener)):
            return url
        for each in self._containers.all("listener"):  # stopped by hand, or not started when its port was taken
            each.remove(force=True, v=True)
        listener = self._containers.create_listener(job, image)
        try:
            _start(listener, job)
            listener.reload()
            if url := url_of(listener):
                return url
            raise WorkerFailed(f"container {listener.name} ended at once: {_last_line(listener)}")
        except BaseException:
            listener.remove(force=True, v=True)
            raise

    def _start_new(self, job: ServeJob, wanted: str, image: ImageKind, number: int | None, seconds: float) -> Container:
        """A new API that serves release `number`; None: that answers, with a model or without."""
        numbers = [int(label(each, "number")) for each in self._containers.all("api")]
        new = self._containers.create_api(job, wanted, image, max(numbers, default=0) + 1)
        try:
            _start(new, job)
            if number is None:
                await_workers(lambda: _failed_as_withdrawn(_ask(new)), 0, seconds)
            else:
                await_workers(lambda: _ask(new), number, seconds)
            restart_always(new)
        except BaseException:
            new.remove(force=True, v=True)
            raise
        return new

    def _replace(
        self, old: Container, job: ServeJob, wanted: str, image: ImageKind, number: int, seconds: float
    ) -> None:
        self._start_new(job, wanted, image, number, seconds)
        self._drain(old)

    def _drain(self, container: Container) -> None:
        """What it has begun is answered; then it is gone."""
        if container.status in RUNS:
            restart_never(container)
            container.stop(timeout=int(settings_of(container)["timeout_seconds"]) + KILL_AFTER)
        container.remove(force=True, v=True)


def _start(container: Container, job: ServeJob) -> None:
    from docker import errors

    try:
        container.start()
    except errors.APIError as error:
        if refused := no_port(job, str(error.explanation)):
            raise refused from None
        raise


def _ask(container: Container) -> dict[str, Any]:
    """What just this API serves; raises TryAgain without an answer, WorkerFailed when it has ended.

    The command inside reads the files of its server processes. In a container of an earlier version of Trainyard it asks
    the API itself.
    """
    from docker import errors

    try:
        code, (said, problem) = container.exec_run([*health_check(container), "/version"], demux=True)
    except (errors.NotFound, errors.APIError) as error:
        if error.status_code not in {404, 409}:
            raise
        code, said, problem = 1, b"", str(error.explanation).encode()
    if code == 0:
        return dict(json.loads(said))
    container.reload()
    if container.status in {"exited", "dead"}:
        raise WorkerFailed(f"container {container.name} ended: {_last_line(container)}")
    raise TryAgain(f"container {container.name}: {(problem or b'').decode(errors='replace').strip()[-300:]}")


def _failed_as_withdrawn(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, in which a worker that could not load counts as one that has nothing to load.

    Such a one gets connections only while there is no better one.
    """
    taking = any(each.get("taking", True) for each in answer["workers"])
    for each in answer["workers"]:
        if each["state"] == "failed":
            each |= {"state": "withdrawn", "taking": taking}
    return answer


def _state(container: Container) -> str:
    return (
        f"{container.status} ({container.attrs['State']['ExitCode']})"
        if container.status == "exited"
        else str(container.status)
    )


def _last_line(container: Container) -> str:
    lines = [line for line in container.logs(tail=20).decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"no output, exit code {container.attrs['State']['ExitCode']}"
