"""`trainyard.toml`: read once, at the top. Flag > environment > file > default; all faults are told together."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.config.schema import Config
from registry.errors import ConfigError
from registry.records import DIRECTION

NAME = "trainyard.toml"
# Inclusive limits. A setting outside them can only be a slip.
BOUNDS: dict[str, tuple[float, float]] = {
    "training.epochs": (1, 100_000),
    "training.batch_size": (1, 65_536),
    "training.max_attempts": (1, 100),
    "training.patience": (1, 100_000),
    "training.seed": (0, 2**31 - 1),
    "retraining.epochs": (1, 100_000),
    "retraining.learning_rate": (0, 1_000),
    "gate.min_samples": (1, 10**9),
    "gate.max_drop": (0, float("inf")),
    "acceptance.timeout_seconds": (1, 86_400),
    "acceptance.load_seconds": (0.1, 3_600),
    "acceptance.concurrency": (1, 256),
    "approval.valid_days": (0.001, 365),
    "mail.port": (1, 65_535),
    "mail.timeout_seconds": (0.1, 600),
    "serving.port": (0, 65_535),
    "serving.workers": (1, 128),
    "serving.threads": (1, 256),
    "serving.max_body_mb": (1, 1_024),
    "serving.max_instances": (1, 100_000),
    "serving.timeout_seconds": (1, 3_600),
    "runner.memory_mb": (0, 10**8),
    "runner.timeout_minutes": (0.01, 60 * 24 * 14),
    "runner.disk_mb": (0, 10**8),
    "runner.cpus": (0, 4096),
    "runner.pids": (16, 4 * 10**6),
    "jenkins.timeout_seconds": (0.1, 600),
}
NOT_SETTINGS = {"file"}
PLACES = {"host", "port", "deploy", "registry_volume"}
# For https a user name may be a token; for ssh it is the name of an account.
SECRET_IN_URL = re.compile(r"^https?://.*@|://[^/@:]*:[^/@]*@", re.IGNORECASE | re.DOTALL)
SECRETS = ("APPROVAL_SECRET", "SMTP_PASSWORD", "JENKINS_TOKEN", "JENKINS_NOTIFY_TOKEN")


def find_config(given: str | None, environment: Mapping[str, str]) -> Path:
    """The file named by flag or `TRAINYARD_CONFIG`, else `trainyard.toml` here or in a folder above."""
    if given or environment.get("TRAINYARD_CONFIG"):
        return Path(given or environment["TRAINYARD_CONFIG"]).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / NAME).is_file():
            return folder / NAME
    raise ConfigError(
        f"no {NAME} in {here} or above", hint="go to the pipeline's repository, or name the file with --config"
    )


def load_config(path: Path, environment: Mapping[str, str], overrides: Sequence[str] = ()) -> Config:
    """The settings of the file at `path`; raises ConfigError with every fault.

    `environment` may hold `TRAINYARD_<SECTION>_<KEY>`; `overrides` are `section.key=value`.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name the file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}", hint="text values need quotes") from None
    faults: list[str] = []
    _from_environment(raw, environment)
    _from_overrides(raw, overrides, faults)
    values = _section(Config, raw, "", faults)
    faults += _out_of_bounds(raw)
    if faults:
        raise ConfigError(
            f"{path}: " + "; ".join(sorted(faults)), hint="`trainyard config show` lists every setting with its value"
        )
    config: Config = _build(Config, values)
    faults += _cross_checks(config)
    if faults:
        raise ConfigError(f"{path}: " + "; ".join(faults), hint="see docs/reference/configuration.md")
    return _absolute(config, path)


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """The secret `TRAINYARD_<name>`, or the content of the file that `TRAINYARD_<name>_FILE` names; "" when unset."""
    if file := environment.get(f"TRAINYARD_{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"TRAINYARD_{name}_FILE: cannot read {file}: {error}", hint="name a readable text file"
            ) from None
    return environment.get(f"TRAINYARD_{name}", "")


def _settings(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name not in NOT_SETTINGS}


def _section(kind: Any, raw: Mapping[str, Any], prefix: str, faults: list[str]) -> dict[str, Any]:
    wanted = _settings(kind)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = f"{prefix}{key}"
        if key not in wanted:
            near = difflib.get_close_matches(key, wanted, 1)
            faults.append(f"{name}: unknown setting" + (f", did you mean {prefix}{near[0]}?" if near else ""))
        elif dataclasses.is_dataclass(wanted[key]):
            if isinstance(value, dict):
                values[key] = _section(wanted[key], value, f"{name}.", faults)
            else:
                faults.append(f"{name}: {value!r} is not a section, write [{name}]")
        else:
            values[key] = _value(wanted[key], value, name, faults)
    for each in dataclasses.fields(kind):
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and each.name not in raw:
            faults.append(f"{prefix}{each.name}: missing")
    return values


