"""`trainyard.toml`: read once, at the top. Flag > environment > file > default; every problem is reported at once."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.config.addresses import is_http, parted
from pipelines.config.check import Setting, disagreements, names, sections, setting, unknown
from pipelines.config.held import TAKEN, environment_with_held
from pipelines.config.run_sections import Repositories
from pipelines.config.schema import RENAMED, Config, Registry
from registry import toml
from registry.errors import ConfigError

NAME = "trainyard.toml"
NOT_OURS = {"TRAINYARD_SERVE_IMAGE"}
"""Variables of the Compose file that only look like settings."""


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
    """The settings of the file at `path`; raises ConfigError with every problem.

    `environment` may hold `TRAINYARD_<SECTION>_<KEY>`; `overrides` are `section.key=value`.
    """
    given: dict[str, Any] = {}
    problems = [
        *_from_file(path, given),
        *_from_environment(environment, given),
        *_from_overrides(overrides, given),
        *_checked(given),
    ]
    if problems:
        renamed = [f"{old} is called {new} now" for old, new in _renamed() if any(old in each for each in problems)]
        hint = "; ".join([*renamed, "docs/reference/configuration.md lists every setting"])
        raise ConfigError(f"{path}: " + "; ".join(sorted(problems)), hint=hint)
    config = _build(given)
    if problems := list(disagreements(config)):
        raise ConfigError(f"{path}: " + "; ".join(problems), hint="see docs/reference/configuration.md")
    return _absolute(config, path)


def mistyped(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each variable that nothing reads, and whose name is almost that of one that is read."""
    ours = [f"TRAINYARD_{name}{end}" for name in TAKEN for end in ("", "_FILE")]
    known = {*map(_variable, names()), *ours, "TRAINYARD_CONFIG"}
    found = []
    for name in sorted(environment):
        if name.startswith("TRAINYARD_") and name not in known | NOT_OURS:
            import difflib  # hardly anybody mistypes

            near = difflib.get_close_matches(name, known, 1, cutoff=0.88)
            found += (
                [f"{name} in the environment is not a setting, and is ignored: did you mean {near[0]}?"] if near else []
            )
    return tuple(found)


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """The secret `TRAINYARD_<name>`, or the content of the file that `TRAINYARD_<name>_FILE` names; "" when unset."""
    environment = environment_with_held(environment)
    if file := environment.get(f"TRAINYARD_{name}_FILE"):
        try:
            return _content(file)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"TRAINYARD_{name}_FILE: cannot read {file}: {error}", hint="name a readable text file"
            ) from None
    return environment.get(f"TRAINYARD_{name}", "")


def secret_source(name: str) -> str | None:
    """Which variable of this process's environment gives the secret: "" for `TRAINYARD_<name>`, "_FILE"; None: neither."""
    environment = environment_with_held(os.environ)
    return next((end for end in ("_FILE", "") if environment.get(f"TRAINYARD_{name}{end}")), None)


@functools.cache
def _content(file: str) -> str:
    """Read once: what somebody puts there later is not the secret that this process works with."""
    return Path(file).read_text(encoding="utf-8-sig").strip()


def _from_file(path: Path, given: dict[str, Any]) -> Iterator[str]:
    """Put the file's values into `given`, by their full names; yields what is wrong."""
    try:
        raw = toml.read(path)
    except OSError as error:
        hint = "name the file with --config; when a push shows this: `trainyard hooks install` in the folder that has it now"
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from None
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}", hint="correct the file; texts need quotes") from None
    for key, value in raw.items():
        if key not in sections():
            given[key] = value
        elif isinstance(value, dict):
            given |= {f"{key}.{name}": each for name, each in value.items()}
        else:
            yield f"{key}: {value!r} is not a section, write [{key}]"


def _from_environment(environment: Mapping[str, str], given: dict[str, Any]) -> Iterator[str]:
    for name in names():
        text = environment.get(_variable(name))
        if text is not None:
            given[name] = _parsed(text, setting(name))
    yield from (f"{_variable(old)}: unknown setting" for old in RENAMED if _variable(old) in environment)


