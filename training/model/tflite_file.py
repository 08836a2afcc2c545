"""Looks into a `.tflite` file before LiteRT maps it: LiteRT follows what is in there without checking it.

Every offset and length lies in the file, every index (of tensors, buffers, operators, subgraphs) names something that is
there, nothing is read before it is computed, subgraphs do not run in circles, sizes fit, and only builtin operators are
used. Pure Python over the mapped file, without NumPy: a controller can do it. What is left is wrong arithmetic, not a
wrong address; a release is loaded in a throw-away process first all the same.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry.errors import Corrupt
from training.model import tflite_schema as known
from training.model.flatbuffer import Malformed, Reader, Table, Vector

MAGIC = b"TFL3"
MAX_TENSOR = 1 << 34  # bytes
MAX_RANK = 8
HINT = "restore the file from a backup, or train the model again"
# numbers of fields
OPERATOR_CODES, GRAPHS, BUFFERS, METADATA_BUFFERS, METADATA, SIGNATURES = 1, 2, 4, 5, 6, 7  # of Model
TENSORS, INPUTS, OUTPUTS, OPERATORS = 0, 1, 2, 3  # of SubGraph
SHAPE, TYPE, BUFFER, QUANTIZATION, VARIABLE, SIGNATURE_SHAPE = 0, 1, 2, 4, 5, 7  # of Tensor


def check_tflite(path: Path) -> None:
    """Raise Corrupt, naming what is wrong, unless the file at `path` is one that LiteRT can map safely."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[4:8] != MAGIC:
                raise Malformed("it does not begin as a TensorFlow Lite model")
            _File(data).check()
    except (Malformed, OverflowError) as error:
        raise Corrupt(f"{path}: damaged, or not a TensorFlow Lite model: {error}", hint=HINT) from None
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise Corrupt(f"{path}: cannot be read: {error}", hint=HINT) from None


class _File:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._reader = Reader(data, known.schema(), known.unions())
        self._model = self._reader.root("Model")
        self._buffers: list[Table] = self._model.get(BUFFERS, [])
        self._graphs: list[Table] = self._model.get(GRAPHS, [])
        self._codes = [self._code(each) for each in self._model.get(OPERATOR_CODES, [])]

    def check(self) -> None:
        if not self._graphs:
            raise Malformed("it has no subgraph")
        for each in self._buffers:
            offset, size = each.get(1, 0), each.get(2, 0)
            if offset < 0 or size < 0 or (offset > 1 and offset + size > len(self._data)):
                raise Malformed(f"a buffer of {size} bytes at {offset} lies outside of the file")
        used = [_Graph(self, index, each).check() for index, each in enumerate(self._graphs)]
        _must_end(used)
        self._check_signatures()
        metadata = [each.get(1, 0) for each in self._model.get(METADATA, [])]
        for index in [*metadata, *self.numbers(self._model.get(METADATA_BUFFERS))]:
            _must_be(index, len(self._buffers), "metadata name buffer")

    def numbers(self, vector: Vector | None) -> list[int]:
        return self._reader.numbers(vector) if vector else []

    def content(self, buffer: int) -> tuple[int, int]:
        """Where the bytes of a buffer begin and how many there are; none: they are computed."""
        _must_be(buffer, len(self._buffers), "a tensor names buffer")
        found = self._buffers[buffer]
        if found.get(1, 0) > 1:
            return found[1], found.get(2, 0)
        data = found.get(0)
        return (data.start, data.count) if data else (0, 0)

    def integers(self, at: int, count: int) -> list[int]:
        return self._reader.numbers(Vector(at, count, 4))

    def operator(self, index: int) -> str:
        _must_be(index, len(self._codes), "an operator names code")
        return self._codes[index]

    def graphs(self) -> int:
        return len(self._graphs)

    @staticmethod
    def _code(each: Table) -> str:
        old = each.get(0, 0)
        code = max(old - 256 if old > 127 else old, each.get(3, 0))
        if not 0 <= code < len(known.OPERATORS):
            raise Malformed(f"operator {code} is not known")
        name = known.OPERATORS[code]
        if name in known.REFUSED or 1 in each:
            raise Malformed(f"operator {each.get(1, name.encode()).decode(errors='replace'):.80} is not allowed")
        return str(name)

    def _check_signatures(self) -> None:
        for each in self._model.get(SIGNATURES, []):
            index = each.get(4, 0)
            _must_be(index, len(self._graphs), "a signature names subgraph")
            for field, ends in ((0, INPUTS), (1, OUTPUTS)):
                there = set(self.numbers(self._graphs[index].get(ends)))
                if any(pair.get(1, 0) not in there or 0 not in pair for pair in each.get(field, [])):
                    raise Malformed("a signature names a tensor that is neither input nor output")
            if 2 not in each:
                raise Malformed("a signature has no name")


