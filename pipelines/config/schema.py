"""The settings, with their defaults and bounds; `pipelines.config.load` reads them from file, environment and flags."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from registry.records import Policy


@dataclass(frozen=True, slots=True)
class Between:
    """The inclusive limits of a number: outside them it can only be a slip."""

    low: float
    high: float


PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}(?=\s|$)")
"""An Ed25519 key as `ssh-keygen` writes it, but for the comment behind it."""
ONE_OR_MORE = "a text on its own is read as a list of one"


RENAMED = {"serving.go_live": "serving.deploy", "jenkins.go_live": "jenkins.deploy"}
"""Settings by the names that they had in earlier versions of Trainyard."""
NOT_SETTINGS = {"file"}


@dataclass(frozen=True, slots=True)
class Repositories:
    """Where the three repositories are (a URL, or a path relative to the file) and which branch is watched."""

    code: str
    dataset: str
    tests: str
    branch: str = "main"
    unimportant: tuple[str, ...] = ("*.md", "LICENSE", ".gitignore", ".github/*")
    """Files that change no model, by name or, with a `/`, by path. A push of nothing else has nothing to find out, and
    they may be missing: in Git LFS, in a submodule, links."""
    lfs: bool = False
    """Fetch the files that Git LFS keeps elsewhere."""
    lfs_mb: Annotated[int, Between(1, 10**8)] = 20_480
    """What the LFS files of one commit may come to; so much is kept on this machine."""
    submodules: bool = False
    """Fetch submodules, each at the commit that the repository names."""
    trusted: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Hosts, folders and buckets, beside each repository's own, from which its submodules, LFS files and data may be fetched."""
    data_store: str = ""
    """Where the dataset's files are that do not lie in git (`s3://bucket/prefix`, or a folder), in place of what its
    repository says."""
    data_mb: Annotated[int, Between(1, 10**8)] = 20_480
    """What these files of one commit may come to; so much is kept on this machine."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained from scratch."""

    seed: Annotated[int, Between(0, 2**31 - 1)] = 1
    epochs: Annotated[int, Between(1, 100_000)] = 20
    batch_size: Annotated[int, Between(1, 65_536)] = 32
    max_attempts: Annotated[int, Between(1, 100)] = 3
    patience: Annotated[int, Between(1, 100_000)] = 5
    """Epochs without a better validation metric before an attempt stops."""
    command: tuple[str, ...] = ()
    """A team's own script instead of `model.py`, e.g. ["python", "train.py", "--epochs", "5"]."""
    rehearsal_seconds: Annotated[float, Between(0, 86_400)] = 120.0
    """How long the script's rehearsal on a single batch may take before it trains; 0: none."""
    deterministic: bool = True
    """The same sources and settings give the same weights on the same kind of machine; false may be faster."""


@dataclass(frozen=True, slots=True)
class Retraining:
    """How a registered model is fine-tuned."""

    epochs: Annotated[int, Between(1, 100_000)] = 10
    learning_rate: Annotated[float, Between(0, 1_000)] = 0.0
    """0: a tenth of the rate the model was compiled with."""


@dataclass(frozen=True, slots=True)
class AcceptancePolicy:
    """Limits of the acceptance test."""

    timeout_seconds: Annotated[float, Between(1, 86_400)] = 300.0
    load_seconds: Annotated[float, Between(0.1, 3_600)] = 2.0
    concurrency: Annotated[int, Between(1, 256)] = 4
    min_requests_per_second: float = 10.0
    max_p95_ms: float = 1000.0


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """Who may approve, and how many must."""

    valid_days: Annotated[float, Between(0.001, 365)] = 7.0
    """How long an approval can be used."""
    approvers: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Logins, mail addresses, or public keys (`ssh-ed25519 AAAA… name`); none: whoever holds the token of the mail."""
    needed: Annotated[int, Between(1, 20)] = 1
    """People."""
    author_may_approve: bool = True
    """Whether those who made the candidate's commits may."""


