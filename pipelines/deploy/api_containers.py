"""The containers of one model's API: what they are called, what they may do, and how they are found again.

Nothing is kept on disk: the engine's labels hold all. `home` in them distinguishes two projects that have a model of the
same name on one engine.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.deploy.container_facts import ADMIN_PORT, HEALTH_CHECK, PORT, RESTART_ALWAYS, label
from pipelines.deploy.mounts import access_mounts, registry_mount
from pipelines.deploy.volumes import HANDOFF, STATE, ApiVolumes, taken_name
from pipelines.docker_engine import LABEL, labels, security
from pipelines.runners.docker import limits
from registry import codec
from registry.errors import ConfigError, TryAgain
from registry.formats import formats
from serving.job import ServeJob

if TYPE_CHECKING:
    from docker.models.containers import Container

    from docker import DockerClient

FOLDER = "/work"
LOGS = {"mode": "non-blocking", "max-buffer-size": "4m"}
"""An engine that is slow to take the log must not keep requests waiting: it loses lines instead."""
RESTART_NEVER = {"Name": "no"}
HEALTH_SECONDS = 30
LISTENER_MB, LISTENER_PIDS = 128, 16


class ApiContainers:
    """Makes and finds the containers `trainyard-<model>-<home>-listener` and `trainyard-<model>-<home>-api-<n>`.

    `<home>` are eight digits of a hash of the project's home: two projects may have a model of one name on one engine.
    """

    def __init__(self, config: Config, engine: DockerClient) -> None:
        self._config, self._engine = config, engine
        # A model may be called what a container may not.
        name = re.sub(r"[^A-Za-z0-9_.-]", lambda found: f"x{ord(found[0]):x}", config.model)
        self._name = f"trainyard-{name}-{sha256(config.home.encode()).hexdigest()[:8]}"
        self._own_labels = labels(model=config.model, home=config.home)
        self.volumes = ApiVolumes(config, engine, self._name)

    def all(self, role: str) -> list[Container]:
        """Those of this project, `listener`, `api` or `probe`, in whatever state; the newest last."""
        wanted = [f"{name}={value}" for name, value in (self._own_labels | labels(role=role)).items()]
        found = self._engine.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)
        return sorted(found, key=lambda each: int(label(each, "number")))

    def create_listener(self, job: ServeJob, image: str) -> Container:
        """A listener that publishes the job's hosts and ports, not started yet; raises ConfigError when its name is taken."""
        self.volumes.make_handoff()
        return self._create(
            "listener",
            image=image,
            command=[
                "python",
                "-P",
                "-m",
                "serving.server.listener",
                str(PORT),
                f"{HANDOFF}/listener.sock",
                str(ADMIN_PORT),
            ],
            labels=self._own_labels | labels(role="listener", number=0, settings=_settings(job)),
            ports={
                f"{PORT}/tcp": (_ip(job.host), job.port or None),
                f"{ADMIN_PORT}/tcp": (_ip(job.admin_host), job.admin_port or None),
            },
            mounts=[self.volumes.handoff()],
            healthcheck={"test": ["NONE"]},
            restart_policy=RESTART_ALWAYS,
            **self._confined(LISTENER_MB, LISTENER_PIDS),
        )

    def create_api(self, job: ServeJob, image: str, kind: ImageKind, number: int) -> Container:
        """An API, not started yet, that the engine does not start again by itself: see `restart_always`.

        Raises ConfigError when its name is taken, the engine does not see the registry, or the API may not read it.
        """
        # An engine with a user namespace maps these numbers to users that do not exist here.
        reader = (-1, -1) if "userns" in self._security else self._user
        mount, registry = registry_mount(self._engine, self._config, image, reader)
        inside = replace(job, registry=registry, state=STATE)
        if self._config.serving.registry_volume:
            given, inner = self.volumes.access(inside, image, self._user)
        else:
            given, inner = access_mounts(inside, reader)
        given.append(self.volumes.state(image, self._user))
        memory_mb = self._config.runner.memory_mb
        confined, (uid, gid) = self._confined(memory_mb, self._config.runner.pids), self._user
        confined["tmpfs"] |= {FOLDER: f"mode=0700,uid={uid},gid={gid}" + (f",size={memory_mb}m" if memory_mb else "")}
        nanoseconds = 10**9
        return self._create(
            f"api-{number}",
            image=image,
            command=["python", "-P", "-m", "serving"],
            labels=self._own_labels
            | labels(role="api", number=number, kind=kind, job=self.digest(job, image), settings=_settings(job))
            | labels(formats=formats()),
            environment={
                "TRAINYARD_JOB": _settings(inner),
                "TRAINYARD_LISTENER": f"{HANDOFF}/listener.sock",
                "PYTHONUNBUFFERED": "1",
            },
            network_mode="none",
            mounts=[self.volumes.handoff(), mount, *given],
            working_dir=FOLDER,
            healthcheck={
                "test": ["CMD", *HEALTH_CHECK],
                "interval": HEALTH_SECONDS * nanoseconds,
                "timeout": 5 * nanoseconds,
                "start_period": 60 * nanoseconds,
            },
            restart_policy=RESTART_NEVER,
            **confined,
        )

    def digest(self, job: ServeJob, image: str) -> str:
        """Of all that makes an API container what it is; hosts and ports are the listener's."""
        bounds = (self._config.runner.memory_mb, self._config.runner.pids, self._config.serving.registry_volume)
        settings = _settings(replace(job, host="", port=0, admin_host="", admin_port=0))
        return sha256(repr((settings, image, bounds, self._user)).encode()).hexdigest()

    def refresh_access(self, job: ServeJob, image: str) -> None:
        """Have the API see tokens and certificates as they are now; mounted folders it sees anyway."""
        self.volumes.refresh_access(job, image, self._user)

    @functools.cached_property
    def _security(self) -> frozenset[str]:
        return security(self._engine)

    @functools.cached_property
    def _user(self) -> tuple[int, int]:
        """The user of the caller, so that what only that may read in the registry can be read; never root."""
        return limits.user(rootless="rootless" in self._security)

    def _confined(self, memory_mb: int, pids: int) -> dict[str, Any]:
        mapped = not self._security.isdisjoint({"rootless", "userns"})
        return limits.confined(memory_mb=memory_mb, pids=pids, mapped=mapped)

    def _create(self, what: str, **more: Any) -> Container:
        from docker import errors

        name = f"{self._name}-{what}"
        try:
            return self._engine.containers.create(
                name=name,
                detach=True,
                user=":".join(map(str, self._user)),
                use_config_proxy=False,  # it may hold a password, and there is no network
                log_config=self._log_config(),
                **more,
            )
        except errors.APIError as error:
            if error.status_code != 409:
                raise
        raise self._taken(name)

    def _taken(self, name: str) -> Exception:
        from docker import errors

        try:
            owner = self._engine.containers.get(name).labels.get(f"{LABEL}.home", "")
        except errors.NotFound:
            owner = self._config.home
        if owner == self._config.home:
            return TryAgain(f"{name} is being started by another process", hint="check `docker ps -a`, then retry")
        return taken_name(f"container {name}", owner, f"docker rm -f {name}")

    def _log_config(self) -> Any:
        """The engine's own choice; its default alone would grow without end."""
        from docker.types import LogConfig

        driver = self._engine.info().get("LoggingDriver")
        serving = self._config.serving
        bounds = {"max-size": f"{serving.log_mb}m", "max-file": str(serving.log_files)}
        return LogConfig(type="json-file", config=bounds | LOGS) if driver == "json-file" else None


def restart_always(container: Container) -> None:
    """From now on the engine starts it again, when it ends by itself and after a reboot. Said of an API that has answered."""
    container.update(restart_policy=RESTART_ALWAYS)


def restart_never(container: Container) -> None:
    """The engine does not start it again, whatever happens."""
    container.update(restart_policy=RESTART_NEVER)


def _settings(job: ServeJob) -> str:
    return codec.to_json(job).decode().replace("\n", "")  # one line for those who look at labels


def _ip(host: str) -> str:
    """The engine publishes at addresses, not at names."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
    except OSError:
        raise ConfigError(f"[serving] host: {host!r} is not an address", hint='e.g. "127.0.0.1" or "0.0.0.0"') from None