class _Graph:
    def __init__(self, file: _File, index: int, table: Table) -> None:
        self._file, self._index, self._table = file, index, table
        self._tensors: list[Table] = table.get(TENSORS, [])

    def check(self) -> set[int]:
        """Gives the subgraphs that it runs."""
        constant = {number for number, each in enumerate(self._tensors) if self._has_content(each)}
        ready = constant | {number for number, each in enumerate(self._tensors) if each.get(VARIABLE)}
        given = set(self._indices(self._table.get(INPUTS), "a subgraph's input"))
        if written := given & ready:
            raise Malformed(f"input {min(written)} of subgraph {self._index} has a value already")
        ready |= given
        used: set[int] = set()
        for each in self._table.get(OPERATORS, []):
            used |= self._check_operator(each, ready)
        for each in self._indices(self._table.get(OUTPUTS), "a subgraph's output"):
            if each not in ready:
                raise Malformed(f"output {each} of subgraph {self._index} is never computed")
        return used

    def _check_operator(self, each: Table, ready: set[int]) -> set[int]:
        name = self._file.operator(each.get(0, 0))
        inputs, outputs = self._file.numbers(each.get(1)), self._file.numbers(each.get(2))
        self._check_counts(each, name, len(inputs), len(outputs))
        optional = known.OPTIONAL_FROM.get(name, math.inf)
        for position, tensor in enumerate(inputs):
            if tensor == -1 and position >= optional:
                continue
            _must_be(tensor, len(self._tensors), f"input {position} of {name} is tensor")
            if tensor not in ready:
                raise Malformed(f"input {position} of {name} is tensor {tensor}, which is not computed before")
        self._indices(each.get(8), f"an intermediate of {name}", optional=True)
        for tensor in self._indices(each.get(2), f"an output of {name}"):
            if tensor in ready:  # constants are mapped for reading only
                raise Malformed(f"{name} writes tensor {tensor}, which has a value already")
            ready.add(tensor)
        return self._runs(each, name)

    def _check_counts(self, each: Table, name: str, inputs: int, outputs: int) -> None:
        """Kernels read as many inputs, and write as many outputs, as their operator has by its meaning or its options."""
        least, most = known.inputs_of(name)
        if not least <= inputs <= most:
            raise Malformed(f"{name} has {inputs} inputs")
        for kinds, count in ((known.INPUTS, inputs), (known.OUTPUTS, outputs)):
            if name in kinds and self._options(each, name, kinds[name]).get(0, 0) != count:
                raise Malformed(f"{name} has {inputs} inputs and {outputs} outputs, its options say another number")

    def _runs(self, each: Table, name: str) -> set[int]:
        """The subgraphs that an operator runs."""
        kind, fields = known.SUBGRAPHS.get(name, (0, ()))
        used = {self._options(each, name, kind).get(field, 0) for field in fields}
        for index in used:
            _must_be(index, self._file.graphs(), f"{name} runs subgraph")
        return used

    @staticmethod
    def _options(each: Table, name: str, kind: int) -> Table:
        if each.get(3, 0) != kind or 4 not in each:
            raise Malformed(f"{name} has no options of its own")
        found: Table = each[4]
        return found

    def _has_content(self, tensor: Table) -> bool:
        """Whether a tensor's values are in the file; its type, shape and size are checked."""
        kind, shape = tensor.get(TYPE, 0), self._file.numbers(tensor.get(SHAPE))
        if kind > known.LAST_TYPE or len(shape) > MAX_RANK or min(shape, default=0) < 0:
            raise Malformed(f"a tensor has type {kind} and shape {shape[:9]}")
        size = math.prod(shape) * known.BYTES.get(kind, 1)
        if size > MAX_TENSOR or math.prod(max(1, each) for each in shape) > MAX_TENSOR:
            raise Malformed(f"a tensor has shape {shape}, which is too large")
        declared = self._file.numbers(tensor.get(SIGNATURE_SHAPE))
        if declared and (len(declared) != len(shape) or min(declared) < -1):
            raise Malformed(f"a tensor has shape {shape} and signature shape {declared}")
        self._check_quantization(tensor.get(QUANTIZATION, {}), shape)
        start, count = self._file.content(tensor.get(BUFFER, 0))
        if count and kind in known.BYTES and count != size:
            raise Malformed(f"a tensor of shape {shape} and type {kind} has {count} bytes, not {size}")
        if count and kind == known.TEXT:
            self._check_texts(start, count, math.prod(shape))
        return count > 0

    def _check_texts(self, start: int, size: int, wanted: int) -> None:
        """Texts are kept as their number, where each begins, where the last one ends, and their bytes."""
        count = self._file.integers(start, 1)[0] if size >= 8 else -1
        if count != wanted or 4 * (count + 2) > size:
            raise Malformed(f"{size} bytes are said to hold {count} texts, {wanted} are wanted")
        places = self._file.integers(start + 4, count + 1)
        if places != sorted(places) or places[0] < 4 * (count + 2) or places[-1] > size:
            raise Malformed("texts lie outside of their buffer")

    def _check_quantization(self, table: Table, shape: Sequence[int]) -> None:
        scales, zeros = (table[field].count if field in table else 0 for field in (2, 3))
        axis = table.get(6, 0)
        if zeros not in {0, scales} or (scales > 1 and not (0 <= axis < len(shape) and shape[axis] == scales)):
            raise Malformed(
                f"a tensor of shape {list(shape)} is quantized with {scales} scales and {zeros} zeros on axis {axis}"
            )

    def _indices(self, vector: Vector | None, what: str, *, optional: bool = False) -> list[int]:
        found = self._file.numbers(vector)
        for each in found:
            if each != -1 or not optional:
                _must_be(each, len(self._tensors), f"{what} is tensor")
        return found


def _must_be(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise Malformed(f"{what} {index}, there are {count}")


def _must_end(used: Sequence[set[int]]) -> None:
    """Refuse subgraphs that run each other in a circle."""
    left = dict(enumerate(used))
    while ready := [index for index, others in left.items() if not others & left.keys()]:
        for index in ready:
            del left[index]
    if left:
        raise Malformed(f"subgraphs run each other in a circle: {', '.join(map(str, _first(left)))}")


def _first(found: dict[int, set[int]]) -> Iterator[int]:
    yield from sorted(found)[:5]
