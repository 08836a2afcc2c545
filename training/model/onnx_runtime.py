"""An ONNX file in ONNX Runtime: loaded, and asked by the names of the dataset. Importing this does not import the runtime.

One thread per call: whoever asks decides how many calls there are at once, and a sum is added up in the same order each time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from registry.errors import ConfigError, Corrupt
from registry.records import OnnxWiring, Signature
from training.model.onnx_file import check_onnx

DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "string": "string", "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
"""ONNX Runtime's names of types, and NumPy's."""
NO_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate memory|BFCArena|out of memory")


class RunError(RuntimeError):
    """The runtime stopped on these inputs."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of the file."""

    name: str
    dtype: str
    """NumPy's name, or `string`; empty for what is not a tensor."""
    type: str
    """As ONNX Runtime writes it: `tensor(float)`, `seq(map(string,tensor(float)))`."""
    shape: tuple[int | None, ...]
    """None: any size. Empty where the file does not say it."""


def open_session(path: Path) -> Any:
    """An `onnxruntime.InferenceSession` of a file that `check_onnx` has let pass.

    Raises ConfigError where the runtime is not installed, Corrupt for a file that it does not load, MemoryError.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"{path.name}: ONNX Runtime is not installed here ({error})",
            hint="install the packages of requirements.txt: pip install -r requirements.txt",
        ) from None
    onnxruntime.set_default_logger_severity(4)  # what matters is raised
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it keeps the memory of the largest call
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        text = _words(error)
        if NO_MEMORY.search(text):
            raise MemoryError(text) from error
        raise Corrupt(
            f"{path}: ONNX Runtime {onnxruntime.__version__} does not load it: {text}",
            hint="does onnxruntime.InferenceSession(path) load it where it was exported?",
        ) from error


def ports(session: Any) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs and the outputs of the file."""
    return tuple(map(_port, session.get_inputs())), tuple(map(_port, session.get_outputs()))


def _port(node: Any) -> Port:
    found = re.fullmatch(r"tensor\((\w+)\)", node.type)
    shape = tuple(each if isinstance(each, int) and each >= 0 else None for each in node.shape or ())
    return Port(node.name, DTYPES.get(found[1], "") if found else "", node.type, shape)


class OnnxModel:
    """A loaded file. Safe to call from several threads."""

    def __init__(self, path: Path, signature: Signature, wiring: OnnxWiring) -> None:
        """Raises ConfigError or Corrupt for a file that must not be loaded, cannot be, or is not the one of the signature."""
        check_onnx(path)
        self._session, self._signature, self._wiring = open_session(path), signature, wiring
        takes, gives = ports(self._session)
        self._inputs = {each.name: each for each in takes}
        wanted = {wiring.columns} if wiring.columns else {each.tensor for each in signature.inputs}
        if wanted != set(self._inputs) or wiring.output not in {each.name for each in gives}:
            raise Corrupt(f"{path}: its inputs and outputs are not those of the signature")
        columns = wiring.classes
        in_order = columns == tuple(range(len(columns)))
        self._order = None if in_order else np.array(columns)

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """float32 (rows, classes) probabilities, in the order of the signature's classes, or (rows, 1) predictions.

        `inputs`: name of the dataset → array, as the signature has it. Raises RunError, MemoryError.
        """
        (answer,) = run(self._session, [self._wiring.output], self.feed(inputs))
        answer = np.asarray(answer, np.float32).reshape(len(answer), -1)
        if self._order is None:
            return answer
        return np.where(self._order < 0, 1 - answer[:, :1], answer[:, self._order])

    def feed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What goes into the file: the dataset's arrays as its inputs want them."""
        return feed(self._signature, self._inputs, self._wiring.columns, inputs)


def feed(signature: Signature, into: Mapping[str, Port], columns: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Name of an input of the file → array."""
    if columns:
        by_column = getattr(inputs, "by_column", None)  # of many columns that are side by side already
        if by_column is not None:
            together = np.ascontiguousarray(by_column.T)
        else:
            together = np.concatenate([inputs[each.name] for each in signature.inputs], axis=1)
        return {columns: _as(into[columns], together)}
    return {each.tensor: _as(into[each.tensor], inputs[each.name]) for each in signature.inputs}


def _as(port: Port, array: Any) -> Any:
    """In the dtype and with the dimensions of an input."""
    if port.dtype == "string":
        if array.dtype.kind != "U":
            flat = [each.decode() if isinstance(each, bytes) else each for each in array.ravel().tolist()]
            array = np.array(flat, object).reshape(array.shape)
    elif array.dtype != port.dtype:
        array = array.astype(port.dtype)
    return array.reshape(len(array)) if len(port.shape) == 1 and array.ndim == 2 else array


def run(session: Any, outputs: list[str], arrays: Mapping[str, Any]) -> list[Any]:
    """Some outputs of the file. Raises RunError, naming what the runtime says, and MemoryError."""
    try:
        return list(session.run(outputs, arrays))
    except Exception as error:
        text = _words(error)
        if isinstance(error, MemoryError) or NO_MEMORY.search(text):
            raise MemoryError(text) from error
        raise RunError(text) from error


def _words(error: Exception) -> str:
    """What the runtime says, without the places in its own code."""
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+", "", " ".join(str(error).split()))
    return f"{text:.400}" or type(error).__name__
