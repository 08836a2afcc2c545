"""The API as a process of this machine, in a folder of the home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.deploy import DEPLOY_SECONDS
from serving.access.checks import check
from serving.job import ServeJob
from serving.server import control


class ProcessDeployment:
    """See Deployment. The images do not matter here: what is installed is installed."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.remedy = f"`trainyard serve {config.model} --stop`, then start it again"
        self._folder = folder

    def start(self, job: ServeJob, image: ImageKind) -> str:
        del image
        check(job)
        return control.start(job, self._folder)

    def follow(self, job: ServeJob, image: ImageKind, number: int, seconds: float | None = None) -> None:
        self.start(job, image)
        control.await_release(self._folder, number, DEPLOY_SECONDS if seconds is None else seconds)

    def update(self, job: ServeJob, image: ImageKind) -> None:
        """Nothing: a process cannot be replaced without a stop."""

    def stop(self) -> bool:
        return control.stop(self._folder)

    def running(self) -> str | None:
        return control.running(self._folder)

    def admin(self) -> str:
        return control.admin(self._folder)

    def changed(self, job: ServeJob) -> dict[str, str]:
        return control.changed(job, self._folder)

    def version(self) -> dict[str, Any]:
        return control.status(self._folder)

    def parts(self) -> list[str]:
        return [f"log: {self._folder / 'api.log'}"]
