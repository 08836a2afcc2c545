"""One inference request of the Open Inference Protocol, over HTTP: JSON, with binary tensors behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from registry.records import TensorSpec
from serving.calls import Answer, Limits
from serving.engines.base import Array, Arrays
from serving.errors import bad_request, did_you_mean, show
from serving.model import Model
from serving.protocols.body import parsed_object
from serving.protocols.named_inputs import NamedInputs
from serving.protocols.read_instances import Reader
from serving.protocols.v2 import tensors
from serving.protocols.write_predictions import numbers

HEADER = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"
SEND = 'send {"inputs": [{"name": …, "shape": …, "datatype": …, "data": […]}]}'
SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output that the client asks for."""

    name: str
    binary: bool = False
    classes: int = 0
    """The best so many as `score:index:class`; 0: the values."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks, read and checked."""

    inputs: dict[str, Array]
    rows: int
    outputs: tuple[Wanted, ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as a client has sent it: `raw`, or `data` from JSON."""

    name: Any
    datatype: Any
    shape: Any
    raw: memoryview | None = None
    data: Any = field(default=None, repr=False)


class V2Codec:
    """Reads and writes for one model, whatever carries the tensors. Raises Refused."""

    def __init__(self, model: Model) -> None:
        self.signature = model.signature
        self._inputs = NamedInputs(Reader(model.signature, model.data))
        self._outputs = {each.name: each for each in model.signature.outputs}
        self._warm = model.warm_outputs

    def joined(self, given: list[tuple[str, Tensor]], limit: int) -> tuple[dict[str, Array], int]:
        """The model's inputs and the number of rows, from tensors with the path of each."""
        arrays: dict[str, Array] = {}
        for path, tensor in given:
            spec = self._inputs.spec(tensor.name, f"{path}.name")
            if spec.name in arrays:
                raise bad_request(f"{path}.name: {spec.name!r} is there twice")
            arrays[spec.name] = self._array(spec, tensor, path)
        return self._inputs.joined(arrays, limit)

    def wanted(self, name: Any, path: str, *, binary: bool, classes: Any = 0) -> Wanted:
        """An output by its name."""
        if not isinstance(name, str) or name not in self._outputs:
            hint = did_you_mean(str(name), self._outputs)
            raise bad_request(f"{path}.name: {show(name)}: no such output", hint=hint)
        if type(classes) is not int or classes < 0:
            raise bad_request(f"{path}.parameters.classification: {show(classes)} is not a number of classes")
        if classes and (self._warm[name].ndim != 2 or self._warm[name].dtype.kind not in "fiu"):
            raise bad_request(f"{path}.parameters.classification: {name} is not one number per class")
        return Wanted(name, binary, classes)

    def all_outputs(self, *, binary: bool) -> tuple[Wanted, ...]:
        """What a request without `outputs` gets."""
        return tuple(Wanted(each, binary) for each in self._outputs)

    def without_rows(self) -> dict[str, Array]:
        """The outputs for a batch of no rows, for which the model need not run."""
        return {name: array[:0] for name, array in self._warm.items()}

    def best(self, output: Array, count: int) -> Array:
        """Rows × count texts `score:index:class`, the best first."""
        classes = self.signature.classes if len(self.signature.classes) == output.shape[1] else ()
        order = np.argsort(-output, axis=1, kind="stable")[:, :count]
        names = [f":{each}" for each in classes] or [""] * output.shape[1]
        rows = [[f"{output[i, at]:.6f}:{at}{names[at]}" for at in row] for i, row in enumerate(order.tolist())]
        return np.asarray(rows, dtype=object).reshape(len(output), min(count, output.shape[1]))

    def _array(self, spec: TensorSpec, tensor: Tensor, path: str) -> Array:
        wanted = tensors.DATATYPES[spec.dtype]
        if tensor.datatype != wanted:
            raise bad_request(f"{path}.datatype: {show(tensor.datatype)}, the model takes {wanted}")
        if not isinstance(tensor.shape, list | tuple):
            raise bad_request(f"{path}.shape: {show(tensor.shape)}, a list is expected")
        count = tensors.element_count(tensor.shape, path)
        shape = tuple(tensor.shape) or (1,)  # a scalar is one row
        if tensor.raw is None:
            values = tensors.from_json(wanted, tensor.data, count, path)
            if wanted == "BYTES":
                return self._inputs.from_texts(spec, values, shape, f"{path}.data")
            return self._inputs.from_flat(spec, values, shape, f"{path}.data")
        found = tensors.from_raw(wanted, tensor.raw, count, path)
        if isinstance(found, list):
            return self._inputs.from_texts(spec, found, shape, path)
        return self._inputs.from_array(spec, found.reshape(shape), path)


def read(codec: V2Codec, body: bytes, header: str, limits: Limits) -> Asked:
    """The request in `body`; `header` is the length of its JSON, in bytes, when tensors follow it. Raises Refused."""
    size = _header_length(header, len(body))
    hint = f"tensors in binary need the header {HEADER}" if b"binary_data_size" in body[:4096] else SEND
    asked = parsed_object(body[:size], hint)
    given = asked.get("inputs")
    if not isinstance(given, list) or not given:
        raise bad_request(
            "inputs: a list of tensors is expected", hint="one object per input: name, datatype, shape, data"
        )
    parameters = _object(asked.get("parameters"), "parameters")
    for each in SEQUENCES:
        if parameters.get(each):
            raise bad_request(f"parameters.{each}: this model keeps no sequences", hint="leave it away")
    read_tensors, tail = [], memoryview(body)[size:]
    for i, each in enumerate(given):
        tensor, tail = _tensor(each, f"inputs[{i}]", tail, has_header=bool(header))
        read_tensors.append((f"inputs[{i}]", tensor))
    if len(tail):
        raise bad_request(f"the body has {len(tail)} bytes more than binary_data_size of its inputs")
    inputs, rows = codec.joined(read_tensors, limits.instances)
    identifier = asked.get("id", "")
    if not isinstance(identifier, str) or len(identifier) > 256:
        raise bad_request("id: a string of up to 256 characters is expected")
    return Asked(inputs, rows, _wanted(codec, asked.get("outputs"), parameters), identifier)


def write(codec: V2Codec, model: Model, asked: Asked, outputs: Arrays) -> Answer:
    """The answer: JSON, with the outputs that were asked for as bytes behind it."""
    described, blobs = [], []
    for each in asked.outputs:
        array = codec.best(outputs[each.name], each.classes) if each.classes else outputs[each.name]
        entry: dict[str, Any] = {
            "name": each.name,
            "datatype": tensors.datatype_of(array),
            "shape": array.shape,
        }
        if each.binary:
            blob = tensors.to_raw(array)
            entry["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            entry["data"] = numbers(array.ravel())
        described.append(entry)
    body = {"model_name": model.manifest.model, "model_version": str(model.manifest.version)}
    head = orjson.dumps(
        body | ({"id": asked.id} if asked.id else {}) | {"outputs": described}, option=orjson.OPT_SERIALIZE_NUMPY
    )
    if not blobs:
        return Answer(head)
    return Answer(b"".join((head, *blobs)), BINARY, headers=((HEADER, str(len(head))),))


def _header_length(header: str, size: int) -> int:
    if not header:
        return size
    if not header.isascii() or not header.isdigit() or len(header) > 12 or not 0 < int(header) <= size:
        raise bad_request(f"{HEADER}: {header[:40]!r}", hint=f"the length of the JSON in bytes, 1 to {size}")
    return int(header)


def _tensor(given: Any, path: str, tail: memoryview, *, has_header: bool) -> tuple[Tensor, memoryview]:
    """A tensor, and what is left of the bytes behind the JSON."""
    if not isinstance(given, dict):
        raise bad_request(f"{path}: {show(given)}, an object is expected")
    for each in ("name", "datatype", "shape"):
        if each not in given:
            raise bad_request(f"{path}.{each}: is missing")
    parameters = _object(given.get("parameters"), f"{path}.parameters")
    if "shared_memory_region" in parameters:
        raise bad_request(f"{path}: shared memory is not taken", hint="send the tensor in the body")
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in given:
            raise bad_request(f"{path}.data: is missing")
        return Tensor(given["name"], given["datatype"], given["shape"], data=given["data"]), tail
    if "data" in given:
        raise bad_request(f"{path}: both data and binary_data_size")
    if not has_header:
        raise bad_request(f"{path}: binary_data_size without the header {HEADER}")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise bad_request(f"{path}.parameters.binary_data_size: {show(size)}, {len(tail)} bytes are left in the body")
    return Tensor(given["name"], given["datatype"], given["shape"], raw=tail[:size]), tail[size:]


def _wanted(codec: V2Codec, given: Any, parameters: dict[str, Any]) -> tuple[Wanted, ...]:
    all_binary = _flag(parameters, "binary_data_output", "parameters", default=False)
    if given is None or given == []:
        return codec.all_outputs(binary=all_binary)
    if not isinstance(given, list):
        raise bad_request(f"outputs: {show(given)}, a list is expected")
    found: dict[str, Wanted] = {}
    for i, each in enumerate(given):
        path = f"outputs[{i}]"
        if not isinstance(each, dict):
            raise bad_request(f"{path}: {show(each)}, an object is expected")
        own = _object(each.get("parameters"), f"{path}.parameters")
        if "shared_memory_region" in own:
            raise bad_request(f"{path}: shared memory is not written")
        binary = _flag(own, "binary_data", f"{path}.parameters", default=all_binary)
        wanted = codec.wanted(each.get("name"), path, binary=binary, classes=own.get("classification", 0))
        if wanted.name in found:
            raise bad_request(f"{path}.name: {wanted.name!r} is there twice")
        found[wanted.name] = wanted
    return tuple(found.values())


def _flag(parameters: dict[str, Any], name: str, path: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise bad_request(f"{path}.{name}: {show(value)} is not true or false")
    return value


def _object(value: Any, path: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{path}: {show(value)}, an object is expected")
    return value
