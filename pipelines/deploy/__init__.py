"""Where the production API runs: as a process of this machine, or in a container of the Docker engine; or wherever
Jenkins' promotion job starts it, as one of the two.

Promotion and the commands know only `Deployment`. A release needs no deployment of its own: every worker of the API follows
the registry. What differs is how the API is started, replaced and asked.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from registry.errors import ConfigError
from serving.job import ServeJob

DEPLOY_SECONDS = 120.0
"""Until every worker has loaded, warmed and swapped; large models take a while."""
DEPLOYMENTS = {
    "process": "pipelines.deploy.process:ProcessDeployment",
    "docker": "pipelines.deploy.container:ContainerDeployment",
}


class Deployment(Protocol):
    """The production API of one model. All methods raise TryAgain when the engine, where there is one, is away."""

    remedy: str
    """What gives a running API other settings: an end of a sentence, for people."""

    def start(self, job: ServeJob, image: ImageKind) -> str:
        """Start the API and wait until it answers, be it that it has no model; its URL. No-op when it runs.

        Raises ConfigError (port in use, no image, it runs on another registry, …), WorkerFailed when it ends, TryAgain
        when it does not answer in time.
        """

    def follow(self, job: ServeJob, image: ImageKind, number: int, seconds: float = DEPLOY_SECONDS) -> None:
        """Wait until every worker answers with release `number` or a later one, or has withdrawn the model by it.

        The API is started if need be, and replaced when it lacks what `image` has. Raises WorkerFailed with the workers'
        reasons when one cannot load the release, TryAgain when it takes longer than `seconds`. What answered before
        answers on in either case.
        """

    def update(self, job: ServeJob, image: ImageKind) -> None:
        """Give the running API the settings in `job` and the current image, where that is possible without a stop.

        Raises WorkerFailed or TryAgain; then the API keeps running as it was.
        """

    def refresh(self, job: ServeJob) -> None:
        """Have the running API see tokens, certificate and key as they are now, where it has copies of them."""

    def stop(self) -> bool:
        """Stop it: requests in flight are answered, then whatever is left is killed. False: none ran."""

    def running(self) -> str | None:
        """The URL of the API that runs, or None."""

    def admin(self) -> str:
        """The URL of the operator's port of the API that runs; empty when there is none."""

    def grpc(self) -> str:
        """`host:port` at which it speaks gRPC; empty when it does not."""

    def changed(self, job: ServeJob) -> dict[str, str]:
        """How the API that runs differs from `job`, by setting: {"port": "port 8500, not 9000"}."""

    def version(self) -> dict[str, Any]:
        """What it serves, as `worker_status.of_all`; raises TryAgain when none runs.

        Never asked through the port of the prediction clients: they can fill it.
        """

    def unfenced(self) -> tuple[str, ...]:
        """What the kernel cannot keep the API from, where it is fenced by the kernel; empty: everything is kept from it."""

    def parts(self) -> list[str]:
        """What the API consists of, for people: where its log is; which containers there are, and how they are."""


def open_deployment(config: Config) -> Deployment:
    """What `[serving] deploy` names; raises ConfigError for an API that only Jenkins starts."""
    if config.serving.deploy == "jenkins":
        raise ConfigError(
            '[serving] deploy = "jenkins": the API runs where Jenkins\' promotion job starts it',
            hint=f"on that machine `trainyard serve {config.model} --status --here` shows it; promote and rollback "
            "start the job, from anywhere",
        )
    module, _, name = DEPLOYMENTS[config.serving.deploy].partition(":")
    return cast("Deployment", getattr(import_module(module), name)(config, api_folder(config)))


def config_here(config: Config) -> Config:
    """The settings with which Jenkins' promotion job, or a person on its machine, starts and reaches the API."""
    if config.serving.deploy != "jenkins":
        return config
    return replace(config, serving=replace(config.serving, deploy=config.jenkins.deploy))


def api_folder(config: Config) -> Path:
    """Where the API of this model keeps its state and its log."""
    return Path(config.home) / "serving" / config.model