@dataclass(frozen=True, slots=True)
class Mail:
    """To whom and through which server; without `host` mails are written to the outbox folder."""

    to: Annotated[tuple[str, ...], ONE_OR_MORE] = ("product-owner@localhost",)
    failures_to: Literal["authors", "owners", "both"] = "authors"
    """Who gets the mail about a run that failed: the authors of the new commits, or `to`, which it goes to anyway
    when no author may be written to."""
    author_domains: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Mail domains of authors that may be written to; empty: those of `to`."""
    sender: str = "trainyard@localhost"
    host: str = ""
    port: Annotated[int, Between(1, 65_535)] = 587
    security: Literal["starttls", "smtps", "none"] = "starttls"
    """`none` is for servers on this machine only."""
    username: str = ""
    ca_file: str = ""
    """Certificates of a company's own authority, beside the system's."""
    timeout_seconds: Annotated[float, Between(0.1, 600)] = 20.0


@dataclass(frozen=True, slots=True)
class Serving:
    """The prediction API."""

    host: str = "127.0.0.1"
    port: Annotated[int, Between(0, 65_535)] = 8500
    admin_host: str = "127.0.0.1"
    admin_port: Annotated[int, Between(0, 65_535)] = 0
    """Where operators and Prometheus ask: metrics, status. 0: any free port, which `trainyard serve --status` shows."""
    auth: Literal["none", "tokens"] = "none"
    """Who may ask: everybody who reaches it, or who has a token (`trainyard token`)."""
    open: bool = False
    """Everybody may ask, also from other machines: something else keeps strangers away."""
    certfile: str = ""
    keyfile: str = ""
    """PEM files, relative to this file; both: TLS."""
    allowed_hosts: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Names in the Host header beside those of the loopback interface; empty: there only those, elsewhere any."""
    cors_origins: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Of web pages that may ask from a browser, e.g. "https://shop.example"."""
    requests_per_second: Annotated[float, Between(0, 1_000_000)] = 0.0
    """Per token, without tokens per address; 0: without limit."""
    workers: Annotated[int, Between(1, 128)] = 2
    threads: Annotated[int, Between(1, 256)] = 4
    trusted_proxies: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Addresses and networks of the proxies in front of the API: what they say about the client counts."""
    max_body_mb: Annotated[int, Between(1, 1_024)] = 16
    max_instances: Annotated[int, Between(1, 100_000)] = 256
    log_mb: Annotated[int, Between(1, 100_000)] = 10
    """Size of one file of the API's log; of `log_files` the oldest is removed."""
    log_files: Annotated[int, Between(1, 1_000)] = 5
    poll_seconds: Annotated[float, Between(0.1, 30)] = 2.0
    """With a registry in a bucket: before a new release is asked for again."""
    timeout_seconds: Annotated[int, Between(1, 3_600)] = 30
    max_connections: Annotated[int, Between(0, 1_000_000)] = 0
    """Per process; 0: 4096, or what the limit of open files leaves."""
    max_connections_per_address: Annotated[int, Between(0, 1_000_000)] = 0
    """0: half of all."""
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
    memory_mb: Annotated[int, Between(0, 10**8)] = 8192
    timeout_minutes: Annotated[float, Between(0.01, 60 * 24 * 14)] = 120.0
    disk_mb: Annotated[int, Between(0, 10**8)] = 20_480
    """What a worker may write."""
    require_fence: bool = False
    """Start no worker, and no API, that the kernel cannot fence in every respect."""
    cpus: Annotated[float, Between(0, 4096)] = 0.0
    """0: all. Docker only, like everything below."""
    pids: Annotated[int, Between(16, 4 * 10**6)] = 4096
    """Processes and threads."""
    gpus: Literal["", "all"] = ""
    image: str = ""
    """The worker image, best by digest; empty: what `trainyard images build` has made of this version of Trainyard."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Where versions and releases are kept: `file://` and a folder, relative to the file, or `s3://bucket/prefix`."""

    url: str = "file://.trainyard/registry"
    require_signatures: bool = True
    """Refuse a registry whose records are not signed."""
    trusted_keys: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Ids of keys that it may have begun with, for a machine that does not know it yet."""
    endpoint: str = ""
    """`s3://`: the URL of the store; empty: AWS, or as ~/.aws says."""
    region: str = ""
    profile: str = ""
    """`s3://`: the profile of ~/.aws with the credentials, which are never in the settings."""
    sse: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = ""
    """`s3://`: encryption by the server; empty: as the bucket says."""
    kms_key: str = ""
    storage_class: Literal["", "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"] = ""
    """`s3://`: of the files; records are small, and always STANDARD."""
    cache_mb: Annotated[int, Between(0, 10**8)] = 20_480
    """`s3://`: local copies that nobody uses at the moment."""


@dataclass(frozen=True, slots=True)
class Cache:
    """Where machines share what they have prepared of a dataset."""

    url: str = ""
    """`file://` and a folder that all of them see, relative to the file, or `s3://bucket/prefix`; empty: nothing is shared."""
    max_mb: Annotated[int, Between(1, 10**8)] = 20_480
    """All entries of a folder; those used longest ago are deleted. A bucket needs a lifecycle rule of its own."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a version says about the data that it was made of."""

    row_keys: Annotated[int, Between(0, 100_000_000)] = 1_000_000
    """Up to how many samples a version lists their keys, as 8 bytes of a digest each; 0: none."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays on the disk of what earlier runs have left; `trainyard clean` and the end of each run remove the rest."""

    runs: Annotated[int, Between(0, 1_000_000)] = 200
    """Runs with their records, logs and reports; 0: all."""
    full_runs: Annotated[int, Between(0, 1_000_000)] = 5
    """The newest of them also keep their checkouts, data and weights."""
    mail_days: Annotated[int, Between(1, 36_500)] = 90
    """Mails that were sent, in `<home>/outbox/sent`."""


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
    timeout_seconds: Annotated[float, Between(0.1, 600)] = 30.0
    """For one answer of Jenkins."""
    ca_file: str = ""
    """Certificates of a company's own authority, beside the system's."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Tools that get to know of each run and release; a run does not depend on them. Tokens come from the environment."""

    mlflow: str = ""
    """The address of an MLflow server; empty: none."""
    experiment: str = ""
    """Of MLflow; empty: the model's name."""
    model_mb: Annotated[int, Between(0, 100_000)] = 0
    """Upload the files of a version to MLflow, too, if they are not more than this."""
    openlineage: str = ""
    """A server's address, or a file that events are appended to, relative to this file; empty: none."""
    timeout_seconds: Annotated[float, Between(0.1, 60)] = 5.0
    """For one answer."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, with defaults filled in. Paths are absolute."""

    model: str
    repositories: Repositories
    training: Training = field(default_factory=Training)
    retraining: Retraining = field(default_factory=Retraining)
    gate: Annotated[
        Policy,
        {
            "min_samples": Between(1, 10**9),
            "max_drop": Between(0, float("inf")),
            "class_floor": Between(0, 1),
        },  # a record of the registry
    ] = field(default_factory=Policy)
    acceptance: AcceptancePolicy = field(default_factory=AcceptancePolicy)
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    mail: Mail = field(default_factory=Mail)
    serving: Serving = field(default_factory=Serving)
    runner: RunnerConfig = field(default_factory=RunnerConfig)
    registry: Registry = field(default_factory=Registry)
    cache: Cache = field(default_factory=Cache)
    lineage: Lineage = field(default_factory=Lineage)
    keep: Keep = field(default_factory=Keep)
    jenkins: JenkinsServer = field(default_factory=JenkinsServer)
    tracking: Tracking = field(default_factory=Tracking)
    home: str = ".trainyard"
    """Runs, caches, outbox, logs and the registry's default place; relative to the file."""

    file: str = ""
    """Where all this was read from; not a setting."""

    @property
    def runs(self) -> Path:
        """The folder that holds one folder per run."""
        return Path(self.home) / "runs"

    @property
    def outcome_settings(self) -> dict[str, Any]:
        """The settings that can change what a run finds; their hash is part of the run's id."""
        values = asdict(self)
        where = {
            "host",
            "port",
            "admin_host",
            "admin_port",
            "deploy",
            "registry_volume",
            "log_mb",
            "log_files",
            "poll_seconds",
        }
        who = {
            "auth", "open", "certfile", "keyfile", "allowed_hosts", "cors_origins", "requests_per_second",
        }  # fmt: skip
        serving = {key: value for key, value in values["serving"].items() if key not in where | who}
        same = {name: values[name] for name in ("training", "retraining", "gate", "acceptance")}
        return {**same, "serving": serving, "runner": [self.runner.kind, self.runner.image]}
