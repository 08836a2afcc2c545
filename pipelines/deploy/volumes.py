"""The volumes of one model's API: where listener and workers meet, what it remembers, and what an engine elsewhere is given.

Files come into them through a container that never runs, as the engine need not see this machine's files.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.schema import Config
from pipelines.docker_engine import LABEL, labels
from pipelines.runners.docker import limits
from pipelines.runners.docker.transport import remove, transfer_container
from pipelines.trust import anchor_of
from registry.errors import ConfigError
from serving.job import ServeJob

if TYPE_CHECKING:
    from docker import DockerClient

HANDOFF = "/run/trainyard"
"""Where listener and workers meet, inside."""
STATE = "/state"
"""What an API remembers of the registry, and which releases were good: it outlasts the containers."""
ACCESS = "/access"
"""Copies of tokens, certificate and key, where the engine does not see this machine's files."""
COPY = "/copy"
"""The local copy of a registry in a bucket."""
LOGIN = "/login"
"""What logs in to the bucket: in the container of who follows it, and in no other."""
HANDOFF_ROLE, OLD_HANDOFF_ROLE = "handoff", "door"
"""The role of the volume behind HANDOFF, and the end of its name. An API that an older version of Trainyard has started
keeps its volume under the old role until it is stopped: its listener and its next containers have to meet."""
STATE_ROLE, ACCESS_ROLE = "state", "access"
COPY_ROLE, LOGIN_ROLE = "copy", "login"
ROLES = (HANDOFF_ROLE, OLD_HANDOFF_ROLE, STATE_ROLE, ACCESS_ROLE, COPY_ROLE, LOGIN_ROLE)
GIVEN = ("tokens", "certfile", "keyfile")
"""The fields of a job that name files of this machine."""
MOST = 1 << 20  # bytes of such a file
MOST_STATE = 256 << 20  # bytes of all that an API remembers


