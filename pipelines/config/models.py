"""Several models in one pipeline repository: `models/<name>/trainyard.toml`, beside a `trainyard.toml` with what they share.

A `trainyard.toml` that names a model itself is the file of that one model, whatever lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from registry import toml
from registry.dataclass import dataclass
from registry.errors import ConfigError

NAME = "trainyard.toml"
FOLDER = "models"
VARIABLE = "TRAINYARD_MODEL"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command says of the model that it is about; each may be empty."""

    flag: str = ""
    """`--model NAME`"""
    config: str = ""
    """`--config FILE`"""
    argument: str = ""
    """As in `trainyard promote NAME 3`."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The files of the models that a command is about: one, or all of the repository when none is named."""

    files: tuple[Path, ...]
    shared: Path | None = None
    """The file with what several models share; None: the repository has one model."""
    by_environment: bool = False
    """Whether the variable has chosen it."""


def shared_file(file: Path) -> Path | None:
    """The file with the settings that the model of this file shares with others; None when the file is all there is."""
    folder = file.parent.parent
    above = folder.parent / NAME
    return above if folder.name == FOLDER and file.name == NAME and _is_shared(above) else None


def model_files(shared: Path) -> dict[str, Path]:
    """The models that share a file, by name; none for the file of a single model."""
    if not (shared.parent / FOLDER).is_dir() or not _is_shared(shared):
        return {}
    return {each.parent.name: each for each in sorted((shared.parent / FOLDER).glob(f"*/{NAME}"))}


def choose(found: Path, environment: Mapping[str, str], asked: Asked, *, others: bool = False) -> Chosen:
    """The models that a command is about, where `found` is the file that it found or was given. With `others` its own MODEL may be
    one that is not of this repository.

    By rank: `--model`, `--config` with the file of a model, `TRAINYARD_MODEL`, the command's own MODEL, the folder in which it
    runs. Raises ConfigError for a name that no model has.
    """
    own = shared_file(found)
    shared = own or found
    models = model_files(shared)
    if not models:
        return Chosen((found,))
    if own and asked.config:
        if asked.flag not in {"", found.parent.name}:
            raise ConfigError(
                f"--model {asked.flag}, but --config {asked.config} is the file of {found.parent.name}",
                hint="leave out one of them",
            )
        return Chosen((found,), shared)
    variable = "" if asked.flag else environment.get(VARIABLE, "")
    argument = "" if others and asked.argument not in models else asked.argument
    name = asked.flag or variable or argument or (found.parent.name if own else "")
    if not name:
        return Chosen(tuple(models.values()), shared)
    if name not in models:
        raise _unknown(name, shared, models)
    return Chosen((models[name],), shared, by_environment=bool(variable))


def must_be_one(chosen: Chosen) -> Path:
    """The file of the one model that was named; raises ConfigError, which lists them, when none was."""
    if len(chosen.files) == 1:
        return chosen.files[0]
    raise ConfigError(f"which model? There are {names(chosen.files)}", hint="--model NAME chooses one")


def names(files: tuple[Path, ...]) -> str:
    """The models of these files, for a person."""
    return ", ".join(each.parent.name for each in files)


def _is_shared(file: Path) -> bool:
    """Whether the file is there, and names no model."""
    try:
        return "model" not in toml.read(file)
    except OSError:
        return False
    except ValueError:  # not TOML: reading the settings says what is wrong
        return True


def _unknown(name: str, shared: Path, models: Mapping[str, Path]) -> ConfigError:
    lacks = name in {each.name for each in (shared.parent / FOLDER).iterdir() if each.is_dir()}
    said = f": {FOLDER}/{name} has no {NAME}" if lacks else ""
    return ConfigError(
        f"{shared.parent} has no model {name!r:.100}{said}", hint=f"its models: {names(tuple(models.values()))}"
    )
