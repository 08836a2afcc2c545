"""What several models of one repository cannot have in common: where their APIs listen, and the folder of their Jenkins jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from pipelines.config.schema import Config

PORTS = ("port", "grpc_port", "admin_port")
ANY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104  (nothing listens here)


def clashes(configs: Sequence[Config]) -> Iterator[str]:
    """A line for each pair of models that cannot both work."""
    for one, other in combinations(configs, 2):
        both = f"{one.model} and {other.model}"
        if one.model.casefold() == other.model.casefold():
            yield f"{both}: these names differ in upper and lower case only, which some file systems and people do not see"
        for name, setting, port in _shared_ports(one, other):
            same = f"serving.{name}" if name == setting else f"serving.{name} and serving.{setting}"
            yield f"{both}: {same}: both APIs would listen on port {port}"
        yield from (f"{both}: {each}" for each in folder_clashes(one, other))


def folder_clashes(one: Config, other: Config) -> Iterator[str]:
    """Why the Jenkins jobs of both cannot be made."""
    first, second = (each.jenkins.folder.strip("/") or each.model for each in (one, other))
    if (one.jenkins.url or other.jenkins.url) and one.jenkins.url == other.jenkins.url and first == second:
        yield f"jenkins.folder: the jobs of both would be in {first}"


def _shared_ports(one: Config, other: Config) -> Iterator[tuple[str, str, int]]:
    if _machine(one) != _machine(other):
        return
    for name in PORTS:
        for setting in PORTS:
            port = getattr(one.serving, name)
            if port and port == getattr(other.serving, setting) and _overlap(_host(one, name), _host(other, setting)):
                yield name, setting, port


def _machine(config: Config) -> tuple[str, str]:
    """Where the API runs, as far as the settings say."""
    if config.serving.deploy != "jenkins":
        return "", ""
    return config.jenkins.url, config.jenkins.agent


def _host(config: Config, name: str) -> str:
    return config.serving.admin_host if name == "admin_port" else config.serving.host


def _overlap(one: str, other: str) -> bool:
    return one == other or bool({one, other} & ANY_ADDRESS)
