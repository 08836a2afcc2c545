"""The folder and the Jenkins jobs of a model, as the config defines them."""

from __future__ import annotations

from typing import Literal

from pipelines.config.models import VARIABLE
from pipelines.config.schema import Config
from registry.dataclass import dataclass

WATCHED = ("code", "dataset", "tests")
SCRIPTS = {
    "code": "Jenkinsfile",
    "dataset": "jenkins/dataset.Jenkinsfile",
    "tests": "jenkins/unit_tests.Jenkinsfile",
    "promotion": "jenkins/promotion.Jenkinsfile",
    "batch": "jenkins/batch.Jenkinsfile",
    "monitor": "jenkins/monitor.Jenkinsfile",
}
"""Job → its Jenkinsfile. `batch` is only made when `[batch]` names an input and an output, `monitor` with `[schedule] monitor`."""
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
        """Whether a build must have run before a push or the clock can start one: only then does Jenkins know of them."""
        return self.name != "promotion"

    @property
    def one_at_a_time(self) -> bool:
        """Whether its builds run one at a time. A promotion that waits for approval must not delay a rollback."""
        return self.name != "promotion"


def folder_of(config: Config) -> str:
    """The full name of the folder of this model's Jenkins jobs: `a/b` is a folder in a folder."""
    return config.jenkins.folder.strip("/") or config.model


def folders_of(config: Config) -> dict[str, str]:
    """Each folder on the path to the Jenkins jobs, from the top, with the model whose jobs are in it; empty: several models'."""
    parts = folder_of(config).split("/")
    names = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return {name: "" if config.shared and name != names[-1] else config.model for name in names}


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
        if _is_wanted(name, config)
    )


def _is_wanted(job: str, config: Config) -> bool:
    if job == "batch":
        return bool(config.batch.input and config.batch.output)
    return job != "monitor" or bool(config.schedule.monitor)


def monitor_cron(config: Config) -> str:
    """When Jenkins starts the job `monitor`, in its own syntax."""
    return f"TZ={config.schedule.timezone}\n{config.schedule.monitor}"


def _watched(job: str, config: Config) -> str:
    """The URL of the job's repository; empty when an earlier job watches it: one push must not start several runs."""
    places = {name: config.repositories.place_of(name) for name in WATCHED}
    return places[job][0] if next(name for name in WATCHED if places[name] == places[job]) == job else ""


def _parameters(job: str, config: Config) -> tuple[Parameter, ...]:
    server = config.jenkins
    managed = [
        Parameter("AGENT", server.agent, "label of the agents; empty: any", managed=True),
        Parameter("GIT_CREDENTIALS", server.git_credentials, "credentials for the repositories", managed=True),
        Parameter("SMTP_CREDENTIALS", server.smtp_credentials, "the mail server's password", managed=True),
    ]
    if config.shared:  # the shell has the parameters of its build in its environment
        managed.append(Parameter(VARIABLE, config.model, "the model's folder in models/", managed=True))
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
    if job == "batch":
        return (
            *managed,
            Parameter("MODEL", config.model, "as in trainyard.toml", managed=True),
            Parameter("CRON", config.batch.schedule, "when to predict; empty: never", managed=True),
            Parameter("ONLY_PREPARE", "false", kind="boolean"),
            Parameter("VERSION"),
            Parameter("INPUT"),
            Parameter("SHARD"),
            Parameter("RESUME"),
        )
    if job == "monitor":
        return (
            *managed,
            Parameter("MODEL", config.model, "as in trainyard.toml", managed=True),
            Parameter("CRON", monitor_cron(config), "when to check; empty: never", managed=True),
            Parameter("ONLY_PREPARE", "false", kind="boolean"),
        )
    watched = [
        Parameter("WATCHED_URL", _watched(job, config), "the repository that is watched; empty: none", managed=True),
        Parameter("WATCHED_BRANCH", config.repositories.branch_of(job), "its branch", managed=True),
    ]
    if folder := config.repositories.folder_of(job):
        watched.append(Parameter("WATCHED_FOLDER", folder, "the folder whose changes start the job", managed=True))
    if job == "dataset":
        watched.append(Parameter("CRON", server.schedule, "when to retrain without a push; empty: never", managed=True))
        watched.append(Parameter("OCCASION"))
    asked = [
        Parameter("FORCE", "false", kind="boolean"),
        Parameter("REASON"),
        Parameter("COMMIT"),
        Parameter("ONLY_PREPARE", "false", kind="boolean"),
    ]
    return (*managed, *watched, *asked)
