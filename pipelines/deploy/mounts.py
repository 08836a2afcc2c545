"""How a container comes to see the registry: the folder itself, or a volume where the engine does not see this machine's files."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.schema import Config
from pipelines.docker_engine import labels
from pipelines.runners.docker.mount_probe import shows
from pipelines.runners.docker.readable import all_can_read
from pipelines.runners.docker.transport import Site
from registry.errors import ConfigError
from serving.job import ServeJob
from serving.prediction_log.key import make_key

if TYPE_CHECKING:
    from docker import DockerClient

VOLUME_AT = "/registry"
PREDICTIONS_AT = "/predictions"
LABELS_AT = "/labels"
ACCESS_AT = "/access"


def registry_mount(engine: DockerClient, config: Config, image: str, user: tuple[int, int]) -> tuple[Any, str]:
    """The mount of a registry in a folder, and its URL inside.

    Raises ConfigError when the engine does not see the registry, or `user`, by this machine's numbers, may not read it.
    """
    from docker.types import Mount

    if volume := config.serving.registry_volume:
        return Mount(VOLUME_AT, volume, type="volume", read_only=True, no_copy=True), f"file://{VOLUME_AT}"
    url = config.registry.url
    folder = Path(url.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    probe_labels = labels(model=config.model, home=config.home, role="probe", number=0)
    if not shows(Site(engine.api, image, user, probe_labels), folder):
        engine.ping()  # one that is away sees nothing either, and has an error of its own
        raise ConfigError(
            f"the Docker engine does not see the registry in {folder}",
            hint="put it into a volume of the engine that is mounted here, too, and name that in [serving] registry_volume",
        )
    _must_be_readable(folder, user)
    return Mount(str(folder), str(folder), type="bind", read_only=True), url


def _must_be_readable(folder: Path, user: tuple[int, int]) -> None:
    with contextlib.suppress(FileNotFoundError):  # a release is being written; the API reports what it cannot read
        if not all_can_read([folder], user):
            who = f"user {user[0]}" if user[0] > 0 else "its user"
            raise ConfigError(
                f"the API's container may not read all of the registry in {folder}: it runs as {who}, "
                f"and the folder has mode {folder.stat().st_mode & 0o7777:04o}",
                hint=f"chmod -R go+rX {folder}; and a umask of 022 for who writes there, or run as the registry's owner",
            )


def access_mounts(job: ServeJob, user: tuple[int, int]) -> tuple[list[Any], ServeJob]:
    """Mounts with the tokens, the certificate and its key, and the job with the paths that these have inside.

    Their folders are mounted, not the files: a file that is replaced would stay the old one inside. Raises ConfigError
    when `user` may not read them.
    """
    from docker.types import Mount

    mounts, inside = [], dict[str, Any]()
    for name in ("tokens", "certfile", "keyfile"):
        if not (given := getattr(job, name)):
            continue
        path = Path(given)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.resolve().parent != path.parent.resolve():
            raise ConfigError(
                f"{path}: a link into another folder, which a container does not see",
                hint=f"name the file itself: {path.resolve()}",
            )
        if path.exists() and not all_can_read([path], user):
            raise ConfigError(
                f"{path}: the API's container runs as user {user[0]} and may not read it",
                hint=f"run as its owner, or: setfacl -m u:{user[0]}:r {path}",
            )
        mounts.append(Mount(f"{ACCESS_AT}/{name}", str(path.parent), type="bind", read_only=True))
        inside[name] = f"{ACCESS_AT}/{name}/{path.name}"
    return mounts, replace(job, **inside)


def log_mounts(
    engine: DockerClient, config: Config, image: str, job: ServeJob, user: tuple[int, int]
) -> tuple[list[Any], ServeJob]:
    """Mounts with the prediction log and the labels, to write, and the log's key, and the job with their paths inside; none
    without a log.

    Raises ConfigError when the engine does not see them, or `user` may not write there.
    """
    from docker.types import Mount

    if (log := job.prediction_log) is None:
        return [], job
    folder, key, reported = Path(log.folder), Path(log.key), Path(job.labels)
    for each in (folder, reported.parent):
        each.mkdir(mode=0o750, parents=True, exist_ok=True)
    make_key(key)
    if not os.geteuid() and user[0] > 0:  # root's APIs run as nobody
        for each in (folder, *folder.rglob("*"), reported.parent, *reported.parent.iterdir(), key.parent, key):
            os.chown(each, *user)
    probe_labels = labels(model=config.model, home=config.home, role="probe", number=0)
    if not shows(Site(engine.api, image, user, probe_labels), folder):
        raise ConfigError(
            f"the Docker engine does not see the prediction log's folder {folder}",
            hint='put `home` where it does, or set [prediction_log] enabled = false, or [serving] deploy = "process"',
        )
    if user[0] > 0 and not all_can_read([key], user):
        raise ConfigError(
            f"{key}: the API's container runs as user {user[0]} and may not read it", hint="run as its owner"
        )
    at = f"{ACCESS_AT}/log_key"
    mounts = [
        Mount(PREDICTIONS_AT, str(folder), type="bind"),
        Mount(LABELS_AT, str(reported.parent), type="bind"),
        Mount(at, str(key.parent), type="bind", read_only=True),
    ]
    inside = replace(log, folder=PREDICTIONS_AT, key=f"{at}/{key.name}")
    return mounts, replace(job, prediction_log=inside, labels=f"{LABELS_AT}/{reported.name}")
