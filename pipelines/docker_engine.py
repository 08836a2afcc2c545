"""The Docker engine: reaching it, and what its errors mean to a person. The SDK is loaded when an engine is asked for."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from registry.errors import ConfigError, PipelineError, TryAgain, WorkerFailed, from_os_error

if TYPE_CHECKING:
    from docker import DockerClient

OLDEST_API = (1, 41)  # Docker 20.10, what Debian 12 has
PATIENCE = 60.0  # seconds for one answer of the engine
LABEL = "org.trainyard"
"""All that Trainyard makes on an engine has labels under this name; what has none is never touched."""
NO_GPUS = ("could not select device driver", "nvidia-container", "libnvidia", "gpu vendor", "cdi device")
NEWER = "install Docker 20.10 or newer, and the newest docker SDK"


def address(environment: Mapping[str, str] = os.environ) -> str:
    """Where the engine listens: `DOCKER_HOST`, else the socket of a rootless engine of this user, else the system's."""
    if host := environment.get("DOCKER_HOST"):
        return host
    rootless = f"{environment.get('XDG_RUNTIME_DIR', '/nowhere')}/docker.sock"
    return f"unix://{rootless if os.path.exists(rootless) else '/var/run/docker.sock'}"


def open_engine(seconds: float = PATIENCE) -> DockerClient:
    """The engine at `address()`; `seconds` for each of its answers.

    Raises TryAgain when it cannot be reached, ConfigError when this user may not use it, or it is too old.
    """
    _check_socket(seconds)
    from docker import DockerClient  # an attribute: without the SDK `import docker` finds our folder docker/

    with engine_errors("the Docker engine"):
        client = DockerClient.from_env(
            timeout=seconds, version="auto", environment={**os.environ, "DOCKER_HOST": address()}
        )
    version = str(client.api._version)  # noqa: SLF001  (what `auto` has agreed upon)
    if tuple(map(int, version.split("."))) < OLDEST_API:
        client.close()
        oldest = ".".join(map(str, OLDEST_API))
        raise ConfigError(
            f"the Docker engine at {address()} speaks API {version}; {oldest} is the oldest that will do", hint=NEWER
        )
    return client


def security(client: DockerClient) -> frozenset[str]:
    """What the engine says of its security: `seccomp`, `rootless`, `userns`, `selinux`, …; raises PipelineError."""
    with engine_errors("the Docker engine"):
        said: list[str] = client.info().get("SecurityOptions") or []
    return frozenset(each.partition(",")[0].removeprefix("name=") for each in said)


def _check_socket(seconds: float) -> None:
    """Raise PipelineError when nobody listens at the socket of this machine: the SDK would leave its own open then."""
    scheme, _, path = address().partition("://")
    if scheme == "ssh":
        raise ConfigError(
            f"DOCKER_HOST={address()}: an engine is not reached through ssh:// here",
            hint="forward its socket: ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST, "
            "and DOCKER_HOST=unix:///tmp/docker.sock",
        )
    if scheme != "unix":
        return
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(seconds)
            client.connect(path)
    except OSError as error:
        raise _unreachable("the Docker engine", error) from error


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Raise PipelineError for all that the SDK raises in the block, and for errors of this machine's files.

    `what` the engine is needed for begins the message.
    """
    import requests

    from docker import errors

    try:
        yield
    except errors.APIError as error:
        raise explain(what, error.status_code or 0, str(error.explanation or error)) from error
    except (errors.DockerException, requests.RequestException) as error:
        raise _unreachable(what, error) from error
    except OSError as error:
        if error.filename is None and error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise _unreachable(what, error) from error
        if local := from_os_error(error):  # a file of this machine, not the engine
            raise local from error
        raise


def explain(what: str, status: int, said: str) -> PipelineError:
    """What an answer of the engine means; `status` is HTTP's."""
    message = f"{what}: the Docker engine said: {' '.join(said.split())[:300]}"
    low = said.lower()
    if "no space left on device" in low or "disk quota exceeded" in low:
        return TryAgain(message, hint="its disk is full: `docker system df` shows with what")
    if any(words in low for words in NO_GPUS):
        return ConfigError(
            message, hint='this engine has no GPUs: [runner] gpus = "", or install nvidia-container-toolkit'
        )
    if "too old" in low and "version" in low:
        return ConfigError(message, hint=NEWER)
    if status in {401, 403} or "permission denied" in low:
        return ConfigError(message, hint="the engine, or a proxy before it, refuses this; ask who runs it")
    if status == 404:
        return ConfigError(message, hint="`trainyard images build` makes the images; `docker ps -a` shows containers")
    if status == 400:
        return ConfigError(message, hint="check [runner] in trainyard.toml, and the image")
    if status == 409:
        return TryAgain(message, hint="in use by another process: run the same command again")
    if status >= 500:
        return TryAgain(message, hint="see the engine's log: journalctl -u docker")
    return WorkerFailed(message)


def _unreachable(what: str, error: Exception) -> PipelineError:
    said = f"{error.strerror or error}" if isinstance(error, OSError) else str(error)
    where = f"{what}: no answer from {address()}"
    if isinstance(error, PermissionError) or "Permission denied" in said or "PermissionError" in said:
        return ConfigError(
            f"{where}: permission denied", hint="let this user use it: usermod -aG docker USER, then log in again"
        )
    if "too old" in said or "minimum" in said or "no longer supported" in said:
        return ConfigError(f"{where}: {said[:200]}", hint=NEWER)
    return TryAgain(f"{where}: {said[:200]}", hint="start Docker (systemctl start docker), or set DOCKER_HOST")


def labels(**more: Any) -> dict[str, str]:
    """Labels for what is made on an engine: `org.trainyard.<name>=<value>`."""
    return {f"{LABEL}.{name}": str(value) for name, value in more.items()}
