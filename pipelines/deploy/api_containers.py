"""The containers of one model's API: what they are called, what they may do, and how they are found again.

Nothing is kept on disk: the engine's labels hold all. `home` in them distinguishes two projects that have a model of the
same name on one engine.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.deploy.container_facts import ADMIN_PORT, GRPC_PORT, HEALTH_CHECK, PORT, RESTART_ALWAYS, label
from pipelines.deploy.mounts import access_mounts, log_mounts, registry_mount
from pipelines.deploy.volumes import COPY, HANDOFF, LOGIN, STATE, ApiVolumes, taken_name
from pipelines.docker_engine import LABEL, labels, security
from pipelines.runners.docker import limits
from pipelines.runners.docker.mount_probe import shows
from pipelines.runners.docker.transport import Site
from registry import codec
from registry.errors import ConfigError, TryAgain
from registry.formats import formats
from registry.store_options import StoreOptions
from serving import follower_login, kept_folders
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
FOLLOWER_MB, FOLLOWER_PIDS = 512, 64


class ApiContainers:
    """Makes and finds the containers `trainyard-<model>-<home>-listener`, `trainyard-<model>-<home>-api-<n>`, and for a
    registry in a bucket `trainyard-<model>-<home>-follower-<n>`.

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
        """Those of this project, `listener`, `follower`, `api` or `probe`, in whatever state; the newest last."""
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
                *([str(GRPC_PORT)] if job.grpc_port else []),
            ],
            labels=self._own_labels | labels(role="listener", number=0, settings=_settings(job)),
            ports={
                f"{PORT}/tcp": (_ip(job.host), job.port or None),
                f"{ADMIN_PORT}/tcp": (_ip(job.admin_host), job.admin_port or None),
                **({f"{GRPC_PORT}/tcp": (_ip(job.host), job.grpc_port)} if job.grpc_port else {}),
            },
            mounts=[self.volumes.handoff()],
            healthcheck={"test": ["NONE"]},
            restart_policy=RESTART_ALWAYS,
            **self._confined(LISTENER_MB, LISTENER_PIDS),
        )

    def create_follower(self, job: ServeJob, image: str, number: int, login: Mapping[str, bytes]) -> Container:
        """Who follows a registry in a bucket, not started yet; it alone has a network, and `login`.

        Its network is this machine's own, so that it reaches what this machine reaches; where the engine has other users, or
        belongs to one, it is the engine's usual one. Raises ConfigError when its name, or a volume's, is taken.
        """
        user = self.give_login(image, login)
        inside = replace(job, mirror=COPY, store=replace(job.store, cache=f"{COPY}/cache", cache_mb=0))
        confined = self._confined(FOLLOWER_MB, FOLLOWER_PIDS)
        confined["tmpfs"] |= {FOLDER: f"mode=0700,uid={user[0]},gid={user[1]}"}
        return self._create(
            f"follower-{number}",
            user,
            image=image,
            command=["python", "-P", "-m", "serving.follower", "--alone"],
            labels=self._own_labels
            | labels(role="follower", number=number, job=self.follower_digest(job), settings=_settings(job)),
            environment={"TRAINYARD_JOB": _settings(inside), follower_login.FOLDER: LOGIN, "PYTHONUNBUFFERED": "1"},
            network_mode="bridge" if self._mapped else "host",
            mounts=[self.volumes.copy(read_only=False), self.volumes.login()],
            working_dir=FOLDER,
            healthcheck={"test": ["NONE"]},
            restart_policy=RESTART_NEVER,
            **confined,
        )

    def follower_digest(self, job: ServeJob) -> str:
        """Of the settings that make a follower what it is."""
        return sha256(repr((job.registry, job.store, job.model, job.poll_seconds)).encode()).hexdigest()

    def give_login(self, image: str, login: Mapping[str, bytes]) -> tuple[int, int]:
        """Have who follows the bucket find this when it is started; gives the user as whom it runs."""
        user = self.volumes.make_copy(image, self._user)
        self.volumes.give_login(image, user, login)
        return user

    def create_api(self, job: ServeJob, image: str, kind: ImageKind, number: int) -> Container:
        """An API, not started yet, that the engine does not start again by itself: see `restart_always`.

        Raises ConfigError when its name is taken, the engine does not see the registry, or the API may not read it.
        """
        # An engine with a user namespace maps these numbers to users that do not exist here.
        reader = (-1, -1) if "userns" in self._security else self._user
        if job.mirror:
            mount, registry = self.volumes.copy(read_only=True), f"file://{COPY}/registry"
        else:
            mount, registry = registry_mount(self._engine, self._config, image, reader)
        inside = replace(job, registry=registry, store=StoreOptions(), mirror="", state=STATE)
        if self._sees_files(image, reader):
            given, inner = access_mounts(inside, reader)
        else:
            given, inner = self.volumes.access(inside, image, self._user)
        kept, inner = log_mounts(self._engine, self._config, image, inner, self._user)
        given += kept
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
            | labels(formats=formats(), kept=kept_folders.identity(job)),
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
        """Of all that makes an API container what it is, with the folders that it writes, as one that was replaced does not reach
        it; hosts and ports are the listener's."""
        bounds = (self._config.runner.memory_mb, self._config.runner.pids, self._config.serving.registry_volume)
        speaks_grpc = int(bool(job.grpc_port))
        settings = _settings(replace(job, host="", port=0, admin_host="", admin_port=0, grpc_port=speaks_grpc))
        return sha256(repr((settings, image, bounds, self._user, kept_folders.identity(job))).encode()).hexdigest()

    def refresh_access(self, job: ServeJob, image: str) -> None:
        """Have the API see tokens and certificates as they are now; mounted folders it sees anyway."""
        self.volumes.refresh_access(job, image, self._user)

    def _sees_files(self, image: str, reader: tuple[int, int]) -> bool:
        """Whether the engine sees files of this machine: the one that sees the registry's folder does."""
        if self._config.serving.registry_volume or self._config.registry.url.startswith("file://"):
            return not self._config.serving.registry_volume
        probe = self._own_labels | labels(role="probe", number=0)
        return shows(Site(self._engine.api, image, reader, probe), Path(self._config.home))

    @functools.cached_property
    def _security(self) -> frozenset[str]:
        return security(self._engine)

    @functools.cached_property
    def _user(self) -> tuple[int, int]:
        """The user of the caller, so that what only that may read in the registry can be read; never root."""
        return limits.user(rootless="rootless" in self._security)

    @property
    def _mapped(self) -> bool:
        """Whether the numbers of users mean others to the engine."""
        return not self._security.isdisjoint({"rootless", "userns"})

    def _confined(self, memory_mb: int, pids: int) -> dict[str, Any]:
        return limits.confined(memory_mb=memory_mb, pids=pids, mapped=self._mapped)

    def _create(self, what: str, user: tuple[int, int] | None = None, **more: Any) -> Container:
        from docker import errors

        name = f"{self._name}-{what}"
        try:
            return self._engine.containers.create(
                name=name,
                detach=True,
                user=":".join(map(str, user or self._user)),
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
