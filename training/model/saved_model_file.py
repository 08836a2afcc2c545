"""Looks into a TensorFlow SavedModel, without TensorFlow, before anything in it runs.

A SavedModel is a program: its operators can read and write files, and run Python that the process happens to have. So
operators are on an allow-list: those that compute, look up, loop and call functions of the same file, whose names are
no operators: else a function called WriteFile would allow the operator. Only what the
checkpoint's saver needs may name files, in functions that nothing but the saver reaches; TensorFlow 2 restores variables by
itself and never calls them.

Reads the messages of saved_model.proto by their field numbers, as far as they hold operators.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from registry.errors import ConfigError, Corrupt
from training.model.operators import ALLOWED, SAVER
from training.model.protobuf import Damaged, Message, open_message

GRAPH, OTHERS = "saved_model.pb", ("saved_model.cpb", "saved_model.pbtxt")
HINT = "restore the folder from a backup, or train the model again"
OPERATOR_HINT = "compute it from operators of Keras or TensorFlow that stay inside of the model"
ASSET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Node:
    """One operator in a graph, and the functions that it runs."""

    name: str
    operator: str
    runs: tuple[str, ...]


def check_saved_model(folder: Path) -> None:
    """Raise ConfigError for an operator that is not allowed, naming it and its layer; Corrupt for a damaged file."""
    path = folder / GRAPH
    for name in OTHERS:
        if (folder / name).exists():
            raise ConfigError(f"{folder / name}: only {GRAPH} is allowed", hint="export the model again")
    try:
        with open_message(path) as message:
            _check(message, path)
    except (Damaged, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"{path}: damaged: {error}", hint=HINT) from None
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise Corrupt(f"{path}: cannot be read: {error}", hint=HINT) from None


def _check(model: Message, path: Path) -> None:
    graphs = [each for field, each in model.messages() if field == 2]
    if len(graphs) != 1:
        raise ConfigError(f"{path}: it has {len(graphs)} graphs, one is expected", hint="export it with Keras' export")
    parts = [(field, each) for field, each in graphs[0].messages()]
    if not any(field == 7 for field, _ in parts):  # without objects it is loaded as one of TensorFlow 1, saver and all
        raise ConfigError(f"{path}: it is of TensorFlow 1", hint="export it with TensorFlow 2")
    for asset in (each.text(2) for field, each in parts if field == 6):
        if not ASSET.fullmatch(asset):
            raise ConfigError(f"{path}: the asset {asset!r:.100} is not a file of the model", hint=OPERATOR_HINT)
    main, functions = list[Node](), dict[str, list[Node]]()
    saver, callable_ = set[str](), set[str]()
    for field, each in parts:
        if field == 2:
            _read_graph(each, main, functions)
        elif field == 3:
            saver |= {each.text(number).partition(":")[0] for number in (2, 3)}
        elif field == 7:
            callable_ |= set(_object_functions(each))
    only_saver = _only_saver(main, functions, saver, callable_)
    _check_operators(main, ALLOWED, path)
    for name, nodes in functions.items():
        _check_operators(nodes, ALLOWED | SAVER if name in only_saver else ALLOWED, path)


def _only_saver(main: list[Node], functions: dict[str, list[Node]], saver: set[str], callable_: set[str]) -> set[str]:
    """The functions that nothing but the saver reaches. `saver` names the main graph's nodes that save and restore,
    `callable_` the functions of the model's objects."""
    found = _reached(functions, _names(each for each in main if each.name in saver))
    others = (functions.keys() - found) | callable_
    return found - _reached(functions, others | _names(each for each in main if each.name not in saver))


def _check_operators(nodes: list[Node], allowed: AbstractSet[str], path: Path) -> None:
    for each in nodes:
        if each.operator not in allowed:
            raise ConfigError(
                f"{path}: operator {each.operator} is not allowed in a model, it may reach beyond its inputs "
                f"({_layer(each.name)})",
                hint=OPERATOR_HINT,
            )


def _layer(node: str) -> str:
    """Where a node comes from: Keras puts a layer's nodes below its name."""
    scopes = [each for each in node.split("/")[:-1] if each]
    return f"in layer {scopes[-1]}, {node:.200}" if scopes else f"node {node:.200}"


def _names(nodes: Iterable[Node]) -> set[str]:
    return {name for each in nodes for name in each.runs}


def _reached(functions: dict[str, list[Node]], names: set[str]) -> set[str]:
    """The functions that these run, directly or not, and themselves."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found.add(name)
            waiting += [each for node in functions[name] for each in node.runs]
    return found


def _read_graph(graph: Message, main: list[Node], functions: dict[str, list[Node]]) -> None:
    for field, each in graph.messages():
        if field == 1:
            main.append(_node(each))
        elif field == 2:
            for number, function in each.messages():
                if number == 1:
                    nodes = [_node(part) for kind, part in function.messages() if kind == 3]
                    functions[_function_name(function, functions)] = nodes


def _function_name(function: Message, others: Container[str]) -> str:
    """Raises when TensorFlow could take it for another one: of two names it takes the last."""
    signatures = [part for kind, part in function.messages() if kind == 1]
    names = [name.content() for each in signatures for kind, name in each.messages() if kind == 1]
    if len(signatures) != 1 or len(names) != 1 or not names[0] or names[0] in others:
        raise Damaged(f"a function must have a name of its own, not {names[:3]!r:.200}")
    return names[0]


def _object_functions(graph: Message) -> Iterator[str]:
    """The functions that the model's objects have, by all that names them in a SavedObjectGraph."""
    for field, each in graph.messages():
        if field == 2:  # concrete_functions, a map by name
            yield each.text(1)
        elif field == 1:  # an object: perhaps a function, or one of a single signature
            named = (part for number, part in each.messages() if number in {6, 8})
            yield from (name.content() for part in named for number, name in part.messages() if number == 1)


def _node(message: Message) -> Node:
    name = operator = ""
    runs = set[str]()
    for field, each in message.messages():
        if field == 1:
            name = each.content()
        elif field == 2:
            operator = each.content()
        elif field == 5:
            for number, value in each.messages():
                if number == 2:
                    runs |= set(_functions(value))
    return Node(name, operator, tuple(sorted(runs)))


def _functions(value: Message) -> Iterator[str]:
    """The functions that the value of an attribute names: one, or a list, and those that their own attributes name."""
    for field, each in value.messages():
        if field == 10:
            yield from _named(each)
        elif field == 1:
            for number, function in each.messages():
                if number == 9:
                    yield from _named(function)


def _named(function: Message) -> Iterator[str]:
    yield function.text(1)
    for field, attribute in function.messages():
        if field == 2:
            for number, value in attribute.messages():
                if number == 2:
                    yield from _functions(value)