def _from_overrides(overrides: Sequence[str], given: dict[str, Any]) -> Iterator[str]:
    for override in overrides:
        name, sign, text = override.partition("=")
        if sign and name in names():
            given[name] = _parsed(text, setting(name))
        elif sign:
            yield f"--set {unknown(name)}"
        else:
            yield f"--set {override}: write --set section.key=value"


def _variable(name: str) -> str:
    return f"TRAINYARD_{name}".replace(".", "_").upper()


def _renamed() -> Iterator[tuple[str, str]]:
    """Old and new names, as a file and as the environment have them."""
    for old, new in RENAMED.items():
        yield old, new
        yield _variable(old), _variable(new)


def _parsed(text: str, wanted: Setting) -> Any:
    """A text stays one; everything else is read as JSON (20, 0.9, ["a"]), and left to the type check when it is not."""
    if wanted.kind is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _checked(given: dict[str, Any]) -> Iterator[str]:
    """Bring each value into its type; yields what is wrong or missing."""
    for name, value in given.items():
        try:
            given[name] = setting(name).read(value)
        except KeyError:
            yield unknown(name)
        except ValueError as error:
            yield f"{name}: {error}"
    yield from (f"{name}: missing" for name, needed in names().items() if needed and name not in given)


def _build(given: Mapping[str, Any]) -> Config:
    values: dict[str, dict[str, Any]] = {section: {} for section in ("", *sections())}
    for name, value in given.items():
        section, _, key = name.rpartition(".")
        values[section][key] = value
    return Config(**values[""], **{section: kind(**values[section]) for section, kind in sections().items()})


def _absolute(config: Config, path: Path) -> Config:
    """Paths in the file are relative to the file, wherever the command is run."""

    def absolute(name: str) -> str:
        return str((path.parent / Path(name).expanduser()).resolve())

    home, url, sources = absolute(config.home), config.registry.url, config.repositories
    if url == Registry().url:
        url = f"file://{home}/registry"
    elif url.startswith("file://"):
        url = f"file://{(path.parent / url.removeprefix('file://')).resolve()}"
    archive = config.registry.archive
    if archive and not archive.startswith("s3://"):
        archive = f"file://{absolute(archive.removeprefix('file://'))}"
    shared = config.cache.url
    if shared.startswith("file://"):
        shared = f"file://{(path.parent / shared.removeprefix('file://')).resolve()}"
    found = _repositories(sources, path)
    if store := sources.data_store.removeprefix("file://"):
        found["data_store"] = store if "://" in store else absolute(store)
    mail, server, serving = config.mail, config.jenkins, config.serving
    if serving.certfile:  # not resolved: certbot replaces a link
        certfile, keyfile = (
            os.path.abspath(path.parent / Path(each).expanduser()) for each in (serving.certfile, serving.keyfile)
        )
        serving = dataclasses.replace(serving, certfile=certfile, keyfile=keyfile)
    tracking = config.tracking
    if tracking.openlineage and not is_http(tracking.openlineage):
        tracking = dataclasses.replace(tracking, openlineage=absolute(tracking.openlineage))
    if mail.ca_file:
        mail = dataclasses.replace(mail, ca_file=absolute(mail.ca_file))
    if server.ca_file:
        server = dataclasses.replace(server, ca_file=absolute(server.ca_file))
    return dataclasses.replace(
        config,
        home=home,
        serving=serving,
        mail=mail,
        jenkins=server,
        tracking=tracking,
        file=str(path),
        registry=dataclasses.replace(config.registry, url=url, archive=archive),
        cache=dataclasses.replace(config.cache, url=shared),
        repositories=dataclasses.replace(sources, **found),
    )


def _repositories(sources: Repositories, path: Path) -> dict[str, Any]:
    """Where the three repositories are, and which folders of them are meant."""
    found: dict[str, Any] = {}
    for name in ("code", "dataset", "tests"):
        each = getattr(sources, name)
        if not (path.parent / each).exists():  # a folder may have the sign in its name
            each, folder = parted(each)
            found |= {f"{name}_folder": folder} if folder else {}
        found[name] = each if _is_url(each) else str((path.parent / each).resolve())
    return found


def _is_url(repository: str) -> bool:
    """`https://…`, `ssh://…` or git's own `user@host:path`."""
    head = repository.partition("/")[0]
    return "://" in repository or ":" in head
