"""The checks of `trainyard doctor`, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.doctor import console, docker, labels, machine, monitoring, repositories, services
from pipelines.doctor.finding import Check

OF_THE_PLACE = {
    "home", "disk", "memory", "registry", "signatures", "approval secret", "fence", "docker", "docker images", "docker disk",
}  # fmt: skip
"""Those that find the same for each model of a repository with one home, registry and runner."""


def without_config() -> Mapping[str, Check]:
    """What every installation needs."""
    return {"python": machine.python, "packages": machine.packages, "git": machine.git_version}


def of_the_place(config: Config) -> Mapping[str, Check]:
    """What the models that share this config's home, registry and runner need of them."""
    return {name: check for name, check in of_config(config).items() if name in OF_THE_PLACE}


def of_model(config: Config) -> Mapping[str, Check]:
    """What the model of this config needs beside that."""
    return {name: check for name, check in of_config(config).items() if name not in OF_THE_PLACE}


def of_config(config: Config) -> Mapping[str, Check]:
    """What this config needs."""
    home = Path(config.home)
    checks: dict[str, Check] = {
        "repository code": partial(services.repository, config, "code"),
        "repository dataset": partial(services.repository, config, "dataset"),
        "repository tests": partial(services.repository, config, "tests"),
        "files of code": partial(repositories.files, config, "code"),
        "files of dataset": partial(repositories.files, config, "dataset"),
        "files of tests": partial(repositories.files, config, "tests"),
        "unimportant": partial(repositories.unimportant, config),
        "trusted": partial(repositories.trusted, config),
        "hooks": partial(repositories.hooks, config),
        "home": partial(machine.home_folder, home),
        "disk": partial(machine.disk, home, config.registry.url),
        "memory": partial(machine.memory, config.runner.memory_mb),
        "registry": partial(services.registry, config),
        "signatures": partial(services.signatures, config),
        "versions": partial(services.versions, config),
        "mail": partial(services.mail, config),
        "approval secret": partial(services.approvals, home),
        "approvers": partial(services.approvers, config),
        "serving": partial(services.serving, config),
        "access": partial(services.access, config),
        "monitoring": partial(monitoring.monitoring, config),
        "labels": partial(labels.labels, config),
    }
    if config.tracking.mlflow or config.tracking.openlineage:
        checks["other tools"] = partial(services.other_tools, config)
    if console.is_used(config):
        checks["console"] = partial(console.console, config)
    runner, api = (kind == "docker" for kind in (config.runner.kind, config.serving.deploy))
    if not runner or config.serving.deploy == "process":
        checks["fence"] = partial(machine.fence, required=config.runner.require_fence)
    checks["docker"] = partial(docker.engine, needed=runner or api)
    if runner:
        checks["docker files"] = partial(docker.files, config)
    if runner or api:
        checks["docker images"] = partial(docker.images, config)
        checks["docker disk"] = docker.disk
    return checks
