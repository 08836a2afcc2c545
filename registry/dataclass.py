"""Dataclasses whose methods are compiled when they are first called, and not when their module is imported.

The standard library writes the source of up to six methods per class and compiles each of them: half a millisecond per class,
half of the start of every command, for methods of which it calls a few. What they do is what they do there.

Its module also imports `inspect`, and that the compiler's tables and more, for the signature of a class without a docstring. Whoever
imports this module first has `inspect` imported when that is needed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar


class _Inspect:
    """The module, as `dataclasses` sees it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("inspect"), name)


if "inspect" in sys.modules:
    import dataclasses
else:
    sys.modules["inspect"] = _Inspect()  # type: ignore[assignment]
    try:
        import dataclasses
    finally:
        del sys.modules["inspect"]

T = TypeVar("T")
MISSING = dataclasses.MISSING


def _with_methods(cls: type[T], *, frozen: bool) -> type[T]:
    """The class with slots, which the standard library makes, and all methods that it would have."""
    own = set(vars(cls))
    made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    for name, method in (FROZEN if frozen else CHANGEABLE).items():
        if name not in own:
            setattr(made, name, method)
    return made


class _Later:
    """Takes the place of a method until that is asked for."""

    def __init__(self, name: str, compiled: Callable[[type, str], Any]) -> None:
        self.name, self.compiled = name, compiled

    def __get__(self, instance: object, owner: type) -> Any:
        cls = next((each for each in owner.__mro__ if vars(each).get(self.name) is self), None)
        if cls is None:  # between the look-up and this line, another thread has put the method here
            return getattr(owner, self.name).__get__(instance, owner)
        method = self.compiled(cls, self.name)
        setattr(cls, self.name, method)
        return method.__get__(instance, owner)


class _LaterInit(_Later):
    """For `__init__`, which most classes that are used need, and most of these once: the first instance is made without it."""

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is not None and owner not in _used and vars(owner).get(self.name) is self:
            _used.add(owner)
            return functools.partial(_fill, instance)
        return super().__get__(instance, owner)


_used: set[type] = set()


def _fill(record: Any, /, *given: object, **named: object) -> None:
    """What the `__init__` of the record's class would do; that is compiled for what it would refuse."""
    fields = dataclasses.fields(record)
    values = dict(zip((each.name for each in fields), given, strict=False))
    others = [each for each in fields if each.name not in values and each.name not in named]
    fits = len(given) <= len(fields) and len(given) + len(named) + len(others) == len(fields)
    if not fits or any(each.default is MISSING and each.default_factory is MISSING for each in others):
        type(record).__init__(record, *given, **named)
        return
    values |= named
    for each in others:
        values[each.name] = each.default if each.default_factory is MISSING else each.default_factory()
    for name, value in values.items():
        object.__setattr__(record, name, value)
    if hasattr(record, "__post_init__"):
        record.__post_init__()


def _init(cls: type, name: str) -> Any:
    """`__init__`, compiled alone."""
    fields = dataclasses.fields(cls)
    known: dict[str, Any] = {"_set": object.__setattr__, "_missing": MISSING}
    parameters, lines = ["self"], []
    for each in fields:
        value = each.name
        if each.default is MISSING and each.default_factory is MISSING:
            parameters.append(each.name)
        elif each.default_factory is MISSING:
            known[f"_default_{each.name}"] = each.default
            parameters.append(f"{each.name}=_default_{each.name}")
        else:
            known[f"_make_{each.name}"] = each.default_factory
            parameters.append(f"{each.name}=_missing")
            value = f"_make_{each.name}() if {each.name} is _missing else {each.name}"
        lines.append(f"_set(self, {each.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "; ".join(lines) or "pass"
    source = f"def _with({', '.join(known)}):\n def {name}({', '.join(parameters)}): {body}\n return {name}"
    made: dict[str, Any] = {}
    exec(source, vars(sys.modules[cls.__module__]), made)  # noqa: S102  (names of fields, as the standard library does)
    init = made["_with"](**known)
    init.__qualname__ = f"{cls.__qualname__}.{name}"
    init.__annotations__ = {each.name: each.type for each in fields} | {"return": None}
    return init


def _standard(cls: type, name: str) -> Any:
    """A method as the standard library compiles it for a class with these fields."""
    fields = [(each.name, each.type, each) for each in dataclasses.fields(cls)]
    about = {"__doc__": cls.__doc__ or name}  # else its signature would be looked for
    return vars(dataclasses.make_dataclass(cls.__name__, fields, namespace=about, init=False, frozen=True))[name]


@functools.cache
def types_of(cls: type) -> dict[str, Any]:
    """Field → its type, as `typing.get_type_hints` has them with all extras; that compiles each of them on its own."""
    given = {each.name: each.type for each in dataclasses.fields(cls)}
    texts = {name: kind for name, kind in given.items() if isinstance(kind, str)}
    source = f"({''.join(f'({text}), ' for text in texts.values())})"
    return given | dict(zip(texts, eval(source, vars(sys.modules[cls.__module__])), strict=True))  # noqa: S307  (our own)


def _refuse_to_set(_record: object, name: str, _value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_record: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(record: Any) -> list[Any]:
    return [getattr(record, each.name) for each in dataclasses.fields(record)]


def _restore(record: object, state: list[Any]) -> None:
    """What `copy` and `pickle` need, as nothing can be set."""
    for each, value in zip(dataclasses.fields(record), state, strict=True):  # type: ignore[arg-type]
        object.__setattr__(record, each.name, value)


CHANGEABLE: dict[str, Any] = {
    "__init__": _LaterInit("__init__", _init),
    "__repr__": _Later("__repr__", _standard),
    "__eq__": _Later("__eq__", _standard),
    "__hash__": None,
}
FROZEN = CHANGEABLE | {
    "__hash__": _Later("__hash__", _standard),
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _state,
    "__setstate__": _restore,
}

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, slots, frozen=False):  # noqa: ANN001, ANN201
        """`dataclasses.dataclass`, always with slots, and with fields that `__init__` takes by position and by name."""
        if not slots:
            raise TypeError("only classes with slots")
        return lambda cls: _with_methods(cls, frozen=frozen)


__all__ = ["dataclass", "types_of"]