class ApiVolumes:
    """Makes, fills and finds the volumes `<name>-handoff`, `<name>-state`, `<name>-access`, `<name>-copy` and `<name>-login`."""

    def __init__(self, config: Config, engine: DockerClient, name: str) -> None:
        self._config, self._engine, self._name = config, engine, name
        self._labels = labels(model=config.model, home=config.home)

    def make_handoff(self) -> None:
        """Make the volume in which listener and workers meet, in memory, so that no socket is left after a reboot.

        Raises ConfigError when one of this name belongs to another project, or to nobody.
        """
        # Not 1777: the next listener may be another user's, and must be able to replace this one's socket.
        self._make(self._handoff_role(), {"type": "tmpfs", "device": "tmpfs", "o": "mode=0777,size=1m"})

    def handoff(self) -> Any:
        """The mount of it."""
        return self._mount(HANDOFF, self._handoff_role())

    def state(self, image: str, user: tuple[int, int]) -> Any:
        """The mount of what the API remembers. A new one begins with what this machine knows of the registry, so that a
        registry from before that is refused from the first start on."""
        if self._there(STATE_ROLE):
            self._hand_over(STATE_ROLE, image, user)
        else:
            self._make(STATE_ROLE)
            known = anchor_of(self._config)
            self._fill(STATE_ROLE, image, user, {"registry.json": known} if known else {})
        return self._mount(STATE, STATE_ROLE)

    def access(self, job: ServeJob, image: str, user: tuple[int, int]) -> tuple[list[Any], ServeJob]:
        """The mount of copies of the job's tokens, certificate and key, and the job with their paths inside."""
        inside: dict[str, Any] = {name: f"{ACCESS}/{name}" for name in GIVEN if getattr(job, name)}
        if not inside:
            return [], job
        self._make(ACCESS_ROLE)
        self._give(job, image, user)
        return [self._mount(ACCESS, ACCESS_ROLE, read_only=True)], replace(job, **inside)

    def refresh_access(self, job: ServeJob, image: str, user: tuple[int, int]) -> None:
        """Have an API that was given copies see the files as they are now."""
        if self._there(ACCESS_ROLE):
            self._give(job, image, user)

    def make_copy(self, image: str, user: tuple[int, int]) -> tuple[int, int]:
        """Have the volume of the local copy; gives the user to whom it belongs: who made it. Everybody may read it."""
        owner = "{}:{}".format(*user)
        found = self._make(COPY_ROLE, more=labels(user=owner))
        uid, _, gid = found.get(f"{LABEL}.user", owner).partition(":")
        self._fill(COPY_ROLE, image, (int(uid), int(gid)), {}, mode=0o755)
        return int(uid), int(gid)

    def copy(self, *, read_only: bool) -> Any:
        """The mount of it."""
        return self._mount(COPY, COPY_ROLE, read_only=read_only)

    def give_login(self, image: str, user: tuple[int, int], files: Mapping[str, bytes]) -> None:
        """Have the volume with what logs in to the bucket, which only `user` may read."""
        self._make(LOGIN_ROLE)
        self._fill(LOGIN_ROLE, image, user, files)

    def login(self) -> Any:
        """The mount of it."""
        return self._mount(LOGIN, LOGIN_ROLE, read_only=True)

    def remove(self) -> None:
        """Remove all of them, but what is in use or does not belong to this project."""
        for role in ROLES:
            self._remove(role)

    def _give(self, job: ServeJob, image: str, user: tuple[int, int]) -> None:
        """Copy the files of the job that there are: the first token may be made later."""
        found = {name: _content(Path(getattr(job, name))) for name in GIVEN if getattr(job, name)}
        self._fill(ACCESS_ROLE, image, user, {name: data for name, data in found.items() if data is not None})

    def _fill(
        self, role: str, image: str, user: tuple[int, int], files: Mapping[str, bytes], mode: int = 0o700
    ) -> None:
        """Have the volume belong to `user`, with these files, which nobody else may read."""
        with self._opened(role, image) as container:
            self._engine.api.put_archive(container, "/", _tar(role, files, user, mode))

    def _hand_over(self, role: str, image: str, user: tuple[int, int]) -> None:
        """Have what is in the volume belong to `user`, when the API ran as another user before."""
        with self._opened(role, image) as container:
            found, _ = self._engine.api.get_archive(container, f"/{role}")
            if changed := _owned_by(user, found):
                self._engine.api.put_archive(container, "/", changed)

    @contextmanager
    def _opened(self, role: str, image: str) -> Iterator[str]:
        """A container that has the volume at `/<role>`, and never runs."""
        api = self._engine.api
        own = self._labels | labels(role="probe", number=0)  # what a killed process leaves goes with the next start
        mounts = [limits.volume(self._volume(role), f"/{role}", read_only=False)]
        container = transfer_container(api, image, mounts, own)
        try:
            yield container
        finally:
            remove(api, [container], [])

    def _make(
        self, role: str, options: Mapping[str, str] | None = None, more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Its labels; `more` are those of a new one."""
        found = self._made(role, options, more)
        owner = found.get(f"{LABEL}.home", "")
        if owner and owner != self._config.home and self._remove(role):  # left by a project that is gone
            found = self._made(role, options, more)
            owner = found.get(f"{LABEL}.home", "")
        if owner != self._config.home:
            raise taken_name(f"volume {self._volume(role)}", owner, f"docker volume rm {self._volume(role)}")
        return found

    def _made(self, role: str, options: Mapping[str, str] | None, more: Mapping[str, str] | None) -> dict[str, str]:
        """The labels of the volume, which was there or is new."""
        own = self._labels | labels(role=role) | dict(more or {})
        found = self._engine.volumes.create(
            self._volume(role), driver="local", driver_opts=dict(options or {}), labels=own
        )
        return dict(found.attrs.get("Labels") or {})

    def _remove(self, role: str) -> bool:
        """Whether it is gone; False: it is in use, or was not made by Trainyard."""
        from docker import errors

        try:
            volume = self._engine.volumes.get(self._volume(role))
            if (volume.attrs.get("Labels") or {}).get(f"{LABEL}.role") != role:
                return False
            volume.remove()
        except errors.NotFound:
            return True
        except errors.APIError as error:
            if error.status_code != 409:
                raise
            return False
        return True

    def _there(self, role: str) -> bool:
        """Whether this project has a volume of this role."""
        wanted = [f"{name}={value}" for name, value in (self._labels | labels(role=role)).items()]
        return bool(self._engine.volumes.list(filters={"label": wanted}))

    def _handoff_role(self) -> str:
        """The old one as long as this project has a volume under it."""
        return OLD_HANDOFF_ROLE if self._there(OLD_HANDOFF_ROLE) else HANDOFF_ROLE

    def _volume(self, role: str) -> str:
        return f"{self._name}-{role}"

    def _mount(self, target: str, role: str, *, read_only: bool = False) -> Any:
        from docker.types import Mount

        return Mount(target, self._volume(role), type="volume", read_only=read_only, no_copy=True)


def taken_name(what: str, owner: str, remove_it: str) -> ConfigError:
    """A container or volume of this project cannot have its name."""
    whose = f"belongs to the project at {owner}" if owner else "does not belong to Trainyard"
    return ConfigError(f"{what} exists on this engine, and {whose}", hint=f"if nobody needs it: {remove_it}")


def _content(path: Path) -> bytes | None:
    """The bytes of a file that is to be given away; None when it is not there. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="run as a user who may read it") from None
    if len(data) > MOST:
        raise ConfigError(f"{path}: has more than {MOST >> 20} MiB", hint="name the file itself")
    return data


def _owned_by(user: tuple[int, int], archive: Iterable[bytes]) -> bytes:
    """The files and folders of an archive as `user`'s; empty when they are, or when there is more than an API remembers."""
    data = io.BytesIO()
    for part in archive:
        data.write(part)
        if data.tell() > MOST_STATE:
            return b""
    data.seek(0)
    stream, changed = io.BytesIO(), False
    with tarfile.open(fileobj=data) as old, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new:
        for entry in old:
            if entry.isfile() or entry.isdir():
                changed |= (entry.uid, entry.gid) != user
                entry.uid, entry.gid = user
                new.addfile(entry, old.extractfile(entry) if entry.isfile() else None)
    return stream.getvalue() if changed else b""


def _tar(folder: str, files: Mapping[str, bytes], user: tuple[int, int], mode: int) -> bytes:
    """`folder/` of `mode` with these files, all of them the user's alone."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {"": b"", **files}.items():
            entry = tarfile.TarInfo(f"{folder}/{name}".rstrip("/"))
            entry.uid, entry.gid = user
            entry.type, entry.mode = (tarfile.REGTYPE, 0o600) if name else (tarfile.DIRTYPE, mode)
            entry.size, entry.mtime = len(data), time.time()  # its time says to who reads it that it has changed
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
