"""What a value must be to serve as a setting: its type and its bounds. No files, no environment."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from pipelines.config.bounds import ONE_OR_MORE, Between
from pipelines.config.nested import WORDS, is_nested, read_nested
from pipelines.config.schema import NOT_SETTINGS, RENAMED, Config
from registry.dataclass import dataclass, types_of

MOST_NAMES = 10_000
"""In a table of names."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: `kind` is str, int, float, bool, tuple (of texts), dict (of names and one of `choices` each), or a type that
    `pipelines.config.nested` reads."""

    kind: Any
    choices: tuple[str, ...] = ()
    bounds: Between | None = None
    one_or_more: bool = False
    required: bool = False

    def read(self, value: Any) -> Any:
        """The value as the config holds it; raises ValueError that says what is wrong with it."""
        if self.kind is dict:
            return self._table(value)
        if is_nested(self.kind):
            return read_nested(self.kind, value)
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{value!r} is not one of {', '.join(map(repr, self.choices))}")
        elif self.kind is tuple:
            value = [value] if isinstance(value, str) and self.one_or_more else value
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise ValueError(f"{value!r} is not a list of texts")
            return tuple(value)
        elif type(value) is not self.kind and (self.kind, type(value)) != (float, int):
            raise ValueError(f"{value!r} is not {WORDS[self.kind]}")
        if self.kind is float and math.isnan(value):
            raise ValueError(f"{value} is not a number")
        if self.bounds and not self.bounds.low <= value <= self.bounds.high:
            raise ValueError(f"{value} is not between {self.bounds.low:g} and {self.bounds.high:g}")
        return float(value) if self.kind is float else value

    def _table(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r:.200} is not a table of names")  # noqa: TRY004  (as of every setting)
        if len(value) > MOST_NAMES:
            raise ValueError(f"{len(value)} names are too many, at most {MOST_NAMES}")
        for name, each in value.items():
            if each not in self.choices:
                raise ValueError(f"{name!r:.100}: {each!r:.100} is not one of {', '.join(map(repr, self.choices))}")
        return dict(value)


@functools.cache
def sections() -> Mapping[str, Any]:
    """Section → the dataclass that holds its settings."""
    kinds = {name: _without_extras(hint) for name, hint in types_of(Config).items()}
    return {name: kind for name, kind in kinds.items() if dataclasses.is_dataclass(kind)}


@functools.cache
def names() -> Mapping[str, bool]:
    """Name, e.g. `gate.threshold` → whether it must be given."""
    found = {}
    for section, kind in {"": Config, **sections()}.items():
        for each in dataclasses.fields(kind):
            if section or each.name not in sections().keys() | NOT_SETTINGS:
                needed = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
                found[f"{section}.{each.name}" if section else each.name] = needed
    return found


def settings() -> Mapping[str, Setting]:
    """Name → what its value must be."""
    return {name: setting(name) for name in names()}


@functools.cache
def setting(name: str) -> Setting:
    """What the value of a setting must be; raises KeyError. Most settings are not given, and are not asked about."""
    required = names()[name]
    section, _, key = name.rpartition(".")
    bounds: Mapping[str, Between] = {}
    if section:
        bounds, *_ = getattr(types_of(Config)[section], "__metadata__", ({},))
    found = _setting(types_of(sections()[section] if section else Config)[key], required=required)
    return dataclasses.replace(found, bounds=bounds[key]) if key in bounds else found


def _without_extras(hint: Any) -> Any:
    return hint.__origin__ if hasattr(hint, "__metadata__") else hint


def _setting(hint: Any, *, required: bool) -> Setting:
    extras = getattr(hint, "__metadata__", ())
    hint = _without_extras(hint)
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        hint, _ = typing.get_args(hint)  # `float | None`: a file cannot say None
    bounds = next((each for each in extras if isinstance(each, Between)), None)
    if is_nested(hint):
        return Setting(hint, required=required)
    if typing.get_origin(hint) is dict:
        return Setting(dict, typing.get_args(typing.get_args(hint)[1]), required=required)
    if typing.get_origin(hint) is typing.Literal:
        return Setting(str, typing.get_args(hint), required=required)
    return Setting(typing.get_origin(hint) or hint, (), bounds, ONE_OR_MORE in extras, required)


def unknown(name: str) -> str:
    """The problem of a name that no setting has, with the one that was probably meant."""
    import difflib  # hardly anybody mistypes

    section, _, key = name.rpartition(".")
    known = [each.rpartition(".")[2] for each in names() if each.rpartition(".")[0] == section]
    near = difflib.get_close_matches(key, known if section else [*known, *sections()], 1)
    meant = f", did you mean {f'{section}.' if section else ''}{near[0]}?" if near and name not in RENAMED else ""
    return f"{name}: unknown setting{meant}"