def _value(kind: Any, value: Any, name: str, faults: list[str]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        kind = next(each for each in arguments if each is not type(None))
    if origin is typing.Literal:
        if value not in arguments:
            faults.append(f"{name}: {value!r} is not one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        value = [value] if isinstance(value, str) and name == "mail.to" else value
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            faults.append(f"{name}: {value!r} is not a list of texts")
            return ()
        return tuple(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        word = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
        faults.append(f"{name}: {value!r} is not {word}")
    return value


def _build(kind: Any, values: dict[str, Any]) -> Any:
    hints = _settings(kind)
    return kind(
        **{
            name: _build(hints[name], each) if dataclasses.is_dataclass(hints[name]) else each
            for name, each in values.items()
        }
    )


def _from_environment(raw: dict[str, Any], environment: Mapping[str, str]) -> None:
    for section, kind in _settings(Config).items():
        if not dataclasses.is_dataclass(kind):
            _put(raw, (section,), kind, environment.get(f"TRAINYARD_{section}".upper()))
            continue
        for key, hint in _settings(kind).items():
            _put(raw, (section, key), hint, environment.get(f"TRAINYARD_{section}_{key}".upper()))


def _from_overrides(raw: dict[str, Any], overrides: Sequence[str], faults: list[str]) -> None:
    for override in overrides:
        name, sign, text = override.partition("=")
        path = tuple(name.split("."))
        hint: Any = Config
        for part in path:
            hint = _settings(hint).get(part) if dataclasses.is_dataclass(hint) else None
        if not sign or hint is None or dataclasses.is_dataclass(hint):
            faults.append(f"--set {override}: write --set section.key=value")
            continue
        _put(raw, path, hint, text)


def _put(raw: dict[str, Any], path: tuple[str, ...], kind: Any, text: str | None) -> None:
    """Texts stay texts; everything else is read as JSON (20, 0.9, ["a"]), and left to the type check when it is not."""
    if text is None:
        return
    value: Any = text
    if kind is not str and typing.get_origin(kind) is not typing.Literal:
        try:
            value = json.loads(text)
        except ValueError:
            value = text
    for part in path[:-1]:
        raw = raw.setdefault(part, {})
        if not isinstance(raw, dict):
            return  # told as "is not a section"
    raw[path[-1]] = value


def _out_of_bounds(raw: Mapping[str, Any]) -> list[str]:
    faults = []
    for name, (low, high) in BOUNDS.items():
        section, _, key = name.partition(".")
        value = raw[section].get(key) if isinstance(raw.get(section), dict) else None
        if isinstance(value, (int, float)) and not low <= value <= high:
            faults.append(f"{name}: {value} is not between {low:g} and {high:g}")
    return faults


def _cross_checks(config: Config) -> list[str]:
    faults = []
    if (
        not config.model.replace("-", "").replace("_", "").isalnum()
        or not config.model[:1].isalnum()
        or len(config.model) > 64
    ):
        faults.append(
            f"model: {config.model!r} may hold letters, digits, - and _ only, at most 64, and starts with no sign"
        )
    faults += [
        f"repositories.{name}: empty"
        for name in ("code", "dataset", "tests", "branch")
        if not getattr(config.repositories, name)
    ]
    if config.gate.metric not in DIRECTION:
        faults.append(f"gate.metric: {config.gate.metric!r} is not one of {', '.join(DIRECTION)}")
    faults += [
        f"repositories.{name}: holds a user name or a password; git's credential helper or a deploy key keeps it out of "
        "logs (an @ that belongs to the path is written %40)"
        for name in ("code", "dataset", "tests")
        if SECRET_IN_URL.search(getattr(config.repositories, name))
    ]
    faults += [
        f"jenkins.{name}: holds a user name or a password; name Jenkins' credentials in jenkins.git_credentials, and put "
        "your API token into TRAINYARD_JENKINS_TOKEN"
        for name in ("url", "repository")
        if SECRET_IN_URL.search(getattr(config.jenkins, name))
    ]
    if config.mail.security == "none" and config.mail.host not in {"", "localhost", "127.0.0.1", "::1"}:
        faults.append('mail.security: "none" is for a server on this machine only')
    return faults


def _absolute(config: Config, path: Path) -> Config:
    """Paths in the file are relative to the file, wherever the command is run."""
    folder = path.parent
    home = str((folder / Path(config.home).expanduser()).resolve())
    url = config.registry.url
    if url == type(config.registry)().url:
        url = f"file://{home}/registry"
    elif url.startswith("file://"):
        url = f"file://{(folder / url.removeprefix('file://')).resolve()}"
    places: dict[str, Any] = {
        name: getattr(config.repositories, name)
        if _is_url(getattr(config.repositories, name))
        else str((folder / getattr(config.repositories, name)).resolve())
        for name in ("code", "dataset", "tests")
    }
    mail, server = config.mail, config.jenkins
    if mail.ca_file:
        mail = dataclasses.replace(mail, ca_file=str((folder / Path(mail.ca_file).expanduser()).resolve()))
    if server.ca_file:
        server = dataclasses.replace(server, ca_file=str((folder / Path(server.ca_file).expanduser()).resolve()))
    return dataclasses.replace(
        config,
        home=home,
        mail=mail,
        jenkins=server,
        file=str(path),
        registry=dataclasses.replace(config.registry, url=url),
        repositories=dataclasses.replace(config.repositories, **places),
    )


def _is_url(place: str) -> bool:
    """`https://…`, `ssh://…` or git's own `user@host:path`."""
    head = place.partition("/")[0]
    return "://" in place or ":" in head


def outcome_settings(config: Config) -> dict[str, Any]:
    """The settings that can change what a run finds out; their hash is part of the run's id."""
    return {
        "training": dataclasses.asdict(config.training),
        "retraining": dataclasses.asdict(config.retraining),
        "gate": dataclasses.asdict(config.gate),
        "acceptance": dataclasses.asdict(config.acceptance),
        "serving": {key: value for key, value in dataclasses.asdict(config.serving).items() if key not in PLACES},
        "runner": [config.runner.kind, config.runner.image],
    }
