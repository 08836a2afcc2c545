"""The containers of one model's API: what they are called, what they may do, and how they are found again.

Nothing is kept on disk: the engine's labels say all. `home` in them tells two projects apart that have a model of the
same name on one engine.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import re
import socket
from dataclasses import asdict, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.config.schema import Config
from pipelines.deploy import Image
from pipelines.deploy.mounts import registry_mount
from pipelines.docker_engine import LABEL, address, labels, security
from pipelines.runners.docker import limits as sandbox
from registry import codec
from registry.errors import ConfigError, TryAgain
from serving.job import ServeJob
from serving.server import lockfile

if TYPE_CHECKING:
    from docker.models.containers import Container

    from docker import DockerClient

PORT = 8500  # inside
DOOR = "/run/trainyard"
FOLDER = "/work"
LOGS = {"max-size": "10m", "max-file": "3", "mode": "non-blocking", "max-buffer-size": "4m"}
"""An engine that is slow to take the log must not keep requests waiting: it loses lines instead."""
KEEP = {"Name": "always"}
"""Not unless-stopped: an engine that comes back after a crash stops what went on without it, and takes that for a person's
word."""
LET_GO = {"Name": "no"}
HEALTH_SECONDS = 30
LISTENER_MB, LISTENER_PIDS = 128, 16


class Boxes:
    """Makes and finds the containers `trainyard-<model>-<home>-listener` and `trainyard-<model>-<home>-api-<n>`.

    `<home>` are eight digits of a hash of the project's home: two projects may have a model of one name on one engine.
    """

    def __init__(self, config: Config, engine: DockerClient) -> None:
        self._config, self._engine = config, engine
        # A model may be called what a container may not.
        name = re.sub(r"[^A-Za-z0-9_.-]", lambda found: f"x{ord(found[0]):x}", config.model)
        self._name = f"trainyard-{name}-{sha256(config.home.encode()).hexdigest()[:8]}"
        self._door_name = f"{self._name}-door"
        self._whose = labels(model=config.model, home=config.home)

    def all(self, role: str) -> list[Container]:
        """Ours, `listener` or `api`, in whatever state; the newest last."""
        wanted = [f"{name}={value}" for name, value in (self._whose | labels(role=role)).items()]
        found = self._engine.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)
        return sorted(found, key=lambda each: int(label(each, "number")))

    def create_listener(self, job: ServeJob, image: str) -> Container:
        """A listener that publishes the job's host and port, not started yet; raises ConfigError when its name is taken."""
        self._door()
        return self._create(
            "listener",
            image=image,
            command=["python", "-P", "-m", "serving.server.listener", str(PORT), f"{DOOR}/listener.sock"],
            labels=self._whose | labels(role="listener", number=0, settings=_settings(job)),
            ports={f"{PORT}/tcp": (_ip(job.host), job.port or None)},
            mounts=[self._door_mount()],
            healthcheck={"test": ["NONE"]},
            restart_policy=KEEP,
            **self._confined(LISTENER_MB, LISTENER_PIDS),
        )

    def create_api(self, job: ServeJob, image: str, kind: Image, number: int) -> Container:
        """An API, not started yet, that the engine does not start again by itself: see `keep`.

        Raises ConfigError when its name is taken, the engine does not see the registry, or the API may not read it.
        """
        # What the engine maps to others' numbers is nobody here.
        reader = (-1, -1) if "userns" in self._security else self._user
        mount, registry = registry_mount(self._engine, self._config, image, reader)
        inner = replace(job, registry=registry)
        limit = self._config.runner.memory_mb
        confined, (uid, gid) = self._confined(limit, self._config.runner.pids), self._user
        confined["tmpfs"] |= {FOLDER: f"mode=0700,uid={uid},gid={gid}" + (f",size={limit}m" if limit else "")}
        asks = ["CMD", "python", "-P", "-m", "serving.server.health"]
        nanoseconds = 10**9
        return self._create(
            f"api-{number}",
            image=image,
            command=["python", "-P", "-m", "serving"],
            labels=self._whose
            | labels(role="api", number=number, kind=kind, job=self.digest(job, image), settings=_settings(job)),
            environment={
                "TRAINYARD_JOB": _settings(inner),
                "TRAINYARD_LISTENER": f"{DOOR}/listener.sock",
                "PYTHONUNBUFFERED": "1",
            },
            network_mode="none",
            mounts=[self._door_mount(), mount],
            working_dir=FOLDER,
            healthcheck={
                "test": asks,
                "interval": HEALTH_SECONDS * nanoseconds,
                "timeout": 5 * nanoseconds,
                "start_period": 60 * nanoseconds,
            },
            restart_policy=LET_GO,
            **confined,
        )

    def digest(self, job: ServeJob, image: str) -> str:
        """Of all that makes an API container what it is; host and port are the listener's."""
        limits = (self._config.runner.memory_mb, self._config.runner.pids, self._config.serving.registry_volume)
        settings = _settings(replace(job, host="", port=0))
        return sha256(repr((settings, image, limits, self._user)).encode()).hexdigest()

    def forget_door(self) -> bool:
        """Remove the volume; False: somebody uses it, or it is none of Trainyard's."""
        from docker import errors

        try:
            volume = self._engine.volumes.get(self._door_name)
            if (volume.attrs.get("Labels") or {}).get(f"{LABEL}.role") != "door":
                return False
            volume.remove()
        except errors.NotFound:
            return True
        except errors.APIError as error:
            if error.status_code != 409:
                raise
            return False
        return True

    @functools.cached_property
    def _security(self) -> frozenset[str]:
        return security(self._engine)

    @functools.cached_property
    def _user(self) -> tuple[int, int]:
        """Ours, so that what only we may read in the registry can be read; never root."""
        return sandbox.user(rootless="rootless" in self._security)

    def _confined(self, memory_mb: int, pids: int) -> dict[str, Any]:
        mapped = not self._security.isdisjoint({"rootless", "userns"})
        return sandbox.confined(memory_mb=memory_mb, pids=pids, mapped=mapped)

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
            return TryAgain(f"someone else starts {name} just now", hint="look, then run again")
        return _not_ours(f"container {name}", owner, f"docker rm -f {name}")

    def _door(self) -> None:
        """The volume in which listener and workers meet: in memory, so that no stale socket survives a reboot."""
        owner = self._door_owner()
        if owner and owner != self._config.home and self.forget_door():  # left by a project that is gone
            owner = self._door_owner()
        if owner != self._config.home:
            raise _not_ours(f"volume {self._door_name}", owner, f"docker volume rm {self._door_name}")

    def _door_owner(self) -> str:
        """The home it belongs to, which is ours when it was not there."""
        # Not 1777: the next listener may be another user's, and must be able to take the place of this one's socket.
        options = {"type": "tmpfs", "device": "tmpfs", "o": "mode=0777,size=1m"}
        found = self._engine.volumes.create(
            self._door_name, driver="local", driver_opts=options, labels=self._whose | labels(role="door")
        )
        return str((found.attrs.get("Labels") or {}).get(f"{LABEL}.home", ""))

    def _door_mount(self) -> Any:
        from docker.types import Mount

        return Mount(DOOR, self._door_name, type="volume", no_copy=True)

    def _log_config(self) -> Any:
        """The engine's own choice; its default alone would grow without end."""
        from docker.types import LogConfig

        driver = self._engine.info().get("LoggingDriver")
        return LogConfig(type="json-file", config=LOGS) if driver == "json-file" else None


