"""Looks into a `model.onnx`, without ONNX Runtime and without NumPy, before anything in it is loaded.

An ONNX file is a program of operators. Those of the ONNX standard compute from their inputs; those of other domains are code
that a runtime would have to be given, and tensors may lie in other files, which the file names. So operators are on an
allow-list, and every tensor must be in the file. Reads the messages of onnx.proto by their field numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import ConfigError, Corrupt
from training.model.onnx_operators import ALLOWED, LATEST, LATEST_IR
from training.model.protobuf import Damaged, Message, open_message

MAX_BYTES = (1 << 31) - 1
"""Of the file: no reader of protocol buffers takes more."""
MAX_NODES = 1_000_000
MAX_DEPTH = 32
"""Graphs within graphs: the branches and bodies of If, Loop and Scan."""
MAX_TENSOR = 1 << 32
"""Elements."""
HINT = "restore the file from a backup, or train the model again"
OPERATOR_HINT = "export it with operators of the ONNX standard only: docs/how-to/onnx.md"
OPSET_HINT = "export it for an older one: target_opset of skl2onnx and onnxmltools, opset_version of torch.onnx.export"
EXTERNAL_HINT = (
    "write one file: torch.onnx.export(…, external_data=False), or "
    "onnx.save_model(onnx.load(path), path, save_as_external_data=False)"
)
LENGTHS = (10, 4, *(size for size in range(64) if size not in {10, 4}))
"""Of short texts; first those of `BRANCH_LEQ` and `LEAF`, of which a forest has one for each of its nodes."""
VALUES = re.compile(
    b"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f]|\x4a(?:"
    + b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in LENGTHS)
    + b"))++",
    re.DOTALL,
)
"""Runs of an attribute's floats, whole numbers and short texts, of which a forest has millions."""
LABELS = {"classlabels_strings", "classlabels_int64s", "classlabels_ints"}
"""Attributes of classifiers: the names of their classes, in the order of their probabilities."""


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What a file says about itself."""

    metadata: dict[str, str]
    classes: tuple[tuple[str, ...], ...]
    """The classes of each operator that classifies, in the order of its probabilities."""


@dataclass(slots=True)
class _Found:
    """What has been met in the file so far."""

    path: Path
    functions: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict)
    """Function → the functions that it calls; both by domain and name."""
    nodes: int = 0
    classes: list[tuple[str, ...]] = field(default_factory=list)


def check_onnx(path: Path) -> OnnxFacts:
    """Raise ConfigError for what an ONNX model must not have, naming it, and Corrupt for a damaged file."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ConfigError(f"{path}: {size:,} bytes; an ONNX file may have {MAX_BYTES:,}", hint=EXTERNAL_HINT)
        with open_message(path) as message:
            return _check(message, path)
    except (Damaged, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"{path}: damaged, or not an ONNX file: {error}", hint=HINT) from None
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise Corrupt(f"{path}: cannot be read: {error}", hint=HINT) from None


def _check(model: Message, path: Path) -> OnnxFacts:
    parts = list(model.fields())
    _check_versions(parts, path)
    found, metadata = _Found(path), dict[str, str]()
    graphs = [each for number, each in parts if number == 7 and isinstance(each, Message)]
    if len(graphs) != 1:
        raise Damaged(f"it has {len(graphs)} graphs")
    functions = [each for number, each in parts if number == 25 and isinstance(each, Message)]
    for function in functions:
        name = _function_name(function)
        if name[0] in ALLOWED or name in found.functions:
            raise ConfigError(f"{path}: it defines the operator {_shown(name)} itself", hint=OPERATOR_HINT)
        found.functions[name] = set()
    for function in functions:
        calls = found.functions[_function_name(function)]
        for number, part in function.messages():
            if number == 7:
                _check_node(part, found, calls, 1)
            elif number == 11:
                _check_attribute(part, found, calls, 1)
    _must_end(found)
    _check_graph(graphs[0], found, set(), 0)
    for number, value in parts:
        if number == 20:
            raise ConfigError(f"{path}: it holds a training, not only a model", hint="export it for inference")
        if number == 14 and isinstance(value, Message):
            metadata[value.text(1)] = value.text(2)
    return OnnxFacts(metadata, tuple(found.classes))


