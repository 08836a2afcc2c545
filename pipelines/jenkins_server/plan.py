"""What is to stand on Jenkins: the folder and the four jobs of a model, and whether the settings allow them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.config.schema import Config
from registry.errors import ConfigError

WATCHED = ("code", "dataset", "tests")
SCRIPTS = {
    "code": "Jenkinsfile",
    "dataset": "jenkins/dataset.Jenkinsfile",
    "tests": "jenkins/unit_tests.Jenkinsfile",
    "promotion": "jenkins/promotion.Jenkinsfile",
}
UNSAFE_IN_A_NAME = set('?*\\%!@#$^&|<>[]:;"')  # Jenkins refuses them, apart from the quote; / is between folders
Kind = Literal["string", "boolean", "password", "choice"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a job.

    `ours`: its default is ours. No Jenkinsfile declares it (or it does with the build's own value as the default), so that
    Jenkins keeps it. The others are there for a job's first build only, which drops what it does not know; that build
    replaces them by what the Jenkinsfile declares.
    """

    name: str
    default: str = ""
    about: str = ""
    kind: Kind = "string"
    ours: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A pipeline job that takes its Jenkinsfile from the pipeline's repository."""

    name: str
    model: str
    repository: str
    branch: str
    credentials: str
    script: str
    parameters: tuple[Parameter, ...]

    @property
    def has_triggers(self) -> bool:
        """Whether a build must have run before a push can start one: that is when Jenkins learns what to watch."""
        return self.name in WATCHED

    @property
    def one_at_a_time(self) -> bool:
        """Whether builds wait for each other. A promotion that waits for its answer must not hold up a rollback."""
        return self.name in WATCHED


def folder_of(config: Config) -> str:
    """Where the jobs of this model are: `a/b` is a folder in a folder."""
    return config.jenkins.folder.strip("/") or config.model


def jobs_of(config: Config) -> tuple[Job, ...]:
    """The jobs of this model."""
    server = config.jenkins
    return tuple(
        Job(
            name,
            config.model,
            server.repository,
            server.branch,
            server.git_credentials,
            script,
            _parameters(name, config),
        )
        for name, script in SCRIPTS.items()
    )


def _parameters(job: str, config: Config) -> tuple[Parameter, ...]:
    server = config.jenkins
    ours = [
        Parameter("AGENT", server.agent, "label of the agents; empty: any", ours=True),
        Parameter("GIT_CREDENTIALS", server.git_credentials, "credentials for the repositories", ours=True),
        Parameter("SMTP_CREDENTIALS", server.smtp_credentials, "the mail server's password", ours=True),
    ]
    if job == "promotion":
        return (
            *ours,
            Parameter("SUBMITTERS", ",".join(server.submitters), "who may approve; empty: who may build", ours=True),
            Parameter("MODEL", config.model),
            Parameter("VERSION"),
            Parameter("APPROVAL", kind="password"),
            Parameter("ACTION", "promote", kind="choice", choices=("promote", "rollback")),
            Parameter("REASON"),
        )
    watched = [
        Parameter("WATCHED_URL", getattr(config.repositories, job), "the repository that is watched", ours=True),
        Parameter("WATCHED_BRANCH", config.repositories.branch, "its branch", ours=True),
    ]
    if job == "dataset":
        watched.append(Parameter("CRON", server.schedule, "when to retrain without a push; empty: never", ours=True))
    asked = [
        Parameter("FORCE", "false", kind="boolean"),
        Parameter("REASON"),
        Parameter("COMMIT"),
        Parameter("ONLY_PREPARE", "false", kind="boolean"),
    ]
    return (*ours, *watched, *asked)


def check_settings(config: Config, environment: Mapping[str, str] = os.environ) -> None:
    """Raise ConfigError with every setting that cannot work on Jenkins."""
    faults = [
        f"{name}: {place!r} is on this machine's disk; Jenkins checks out from a URL only"
        for name, place in _repositories(config)
        if place and not _reachable(place)
    ]
    if not config.jenkins.repository:
        faults.append("jenkins.repository: empty; the URL where Jenkins finds trainyard.toml and the Jenkinsfiles")
    if not config.jenkins.branch:
        faults.append("jenkins.branch: empty")
    for part in folder_of(config).split("/"):
        if bad := sorted(UNSAFE_IN_A_NAME & set(part)):
            faults.append(f"jenkins.folder: {part!r} holds {' '.join(bad)}, which Jenkins refuses in a name")
        elif not part.strip() or part != part.strip() or part.endswith("."):
            faults.append(f"jenkins.folder: {part!r} is no name for a folder")
    faults += _unprintable(config) + _inside_a_checkout(config, environment)
    if faults:
        raise ConfigError(f"{config.file}: " + "; ".join(faults), hint="see docs/how-to/jenkins.md")


def _repositories(config: Config) -> list[tuple[str, str]]:
    names = [(f"repositories.{name}", str(getattr(config.repositories, name))) for name in WATCHED]
    return [("jenkins.repository", config.jenkins.repository), *names]


def _reachable(place: str) -> bool:
    """`https://…`, `ssh://…`, `git://…` or git's own `user@host:path`; the git plugin refuses folders."""
    scheme, sign, _ = place.partition("://")
    if sign:
        return scheme.lower() != "file"
    return ":" in place.partition("/")[0]


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
    """Each job, and each agent, has its own checkout of the pipeline's repository: what jobs share lies elsewhere."""
    file = Path(config.file)
    raw = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    home = environment.get("TRAINYARD_HOME") or raw.get("home", "")
    url = environment.get("TRAINYARD_REGISTRY_URL") or raw.get("registry", {}).get("url", "")
    faults = []
    for name, given, resolved, example in (
        ("home", home, config.home, "/var/lib/trainyard"),
        ("registry.url", url, config.registry.url, "file:///var/lib/trainyard/registry"),
    ):
        if name != "home" and not given.startswith("file://"):
            continue  # another kind of store, or the default, which is below home
        written = Path(given.removeprefix("file://")).expanduser()
        if (given and not written.is_absolute()) or Path(resolved.removeprefix("file://")).is_relative_to(file.parent):
            faults.append(
                f"{name}: {given or '.trainyard'!r} lies in the pipeline's checkout, of which each job has its own; "
                f'write a place outside that all agents see, e.g. "{example}"'
            )
    return faults
