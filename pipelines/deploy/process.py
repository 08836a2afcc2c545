"""The API as a process of this machine, in a folder of the home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.deploy import DEPLOY_SECONDS
from pipelines.deploy.followed import in_words
from pipelines.deploy.serve_job import mirror_folder
from registry.errors import ConfigError
from serving.access.checks import check
from serving.follower_state import read_state
from serving.job import ServeJob
from serving.server import control
from training.fence.rules import lacks


class ProcessDeployment:
    """See Deployment. The images do not matter here: what is installed is installed."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.remedy = f"`trainyard serve {config.model} --stop`, then start it again"
        self._folder = folder
        self._config = config

    def start(self, job: ServeJob, image: ImageKind) -> str:
        del image
        check(job)
        refuse_unfenced(self._config)
        return control.start(job, self._folder)

    def follow(self, job: ServeJob, image: ImageKind, number: int, seconds: float | None = None) -> None:
        self.start(job, image)
        control.await_release(self._folder, number, DEPLOY_SECONDS if seconds is None else seconds)

    def update(self, job: ServeJob, image: ImageKind) -> None:
        """Nothing: a process cannot be replaced without a stop."""

    def refresh(self, job: ServeJob) -> None:
        """Nothing: the API reads the files themselves."""

    def stop(self) -> bool:
        return control.stop(self._folder)

    def running(self) -> str | None:
        return control.running(self._folder)

    def admin(self) -> str:
        return control.admin(self._folder)

    def grpc(self) -> str:
        return control.grpc(self._folder)

    def changed(self, job: ServeJob) -> dict[str, str]:
        return control.changed(job, self._folder)

    def version(self) -> dict[str, Any]:
        return control.status(self._folder)

    def unfenced(self) -> tuple[str, ...]:
        return lacks()

    def parts(self) -> list[str]:
        missing = ", ".join(self.unfenced())
        unfenced = [f"not fenced: this kernel cannot keep the API from {missing}"] if missing else []
        return [*unfenced, *followed(self._config), f"log: {self._folder / 'api.log'}"]


def followed(config: Config) -> list[str]:
    """What the process says that follows a registry in a bucket for the API."""
    folder = mirror_folder(config)
    state = read_state(folder)
    if state is None or not config.registry.url.startswith("s3://"):
        return []
    return [in_words(state, config.registry.url, str(folder / "follower.log"))]


def refuse_unfenced(config: Config) -> None:
    """Raise ConfigError where fences are required, and the kernel cannot fence the API in every respect."""
    if config.runner.require_fence and (missing := lacks()):
        raise ConfigError(
            f"the API of {config.model}: [runner] require_fence: this kernel cannot fence {', '.join(missing)}",
            hint='`trainyard doctor` says what is missing; [serving] deploy = "docker" needs no fence of the kernel',
        )
