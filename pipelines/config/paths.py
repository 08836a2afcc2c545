"""Paths among the settings: each is relative to the file that it is in, wherever the command is run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.config.addresses import is_http, parted
from pipelines.config.schema import Config, Registry

Base = Callable[[str], Path]
"""The name of a setting → the folder that its path is relative to."""


def absolute(config: Config, base: Base) -> Config:
    """The settings with absolute paths."""

    def at(name: str, path: str) -> str:
        return str((base(name) / Path(path).expanduser()).resolve())

    def url(name: str, value: str) -> str:
        return f"file://{(base(name) / value.removeprefix('file://')).resolve()}"

    home, registry = at("home", config.home), config.registry.url
    if registry == Registry().url:
        registry = f"file://{home}/registry"
    elif registry.startswith("file://"):
        registry = url("registry.url", registry)
    archive = config.registry.archive
    if archive and not archive.startswith("s3://"):
        archive = f"file://{at('registry.archive', archive.removeprefix('file://'))}"
    shared = config.cache.url
    if shared.startswith("file://"):
        shared = url("cache.url", shared)
    mail, server, serving, tracking = config.mail, config.jenkins, config.serving, config.tracking
    if serving.certfile:  # not resolved: certbot replaces a link
        certfile, keyfile = (
            os.path.abspath(base(f"serving.{name}") / Path(getattr(serving, name)).expanduser())
            for name in ("certfile", "keyfile")
        )
        serving = dataclasses.replace(serving, certfile=certfile, keyfile=keyfile)
    if tracking.openlineage and not is_http(tracking.openlineage):
        file = at("tracking.openlineage", tracking.openlineage)
        tracking = dataclasses.replace(tracking, openlineage=file)
    if mail.ca_file:
        mail = dataclasses.replace(mail, ca_file=at("mail.ca_file", mail.ca_file))
    if server.ca_file:
        server = dataclasses.replace(server, ca_file=at("jenkins.ca_file", server.ca_file))
    return dataclasses.replace(
        config,
        home=home,
        serving=serving,
        mail=mail,
        jenkins=server,
        tracking=tracking,
        registry=dataclasses.replace(config.registry, url=registry, archive=archive),
        cache=dataclasses.replace(config.cache, url=shared),
        repositories=dataclasses.replace(config.repositories, **_repositories(config, base)),
    )


def _repositories(config: Config, base: Base) -> dict[str, Any]:
    """Where the three repositories are, which folders of them are meant, and where the data are."""
    found: dict[str, Any] = {}
    for name in ("code", "dataset", "tests"):
        each, folder = getattr(config.repositories, name), base(f"repositories.{name}")
        if not (folder / each).exists():  # a folder may have the sign in its name
            each, inside = parted(each)
            found |= {f"{name}_folder": inside} if inside else {}
        found[name] = each if _is_url(each) else str((folder / each).resolve())
    if store := config.repositories.data_store.removeprefix("file://"):
        path = base("repositories.data_store") / Path(store).expanduser()
        found["data_store"] = store if "://" in store else str(path.resolve())
    return found


def _is_url(repository: str) -> bool:
    """`https://…`, `ssh://…` or git's own `user@host:path`."""
    head = repository.partition("/")[0]
    return "://" in repository or ":" in head
