"""What the engine's answers say about an API's containers, and about a port that it cannot publish. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.docker_engine import LABEL, address
from registry import codec
from registry.errors import ConfigError
from registry.formats import formats
from serving import kept_folders
from serving.access.exposure import is_loopback
from serving.job import ServeJob, differences
from serving.server import lockfile

if TYPE_CHECKING:
    from docker.models.containers import Container

PORT, ADMIN_PORT, GRPC_PORT = 8500, 8501, 8502
"""On which the listener listens inside, for clients, for operators, and for gRPC where it is wanted."""
RESTART_ALWAYS = {"Name": "always"}
"""Not unless-stopped: an engine that comes back after a crash stops what ran on without it, and takes that for a person's
wish."""

HEALTH_CHECK = ["python", "-P", "-m", "serving.server.health"]


def label(container: Container, name: str) -> str:
    """One of Trainyard's labels; empty when it has none of this name."""
    return str(container.labels.get(f"{LABEL}.{name}", ""))


def restarts_always(container: Container) -> bool:
    """Whether it is an API that has answered once, and was not given up since."""
    return bool(container.attrs["HostConfig"]["RestartPolicy"]["Name"] == RESTART_ALWAYS["Name"])


def health_check(container: Container) -> list[str]:
    """The command inside that asks whether the API is ready; in one of an earlier version of Trainyard it has another name."""
    return list(container.attrs["Config"]["Healthcheck"]["Test"][1:])


def is_of_this_version(container: Container) -> bool:
    """Whether it reads the releases of this version of Trainyard; an API that another one started may not."""
    return label(container, "formats") == formats()


def settings_of(container: Container) -> dict[str, Any]:
    """The job with which it was started; by another version of Trainyard perhaps, with other fields."""
    return dict(json.loads(label(container, "settings")))


def url_of(listener: Container, port: int = PORT) -> str | None:
    """Where it is published, seen from this machine; None while it is not."""
    published = (listener.attrs["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp")
    if not published:
        return None
    tls = bool(settings_of(listener).get("certfile")) and (
        port == PORT or not is_loopback(settings_of(listener)["admin_host"])
    )
    host, port = published[0]["HostIp"], int(published[0]["HostPort"])
    where = urlsplit(address())
    if where.scheme != "unix" and host in {"0.0.0.0", "::", ""}:  # noqa: S104  (compared, not listened on)
        host = where.hostname or host
    return lockfile.url(host or "0.0.0.0", port, tls=tls)  # noqa: S104


def grpc_of(listener: Container) -> str:
    """`host:port` at which gRPC is published, as `url_of`; empty when it is not."""
    url = url_of(listener, GRPC_PORT)
    return urlsplit(url).netloc if url else ""


def changes(job: ServeJob, container: Container, listener: Container) -> dict[str, str]:
    """How they differ from `job`, by setting."""
    asked, runs = settings_of(listener), settings_of(container)
    for name, inside in (("", PORT), ("admin_", ADMIN_PORT)):
        url, port = url_of(listener, inside), f"{name}port"
        runs |= {f"{name}host": asked.get(f"{name}host"), port: urlsplit(url).port if url else asked.get(port)}
    runs["grpc_port"] = asked.get("grpc_port", 0)
    wanted = dict(json.loads(codec.to_json(job))) | {
        name: runs[name] for name in ("port", "admin_port") if not getattr(job, name)
    }  # 0: any
    found = differences(runs | {"formats": label(container, "formats")}, wanted)
    if (then := label(container, "kept")) and then != (now := kept_folders.identity(job)):
        pairs = zip(kept_folders.kept_folders(job), then.split(), now.split(), strict=False)
        found |= {"kept": kept_folders.in_words([name for name, was, is_now in pairs if was != is_now])}
    return found


def no_port(job: ServeJob, said: str) -> ConfigError | None:
    """What an engine that cannot publish the port means; None when it means something else."""
    where, low = f"{job.host}:{job.port}", said.lower()
    if "port is already allocated" in low or "address already in use" in low:
        setting, port = "port (or --port)", job.port
        if job.grpc_port and f":{job.grpc_port} " in f"{said} ":
            setting, port = "grpc_port", job.grpc_port
        return ConfigError(
            f"port {port} is in use ({job.host}:{port})",
            hint=f"stop what listens there, or set [serving] {setting} to a free one",
        )
    if "cannot assign requested address" in low:
        return ConfigError(f"{where}: the engine's machine has no such address", hint="set [serving] host")
    return None
