"""`trainyard jenkins status`: the last builds of the model's Jenkins jobs, in one request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipelines.config.schema import Config
from pipelines.jenkins_server.client import JenkinsClient, job_path
from pipelines.jenkins_server.errors import NotFound
from pipelines.jenkins_server.jobs import SCRIPTS, folder_of
from registry.dataclass import dataclass
from registry.errors import ConfigError

MOST = 100
"""Jenkins lists no more builds of one job."""


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """One build. `result` is Jenkins' result, or `RUNNING`; `at` is when it started, UTC; `seconds` until it ended."""

    number: int
    result: str
    at: str
    seconds: float | None
    name: str
    description: str
    url: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A Jenkins job and its last builds, the newest first."""

    job: str
    url: str
    disabled: bool
    queued: bool
    builds: tuple[BuildSummary, ...]


def status(config: Config, client: JenkinsClient, count: int = 3) -> tuple[JobStatus, ...]:
    """The last `count` builds of each Jenkins job of the model; a job that does not exist is left out.

    Raises ConfigError when the folder does not exist.
    """
    if not 1 <= count <= MOST:
        raise ConfigError(f"--count {count}: not between 1 and {MOST}", hint="Jenkins lists no more builds of a job")
    build = "number,result,building,timestamp,duration,displayName,description,url"
    tree = f"jobs[name,url,disabled,inQueue,builds[{build}]{{0,{count}}}]"
    folder = folder_of(config)
    try:
        found = client.get(f"{job_path(folder)}/api/json", tree)
    except NotFound as error:
        raise ConfigError(
            f"folder {folder} on {client.url} does not exist, or user {config.jenkins.user} may not see it",
            hint="`trainyard jenkins apply` creates it; [jenkins] folder names it",
        ) from error
    jobs = {each.get("name"): each for each in found.get("jobs", [])}
    return tuple(_job(jobs[name]) for name in SCRIPTS if name in jobs)


def _job(about: dict[str, Any]) -> JobStatus:
    builds = tuple(_build(each) for each in about.get("builds", []))
    return JobStatus(
        about["name"], about.get("url", ""), bool(about.get("disabled")), bool(about.get("inQueue")), builds
    )


def _build(about: dict[str, Any]) -> BuildSummary:
    running = bool(about.get("building"))
    started = datetime.fromtimestamp(about.get("timestamp", 0) / 1000, UTC)
    return BuildSummary(
        number=about["number"],
        result="RUNNING" if running else about.get("result") or "UNKNOWN",
        at=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=None if running else about.get("duration", 0) / 1000,
        name=about.get("displayName") or f"#{about['number']}",
        description=about.get("description") or "",
        url=about.get("url", ""),
    )
