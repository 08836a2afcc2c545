"""`trainyard.toml`: read once, at the top. Flag > environment > file > default; every problem is reported at once."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.config.agreement import disagreements
from pipelines.config.check import Setting, names, sections, setting, unknown
from pipelines.config.held import TAKEN, environment_with_held
from pipelines.config.layers import Layers
from pipelines.config.models import FOLDER, NAME, shared_file
from pipelines.config.paths import absolute
from pipelines.config.schema import RENAMED, Config
from registry.errors import ConfigError

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
    hint = "go to the pipeline's repository, or name the file with --config"
    if next(here.glob(f"{FOLDER}/*/{NAME}"), None):
        hint = f"create it beside {FOLDER}/, for what the models there share; it may be empty"
    raise ConfigError(f"no {NAME} in {here} or above", hint=hint)


def load_config(path: Path, environment: Mapping[str, str], overrides: Sequence[str] = ()) -> Config:
    """The settings of the file at `path`, with what its model shares with others; raises ConfigError with every problem.

    `environment` may hold `TRAINYARD_<SECTION>_<KEY>`; `overrides` are `section.key=value`.
    """
    layers = Layers(path, shared_file(path))
    layers.read(_checked)
    given = layers.values
    for problem in (*_from_environment(environment, layers), *_from_overrides(overrides, layers)):
        layers.report(problem)
    faults = dict((*_checked(given), *_missing(given.keys() | layers.refused)))
    for name, problem in faults.items():
        layers.report(problem, name)
    for problem in _others(given, faults.keys() | layers.refused):
        layers.report(problem, _setting_of(problem))
    layers.raise_problems(_hint)
    config = replace(_build(given), file=str(path), shared=str(layers.shared or ""))
    for problem in disagreements(config):
        layers.report(problem, _setting_of(problem))
    layers.raise_problems(lambda _: "see docs/reference/configuration.md", in_order=True)
    return absolute(_in_its_folder(config, layers), layers.folder)


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


def _from_environment(environment: Mapping[str, str], layers: Layers) -> Iterator[str]:
    for name in names():
        text = environment.get(_variable(name))
        if text is not None and not (layers.model and name == "model"):  # there it has chosen the file
            layers.put(name, _parsed(text, setting(name)))
    yield from (f"{_variable(old)}: unknown setting" for old in RENAMED if _variable(old) in environment)


def _from_overrides(overrides: Sequence[str], layers: Layers) -> Iterator[str]:
    for override in overrides:
        name, sign, text = override.partition("=")
        if sign and name == "model" and text != layers.model and layers.model:
            yield f"--set {override}: a model is called as its folder, {FOLDER}/{layers.model}; --model chooses one"
        elif sign and name in names():
            layers.put(name, _parsed(text, setting(name)))
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


def _checked(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Bring each value into its type; yields the names of what is wrong, and how."""
    for name, value in given.items():
        try:
            given[name] = setting(name).read(value)
        except KeyError:
            yield name, unknown(name)
        except ValueError as error:
            yield name, f"{name}: {error}"


def _missing(given: Container[str]) -> Iterator[tuple[str, str]]:
    yield from ((name, f"{name}: missing") for name, needed in names().items() if needed and name not in given)


def _others(given: Mapping[str, Any], faults: AbstractSet[str]) -> Iterator[str]:
    """What else is wrong where the settings in `faults` have no good value: nothing that may come of that."""
    good = {name: value for name, value in given.items() if name not in faults}
    if not faults or any(needed and name not in good for name, needed in names().items()):
        return
    concerned = re.compile("|".join(rf"\b{re.escape(each.partition('.')[0])}\b" for each in faults))
    yield from (problem for problem in disagreements(_build(good)) if not concerned.search(problem))


def _hint(problems: Sequence[str]) -> str:
    renamed = [f"{old} is called {new} now" for old, new in _renamed() if any(old in each for each in problems)]
    return "; ".join([*renamed, "docs/reference/configuration.md lists every setting"])


def _setting_of(problem: str) -> str:
    """The setting that a problem is about: its first words name it."""
    found = re.match(r"\[?(\w+)(?:\.|\] )(\w+)", problem)
    return f"{found[1]}.{found[2]}" if found else problem.partition(":")[0]


def _in_its_folder(config: Config, layers: Layers) -> Config:
    """Where several models name one folder of Jenkins, each has a folder in it."""
    folder = config.jenkins.folder.strip("/")
    if not layers.model or not folder or layers.is_own("jenkins.folder"):
        return config
    return replace(config, jenkins=replace(config.jenkins, folder=f"{folder}/{config.model}"))


def _build(given: Mapping[str, Any]) -> Config:
    values: dict[str, dict[str, Any]] = {section: {} for section in ("", *sections())}
    for name, value in given.items():
        section, _, key = name.rpartition(".")
        values[section][key] = value
    return Config(**values[""], **{section: kind(**values[section]) for section, kind in sections().items()})
