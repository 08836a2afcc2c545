"""One inference request of the Open Inference Protocol as gRPC carries it, read and written by the codec of its version 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serving.engines.base import Array, Arrays
from serving.errors import bad_request, show
from serving.grpc_port import inference_pb2 as pb
from serving.model import Model
from serving.protocols.large import LARGE, one_at_a_time
from serving.protocols.v2 import tensors
from serving.protocols.v2.infer import SEQUENCES, Asked, Tensor, V2Codec, Wanted

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of InferTensorContents of each datatype. FP16 has none: it travels raw only."""


def read(codec: V2Codec, request: Any, instances: int) -> Asked:
    """What a ModelInferRequest asks, of at most `instances` rows. Raises Refused."""
    if not request.inputs:
        raise bad_request("inputs: is empty", hint="send one tensor per input")
    raws = _raws(request)
    parameters = _parameters(request.parameters)
    for each in SEQUENCES:
        if parameters.get(each):
            raise bad_request(f"parameters.{each}: this model keeps no sequences", hint="leave it away")
    binary = parameters.get("binary_data_output", bool(request.raw_input_contents))
    if type(binary) is not bool:
        raise bad_request(f"parameters.binary_data_output: {show(binary)} is not true or false")
    with one_at_a_time(request.ByteSize() > LARGE and not request.raw_input_contents):
        given = [
            (f"inputs[{i}]", _tensor(each, raw, f"inputs[{i}]"))
            for i, (each, raw) in enumerate(zip(request.inputs, raws, strict=True))
        ]
        inputs, rows = codec.joined(given, instances)
    if len(request.id) > 256:
        raise bad_request("id: a string of up to 256 characters is expected")
    return Asked(inputs, rows, _wanted(codec, request.outputs, binary=binary), request.id)


def write(codec: V2Codec, model: Model, asked: Asked, outputs: Arrays) -> Any:
    """The ModelInferResponse: raw when it was asked raw, or when an output is FP16, which has no other form."""
    manifest = model.manifest
    answer = pb.ModelInferResponse(model_name=manifest.model, model_version=str(manifest.version), id=asked.id)
    arrays = [
        codec.best(outputs[each.name], each.classes) if each.classes else outputs[each.name] for each in asked.outputs
    ]
    datatypes = [tensors.datatype_of(each) for each in arrays]
    raw = any(each.binary for each in asked.outputs) or not CONTENTS.keys() >= set(datatypes)
    for wanted, array, datatype in zip(asked.outputs, arrays, datatypes, strict=True):
        entry = answer.outputs.add(name=wanted.name, datatype=datatype, shape=array.shape)
        if raw:
            answer.raw_output_contents.append(tensors.to_raw(array))
        else:
            getattr(entry.contents, CONTENTS[datatype]).extend(_values(array))
    return answer


def _raws(request: Any) -> list[bytes | None]:
    """The bytes of each input; None: it has typed contents. The protocol has an entry for each input or none at all; KServe's
    client sends FP16 so and all else typed, with an entry, in their order, for those that have no contents."""
    raws: list[bytes | None] = list(request.raw_input_contents)
    if not raws or len(raws) == len(request.inputs):
        return raws or [None] * len(request.inputs)
    bare = [not each.HasField("contents") for each in request.inputs]
    if sum(bare) != len(raws):
        raise bad_request(
            f"raw_input_contents: {len(raws)} entries for {len(request.inputs)} inputs, {sum(bare)} of them without contents",
            hint="send an entry for each input, or for each without contents",
        )
    left = iter(raws)
    return [next(left) if is_bare else None for is_bare in bare]


def _tensor(given: Any, raw: bytes | None, path: str) -> Tensor:
    if "shared_memory_region" in given.parameters:
        raise bad_request(f"{path}: shared memory is not taken", hint="send the tensor in the request")
    shape = list(given.shape)
    filled = [field.name for field, _ in given.contents.ListFields()]
    if raw is not None:
        if filled:
            raise bad_request(f"{path}.contents: is filled beside raw_input_contents", hint="send one of them")
        return Tensor(given.name, given.datatype, shape, raw=memoryview(raw))
    field = CONTENTS.get(given.datatype)
    if field is None:  # the codec names the type that the model takes; FP16 is left to be said here
        if given.datatype == "FP16":
            raise bad_request(f"{path}.contents: FP16 has no typed contents", hint="send it in raw_input_contents")
        return Tensor(given.name, given.datatype, shape, data=[])
    if any(each != field for each in filled):
        raise bad_request(f"{path}.contents.{filled[0]}: {given.datatype} is in {field}")
    values: list[Any] = list(getattr(given.contents, field))
    if given.datatype == "BYTES":
        values = [_text(each, f"{path}.contents.bytes_contents[{i}]") for i, each in enumerate(values)]
    return Tensor(given.name, given.datatype, shape, data=values)


def _text(value: bytes, path: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise bad_request(f"{path}: the bytes are not UTF-8, and the model takes texts") from None


def _wanted(codec: V2Codec, given: Iterable[Any], *, binary: bool) -> tuple[Wanted, ...]:
    found: dict[str, Wanted] = {}
    for i, each in enumerate(given):
        parameters = _parameters(each.parameters)
        if "shared_memory_region" in parameters:
            raise bad_request(f"outputs[{i}]: shared memory is not written")
        classes = parameters.get("classification", 0)
        wanted = codec.wanted(each.name, f"outputs[{i}]", binary=binary, classes=classes)
        if wanted.name in found:
            raise bad_request(f"outputs[{i}].name: {wanted.name!r} is there twice")
        found[wanted.name] = wanted
    return tuple(found.values()) or codec.all_outputs(binary=binary)


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in given.items()}
    return {name: getattr(given[name], which) for name, which in chosen.items() if which}


def _values(array: Array) -> list[Any]:
    values: list[Any] = array.ravel().tolist()
    if array.dtype.kind in "SUO":
        return [each if isinstance(each, bytes) else str(each).encode() for each in values]
    return values