def label(box: Container, name: str) -> str:
    """One of our labels; empty when it has none of this name."""
    return str(box.labels.get(f"{LABEL}.{name}", ""))


def keep(box: Container) -> None:
    """From now on the engine starts it again, when it ends by itself and after a reboot."""
    box.update(restart_policy=KEEP)


def let_go(box: Container) -> None:
    """The engine does not start it again, whatever happens."""
    box.update(restart_policy=LET_GO)


def kept(box: Container) -> bool:
    """Whether `keep` was said of it: it has answered, and was not a trial."""
    return bool(box.attrs["HostConfig"]["RestartPolicy"]["Name"] == KEEP["Name"])


def settings_of(box: Container) -> dict[str, Any]:
    """The job that it was told, as the settings said it; perhaps by another Trainyard, with other fields."""
    return dict(json.loads(label(box, "settings")))


def url_of(listener: Container) -> str | None:
    """Where it is published, seen from this machine; None while it is not."""
    published = (listener.attrs["NetworkSettings"]["Ports"] or {}).get(f"{PORT}/tcp")
    if not published:
        return None
    host, port = published[0]["HostIp"], int(published[0]["HostPort"])
    where = urlsplit(address())
    if where.scheme != "unix" and host in {"0.0.0.0", "::", ""}:  # noqa: S104  (compared, not listened on)
        host = where.hostname or host
    return lockfile.url(host or "0.0.0.0", port)  # noqa: S104


def changes(job: ServeJob, box: Container, listener: Container) -> dict[str, str]:
    """How they differ from `job`, by setting."""
    url, asked = url_of(listener), settings_of(listener)
    runs = settings_of(box) | {"host": asked["host"], "port": urlsplit(url).port if url else asked["port"]}
    wanted = asdict(job) | ({} if job.port else {"port": runs["port"]})  # 0: any
    return {name: f"{name} {runs.get(name)}, not {wanted[name]}" for name in wanted if runs.get(name) != wanted[name]}


def no_port(job: ServeJob, said: str) -> ConfigError | None:
    """What an engine that cannot publish the port means; None when it means something else."""
    where, low = f"{job.host}:{job.port}", said.lower()
    if "port is already allocated" in low or "address already in use" in low:
        return ConfigError(
            f"port {job.port} is in use ({where})",
            hint="stop what listens there, or set [serving] port (or --port) to a free one",
        )
    if "cannot assign requested address" in low:
        return ConfigError(f"{where}: the engine's machine has no such address", hint="set [serving] host")
    return None


def _settings(job: ServeJob) -> str:
    return codec.to_json(job).decode().replace("\n", "")  # one line for those who look at labels


def _not_ours(what: str, owner: str, remove: str) -> ConfigError:
    whose = f"belongs to the project at {owner}" if owner else "is not ours"
    return ConfigError(
        f"{what} exists on this engine, and {whose}",
        hint=f"if nobody needs it: {remove}",
    )


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