def _check_versions(parts: list[tuple[int, Message | int]], path: Path) -> None:
    """Of the file, and of each domain of operators."""
    versions = [each for number, each in parts if number == 1 and isinstance(each, int)]
    if len(versions) != 1:
        raise Damaged("it has no version")
    if versions[0] > LATEST_IR:
        raise ConfigError(
            f"{path}: it is of IR version {versions[0]}, ONNX Runtime reads up to {LATEST_IR}",
            hint=f"export it with an older onnx, or set model.ir_version = {LATEST_IR} before it is saved",
        )
    for opset in [each for number, each in parts if number == 8 and isinstance(each, Message)]:
        domain = opset.text(1)
        version = max((each for number, each in opset.fields() if number == 2 and isinstance(each, int)), default=0)
        known = LATEST.get("" if domain == "ai.onnx" else domain)
        if known is not None and version > known:
            name = domain or "ai.onnx"
            raise ConfigError(
                f"{path}: it is of opset {version} of {name}, ONNX Runtime knows up to {known}", hint=OPSET_HINT
            )


def _function_name(function: Message) -> tuple[str, str]:
    return function.text(10), function.text(1)


def _shown(name: tuple[str, str]) -> str:
    return f"{name[1]:.80} of the domain {name[0] or 'ai.onnx':.80}"


def _must_end(found: _Found) -> None:
    """Refuse functions that call each other in a circle: they are written out where they are called."""
    left = dict(found.functions)
    while ready := [name for name, calls in left.items() if not calls & left.keys()]:
        for name in ready:
            del left[name]
    if left:
        raise ConfigError(
            f"{found.path}: its functions call each other in a circle: {_shown(min(left))}", hint=OPERATOR_HINT
        )


def _check_graph(graph: Message, found: _Found, calls: set[tuple[str, str]], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Damaged(f"graphs are nested deeper than {MAX_DEPTH}")
    for number, each in graph.messages():
        if number == 1:
            _check_node(each, found, calls, depth)
        elif number == 5:
            _check_tensor(each, found.path)
        elif number == 15:
            _check_sparse(each, found.path)


def _check_node(node: Message, found: _Found, calls: set[tuple[str, str]], depth: int) -> None:
    found.nodes += 1
    if found.nodes > MAX_NODES:
        raise ConfigError(f"{found.path}: it has more than {MAX_NODES:,} operators", hint=OPERATOR_HINT)
    domain = operator = name = ""
    for number, each in node.messages():
        if number == 3:
            name = each.content()
        elif number == 4:
            operator = each.content()
        elif number == 7:
            domain = each.content()
        elif number == 5:
            _check_attribute(each, found, calls, depth)
    key = ("" if domain == "ai.onnx" else domain, operator)
    if key in found.functions:
        calls.add(key)
    elif operator not in ALLOWED.get(key[0], ()):
        raise ConfigError(
            f"{found.path}: operator {_shown(key)} is not allowed in a model"
            + (f" (node {name:.100})" if name else ""),
            hint=OPERATOR_HINT,
        )


def _check_attribute(attribute: Message, found: _Found, calls: set[tuple[str, str]], depth: int) -> None:
    name = ""
    for number, each in attribute.fields(VALUES):
        if not isinstance(each, Message):
            continue
        if number == 1:
            name = each.content()
        elif number in {5, 10}:
            _check_tensor(each, found.path)
        elif number in {6, 11}:
            _check_graph(each, found, calls, depth + 1)
        elif number in {22, 23}:
            _check_sparse(each, found.path)
    if name in LABELS and (classes := tuple(_labels(attribute))):
        found.classes.append(classes)


def _labels(attribute: Message) -> Iterator[str]:
    for number, each in attribute.fields():
        if number == 9 and isinstance(each, Message):
            yield each.content()
        elif number == 8:
            for value in [each] if isinstance(each, int) else each.numbers():
                yield str(value - (1 << 64) if value >> 63 else value)


def _check_sparse(tensor: Message, path: Path) -> None:
    for number, each in tensor.messages():
        if number in {1, 2}:
            _check_tensor(each, path)


def _check_tensor(tensor: Message, path: Path) -> None:
    name, elements, external = "", 1, False
    for number, each in tensor.fields():
        if number == 1:
            for size in [each] if isinstance(each, int) else each.numbers():
                elements *= max(1, size)
        elif number == 8 and isinstance(each, Message):
            name = each.content()
        elif number == 13 or (number == 14 and each):
            external = True
    if external:
        raise ConfigError(f"{path}: the numbers of {name or 'a tensor':.100} are in another file", hint=EXTERNAL_HINT)
    if elements > MAX_TENSOR:
        raise Damaged(f"the tensor {name:.100} has {elements:,} elements")
