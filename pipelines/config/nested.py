"""Settings that hold more than one value each: tables of numbers, and lists of records, read by their types."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from typing import Any

from registry.dataclass import types_of

MOST = 10_000
"""Entries of one table or list."""
WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def is_nested(hint: Any) -> bool:
    """Whether a type is read here: a list of records, or a table of anything but words to choose from."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return dataclasses.is_dataclass(arguments[0])
    return origin is dict and typing.get_origin(arguments[1]) is not typing.Literal


def read_nested(hint: Any, value: Any) -> Any:
    """The value as the config holds it; raises ValueError that says where and what is wrong with it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return read_nested(next(each for each in arguments if each is not type(None)), value)
    if dataclasses.is_dataclass(hint):
        return _record(hint, value)
    if origin is tuple:
        if not isinstance(value, list) or len(value) > MOST:
            raise ValueError(f"{value!r:.200} is not a list of at most {MOST}")
        return tuple(_inside(str(i), arguments[0], each) for i, each in enumerate(value, 1))
    if origin is dict:
        if not isinstance(value, dict) or len(value) > MOST:
            raise ValueError(f"{value!r:.200} is not a table of at most {MOST} names")
        return {name: _inside(repr(name), arguments[1], each) for name, each in value.items()}
    return _plain(hint, value)


def _record(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.200} is not a table")  # noqa: TRY004  (as of every setting)
    hints = types_of(kind)
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{unknown[0]!r:.100} is unknown; known: {', '.join(hints)}")
    needed = (each.name for each in dataclasses.fields(kind) if each.default is dataclasses.MISSING)
    if missing := [each for each in needed if each not in value]:
        raise ValueError(f"{missing[0]} is missing")
    return kind(**{name: _inside(name, hints[name], each) for name, each in value.items()})


def _inside(name: str, hint: Any, value: Any) -> Any:
    try:
        return read_nested(hint, value)
    except ValueError as error:
        raise ValueError(f"{name:.100}: {error}") from None


def _plain(kind: Any, value: Any) -> Any:
    if type(value) is not kind and (kind, type(value)) != (float, int):
        raise ValueError(f"{value!r:.200} is not {WORDS[kind]}")
    if kind is float:
        if not math.isfinite(value) if isinstance(value, float) else abs(value) > sys.float_info.max:
            raise ValueError(f"{value!r:.200} is not a finite number")
        return float(value)
    return value
