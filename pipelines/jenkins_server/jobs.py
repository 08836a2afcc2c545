"""The folder and the four Jenkins jobs of a model, as the config defines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.config.schema import Config

WATCHED = ("code", "dataset", "tests")
SCRIPTS = {
    "code": "Jenkinsfile",
    "dataset": "jenkins/dataset.Jenkinsfile",
    "tests": "jenkins/unit_tests.Jenkinsfile",
    "promotion": "jenkins/promotion.Jenkinsfile",
}
Kind = Literal["string", "boolean", "password", "choice"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a Jenkins job.

    `managed`: its default comes from the config. No Jenkinsfile declares it (or does so with the build's own value as the
    default), so Jenkins keeps it. The others exist for the first build only, which would drop unknown parameters; that
    build replaces them by what the Jenkinsfile declares.
    """

    name: str
    default: str = ""
    about: str = ""
    kind: Kind = "string"
    managed: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JenkinsJob:
    """A Jenkins pipeline job whose Jenkinsfile is in the pipeline's repository."""

    name: str
    model: str
    repository: str
    branch: str
    credentials: str
    script: str
    parameters: tuple[Parameter, ...]

    @property
    def has_triggers(self) -> bool:
        """Whether a build must have run before a push can start one: only then does Jenkins know what to watch."""
        return self.name in WATCHED

    @property
    def one_at_a_time(self) -> bool:
        """Whether its builds run one at a time. A promotion that waits for approval must not delay a rollback."""
        return self.name in WATCHED


def folder_of(config: Config) -> str:
    """The full name of the folder of this model's Jenkins jobs: `a/b` is a folder in a folder."""
    return config.jenkins.folder.strip("/") or config.model


def jobs_of(config: Config) -> tuple[JenkinsJob, ...]:
    """The Jenkins jobs of this model."""
    server = config.jenkins
    return tuple(
        JenkinsJob(
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


def _watched(job: str, config: Config) -> str:
    """The URL of the job's repository; empty when an earlier job watches it: one push must not start several runs."""
    urls = {name: str(getattr(config.repositories, name)) for name in WATCHED}
    return urls[job] if next(name for name in WATCHED if urls[name] == urls[job]) == job else ""


def _parameters(job: str, config: Config) -> tuple[Parameter, ...]:
    server = config.jenkins
    managed = [
        Parameter("AGENT", server.agent, "label of the agents; empty: any", managed=True),
        Parameter("GIT_CREDENTIALS", server.git_credentials, "credentials for the repositories", managed=True),
        Parameter("SMTP_CREDENTIALS", server.smtp_credentials, "the mail server's password", managed=True),
    ]
    if job == "promotion":
        return (
            *managed,
            Parameter("SUBMITTERS", ",".join(server.submitters), "who may approve; empty: who may build", managed=True),
            Parameter("MODEL", config.model),
            Parameter("VERSION"),
            Parameter("APPROVAL", kind="password"),
            Parameter("ACTION", "promote", kind="choice", choices=("promote", "rollback")),
            Parameter("REASON"),
            Parameter("ALTHOUGH"),
        )
    watched = [
        Parameter("WATCHED_URL", _watched(job, config), "the repository that is watched; empty: none", managed=True),
        Parameter("WATCHED_BRANCH", config.repositories.branch, "its branch", managed=True),
    ]
    if job == "dataset":
        watched.append(Parameter("CRON", server.schedule, "when to retrain without a push; empty: never", managed=True))
    asked = [
        Parameter("FORCE", "false", kind="boolean"),
        Parameter("REASON"),
        Parameter("COMMIT"),
        Parameter("ONLY_PREPARE", "false", kind="boolean"),
    ]
    return (*managed, *watched, *asked)
