"""The settings of runs: what a model is made of, how, by which criteria, and who gets to know of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pipelines.config.bounds import ONE_OR_MORE, Between
from registry.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Repositories:
    """Where the three repositories are (a URL, or a path relative to the file) and which branch is watched."""

    code: str
    dataset: str
    tests: str
    branch: str = "main"
    code_folder: str = ""
    """The folder that is the code; `#folder` at the end of `code` says the same. Empty: the whole repository."""
    dataset_folder: str = ""
    tests_folder: str = ""
    code_branch: str = ""
    """The branch of the code that is watched; empty: `branch`."""
    dataset_branch: str = ""
    tests_branch: str = ""
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

    def folder_of(self, name: str) -> str:
        """The folder that is the code, dataset or tests; empty: the whole repository."""
        return str(getattr(self, f"{name}_folder"))

    def branch_of(self, name: str) -> str:
        """The branch that is watched of it."""
        return str(getattr(self, f"{name}_branch")) or self.branch

    def place_of(self, name: str) -> tuple[str, str, str]:
        """Address, branch and folder: by which one of the three differs from another."""
        return str(getattr(self, name)), self.branch_of(name), self.folder_of(name)

    def address_of(self, name: str) -> str:
        """The address, with the folder behind it where there is one."""
        folder = self.folder_of(name)
        return f"{getattr(self, name)}#{folder}" if folder else str(getattr(self, name))


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

    @property
    def asks_for_people(self) -> tuple[str, ...]:
        """The settings that demand certain people, as a file says them: no machine can approve beside them."""
        asked = {
            "[approval] approvers": bool(self.approvers),
            f"[approval] needed = {self.needed}": self.needed > 1,
            "[approval] author_may_approve = false": not self.author_may_approve,
        }
        return tuple(name for name, each in asked.items() if each)


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
    reply_to: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Who gets the answers to a mail; empty: the sender."""
    host: str = ""
    port: Annotated[int, Between(1, 65_535)] = 587
    security: Literal["starttls", "smtps", "none"] = "starttls"
    """`none` is for servers on this machine only."""
    username: str = ""
    ca_file: str = ""
    """Certificates of a company's own authority, beside the system's."""
    timeout_seconds: Annotated[float, Between(0.1, 600)] = 20.0


@dataclass(frozen=True, slots=True)
class Report:
    """Where people read reports."""

    url: str = ""
    """Where a web server shows what it has of `home`; empty: mails and commands name files."""


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
    packages: bool = True
    """Have the packages of a requirements.txt in the code or tests repository for the workers, as wheels."""
    packages_mb: Annotated[int, Between(1, 10**8)] = 10_240
    """Of all environments with such packages, which are not containers' images; those used last stay."""
    cpus: Annotated[float, Between(0, 4096)] = 0.0
    """0: all. Docker only, like everything below."""
    pids: Annotated[int, Between(16, 4 * 10**6)] = 4096
    """Processes and threads."""
    gpus: Literal["", "all"] = ""
    image: str = ""
    """The worker image, best by digest; empty: what `trainyard images build` has made of this version of Trainyard."""


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
