"""The settings, with their defaults; `pipelines.config.load` reads them from `trainyard.toml` and the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from registry.records import Policy


@dataclass(frozen=True, slots=True)
class Repositories:
    """Where the three repositories are (a URL, or a path relative to the file) and which branch is watched."""

    code: str
    dataset: str
    tests: str
    branch: str = "main"
    unimportant: tuple[str, ...] = ("*.md", "LICENSE", ".gitignore", ".github/*")
    """Files that change no model, by name or, with a `/`, by path. A push of nothing else has nothing to find out."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained from nothing."""

    seed: int = 1
    epochs: int = 20
    batch_size: int = 32
    max_attempts: int = 3
    patience: int = 5
    """Epochs without a better validation metric before an attempt stops."""
    command: tuple[str, ...] = ()
    """A team's own script instead of `model.py`, e.g. ["python", "train.py", "--epochs", "5"]."""


@dataclass(frozen=True, slots=True)
class Retraining:
    """How to go on from a registered model."""

    epochs: int = 10
    learning_rate: float = 0.0
    """0: a tenth of the rate the model was compiled with."""


@dataclass(frozen=True, slots=True)
class AcceptancePolicy:
    """Limits for the trial in a clone of production."""

    timeout_seconds: float = 300.0
    load_seconds: float = 2.0
    concurrency: int = 4
    min_requests_per_second: float = 10.0
    max_p95_ms: float = 1000.0


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """How long a product owner may think."""

    valid_days: float = 7.0


@dataclass(frozen=True, slots=True)
class Mail:
    """To whom and through which server; without `host` mails are written to the outbox folder."""

    to: tuple[str, ...] = ("product-owner@localhost",)
    sender: str = "trainyard@localhost"
    host: str = ""
    port: int = 587
    security: Literal["starttls", "smtps", "none"] = "starttls"
    """`none` is for servers on this machine only."""
    username: str = ""
    ca_file: str = ""
    """Certificates of a company's own authority, beside the system's."""
    timeout_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class Serving:
    """The prediction API."""

    host: str = "127.0.0.1"
    port: int = 8500
    workers: int = 2
    threads: int = 4
    max_body_mb: int = 16
    max_instances: int = 256
    timeout_seconds: int = 30
    deploy: Literal["process", "docker", "jenkins"] = "process"
    """Where the API runs: a process of this machine, a container of the Docker engine, or wherever Jenkins' promotion job
    starts it."""
    image: str = ""
    """Of the API's container; empty: what `trainyard images build` has made of this version of Trainyard."""
    registry_volume: str = ""
    """The engine's volume with the registry, for an engine that does not see our file system."""


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Where workers run and what they may use."""

    kind: Literal["process", "docker"] = "process"
    memory_mb: int = 8192
    timeout_minutes: float = 120.0
    disk_mb: int = 20_480
    """What a worker may write."""
    cpus: float = 0.0
    """0: all. Docker only, like everything below."""
    pids: int = 4096
    """Processes and threads."""
    gpus: Literal["", "all"] = ""
    image: str = ""
    """The worker image, best by digest; empty: what `trainyard images build` has made of this version of Trainyard."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Where versions and releases are kept: `file://` and a folder, relative to the file."""

    url: str = "file://.trainyard/registry"


@dataclass(frozen=True, slots=True)
class JenkinsServer:
    """The Jenkins that runs the pipelines. Its token comes from the environment: `TRAINYARD_JENKINS_TOKEN`, or `…_FILE`."""

    url: str = ""
    user: str = ""
    """Whose API token it is."""
    folder: str = ""
    """Holds the jobs of this model; `a/b` is a folder in a folder; empty: the model's name."""
    repository: str = ""
    """Where Jenkins finds this file and the Jenkinsfiles: the URL of the pipeline's repository."""
    branch: str = "main"
    agent: str = ""
    """A label; empty: any agent. All of them must see `home` and the registry."""
    git_credentials: str = ""
    """The id of Jenkins' credentials (user name and password) for the repositories; empty: they need none."""
    smtp_credentials: str = ""
    """The id of Jenkins' credentials (secret text) with the password of the mail server."""
    schedule: str = ""
    """When to retrain without a push, in Jenkins' cron syntax, e.g. "H 3 * * 0"."""
    submitters: tuple[str, ...] = ()
    """Users and groups of Jenkins who may approve a promotion there; none: everybody who may build the job."""
    deploy: Literal["process", "docker"] = "process"
    """Where the promotion job starts the API, with `[serving] deploy = "jenkins"`."""
    timeout_seconds: float = 30.0
    """For one answer of Jenkins."""
    ca_file: str = ""
    """Certificates of a company's own authority, beside the system's."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, with defaults filled in. Paths are absolute."""

    model: str
    repositories: Repositories
    training: Training = field(default_factory=Training)
    retraining: Retraining = field(default_factory=Retraining)
    gate: Policy = field(default_factory=Policy)
    acceptance: AcceptancePolicy = field(default_factory=AcceptancePolicy)
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    mail: Mail = field(default_factory=Mail)
    serving: Serving = field(default_factory=Serving)
    runner: RunnerConfig = field(default_factory=RunnerConfig)
    registry: Registry = field(default_factory=Registry)
    jenkins: JenkinsServer = field(default_factory=JenkinsServer)
    home: str = ".trainyard"
    """Runs, caches, outbox, logs and the registry's default place; relative to the file."""

    file: str = ""
    """Where all this was read from; not a setting."""

    @property
    def runs(self) -> Path:
        """The folder that holds one folder per run."""
        return Path(self.home) / "runs"
