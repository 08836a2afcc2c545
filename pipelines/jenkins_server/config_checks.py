"""Which settings cannot work on Jenkins: local repositories, unsafe names, shared folders inside a checkout."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.config.layers import Layers
from pipelines.config.schema import Config
from pipelines.jenkins_server.jobs import WATCHED, folder_of
from registry.errors import ConfigError

UNSAFE_IN_A_NAME = set('?*\\%!@#$^&|<>[]:;"')  # Jenkins refuses them, apart from the quote; / is between folders


def check_config(config: Config, environment: Mapping[str, str] = os.environ) -> None:
    """Raise ConfigError that names every setting which cannot work on Jenkins."""
    problems = [
        f"{name}: {url!r} is a local path; Jenkins can only check out from a URL"
        for name, url in _repositories(config)
        if url and not is_remote(url)
    ]
    if not config.jenkins.repository:
        problems.append(
            "jenkins.repository: empty; set it to the URL of the repository with trainyard.toml and the Jenkinsfiles"
        )
    if not config.jenkins.branch:
        problems.append("jenkins.branch: empty")
    for part in folder_of(config).split("/"):
        if bad := sorted(UNSAFE_IN_A_NAME & set(part)):
            problems.append(f"jenkins.folder: {part!r} holds {' '.join(bad)}, which Jenkins refuses in names")
        elif not part.strip() or part != part.strip() or part.endswith("."):
            problems.append(f"jenkins.folder: {part!r} is not a valid folder name")
    problems += _of_other_crons(config)
    problems += _unprintable(config) + _inside_a_checkout(config, environment)
    if problems:
        raise ConfigError(f"{config.file}: " + "; ".join(problems), hint="see docs/how-to/jenkins.md")


def _repositories(config: Config) -> list[tuple[str, str]]:
    names = [(f"repositories.{name}", str(getattr(config.repositories, name))) for name in WATCHED]
    return [("jenkins.repository", config.jenkins.repository), *names]


def is_remote(url: str) -> bool:
    """Whether the git plugin accepts it: `https://…`, `ssh://…`, `git://…` or git's own `user@host:path`; no local path."""
    scheme, sign, _ = url.partition("://")
    return scheme.lower() != "file" if sign else ":" in url.partition("/")[0]


def _of_other_crons(config: Config) -> list[str]:
    """Jenkins' cron knows numbers, lists, ranges and steps."""
    if not re.search(r"[A-Za-z#]", text := config.schedule.monitor):
        return []
    return [f"schedule.monitor: {text!r} holds a name, L or #, which Jenkins does not know; write numbers"]


def _unprintable(config: Config) -> list[str]:
    texts: dict[str, Any] = {
        f"jenkins.{name}": getattr(config.jenkins, name)
        for name in ("repository", "branch", "agent", "git_credentials", "smtp_credentials", "schedule", "folder")
    }
    texts |= {f"repositories.{name}": getattr(config.repositories, name) for name in (*WATCHED, "branch")}
    texts["jenkins.submitters"] = "".join(config.jenkins.submitters)
    return [
        f"{name}: holds a control character"
        for name, text in texts.items()
        if any(each != "\n" and not each.isprintable() for each in text)
        or ("\n" in text and name != "jenkins.schedule")
    ]


def _inside_a_checkout(config: Config, environment: Mapping[str, str]) -> list[str]:
    """Each Jenkins job on each agent has its own checkout of the pipeline's repository: what they share must be outside."""
    checkout = Path(config.shared or config.file).parent
    written = _as_written(config)
    problems = []
    for name, variable, resolved, example in (
        ("home", "TRAINYARD_HOME", config.home, "/var/lib/trainyard"),
        ("registry.url", "TRAINYARD_REGISTRY_URL", config.registry.url, "file:///var/lib/trainyard/registry"),
    ):
        given = environment.get(variable) or written.get(name, "")
        if name != "home" and not given.startswith("file://"):
            continue  # another kind of store, or the default, which is below home
        path = Path(given.removeprefix("file://")).expanduser()
        if (given and not path.is_absolute()) or Path(resolved.removeprefix("file://")).is_relative_to(checkout):
            problems.append(
                f"{name}: {given or '.trainyard'!r} is inside the pipeline's checkout, of which each Jenkins job has its own; "
                f'use a path outside that all agents share, e.g. "{example}"'
            )
    return problems


def _as_written(config: Config) -> Mapping[str, Any]:
    """What the files say, by the full names of settings."""
    if not Path(config.file).is_file():
        return {}
    layers = Layers(Path(config.file), Path(config.shared) if config.shared else None)
    layers.read(lambda _: ())
    return layers.values
