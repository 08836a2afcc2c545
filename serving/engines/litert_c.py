"""LiteRT's C API, as far as serving.engines.compiled uses it: `libLiteRt.so` of the package `ai_edge_litert`, by ctypes.

Python's own `CompiledModel` holds the interpreter lock while a model runs, and takes no descriptor of a file for packed weights; a
call by ctypes releases the lock. What is declared here is of `litert/c/*.h` in LiteRT's repository; ints are as wide as there.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint, c_uint32, c_void_p
from pathlib import Path
from typing import Any, cast

import ai_edge_litert
import numpy as np

CPU = 1
MAX_RANK = 8
ALIGNMENT = 64
"""Bytes; memory that a model reads or writes begins at a multiple."""
AUTO_REGISTER, MIN_SEVERITY = 24, 25
"""Options of an environment: what it may compute on, and what it logs."""
INT_VALUE, ERRORS_ONLY, BUFFERED = 2, 4, 2
STATUS = {
    1: "invalid argument",
    2: "no memory",
    3: "it failed while running",
    5: "unsupported",
    500: "the file cannot be read",
}
"""The most frequent of `LiteRtStatus`."""
DTYPES = {
    1: "float32",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float16",
    11: "float64",
}
"""Of `LiteRtElementType`, those that NumPy has too; texts are not among them."""


class Layout(ctypes.Structure):
    """`LiteRtLayout`: seven bits of `head` are the rank."""

    _fields_ = (("head", c_uint), ("sizes", c_int32 * MAX_RANK), ("strides", c_uint32 * MAX_RANK))

    @property
    def shape(self) -> tuple[int, ...]:
        """-1: any."""
        return tuple(self.sizes[: self.head & 127])


class TensorType(ctypes.Structure):
    """`LiteRtRankedTensorType`."""

    _fields_ = (("element", c_int), ("layout", Layout))


class EnvironmentOption(ctypes.Structure):
    """`LiteRtEnvOption`, with an integer as its value."""

    _fields_ = (("tag", c_int64), ("kind", c_int64), ("value", c_int64))  # the first two are ints, at multiples of 8


class Failed(RuntimeError):
    """LiteRT's answer to a call was not success."""


_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "LiteRtCreateEnvironment": (c_int, POINTER(EnvironmentOption), POINTER(c_void_p)),
    "LiteRtCreateModelFromFile": (c_void_p, c_char_p, POINTER(c_void_p)),
    "LiteRtCreateOptions": (POINTER(c_void_p),),
    "LiteRtSetOptionsHardwareAccelerators": (c_void_p, c_int),
    "LiteRtCreateOpaqueOptions": (c_char_p, c_void_p, c_void_p, POINTER(c_void_p)),
    "LiteRtAddOpaqueOptions": (c_void_p, c_void_p),
    "LiteRtCreateCompiledModel": (c_void_p, c_void_p, c_void_p, POINTER(c_void_p)),
    "LiteRtGetNumModelSignatures": (c_void_p, POINTER(c_size_t)),
    "LiteRtGetModelSignature": (c_void_p, c_size_t, POINTER(c_void_p)),
    "LiteRtGetSignatureKey": (c_void_p, POINTER(c_char_p)),
    "LiteRtGetNumSignatureInputs": (c_void_p, POINTER(c_size_t)),
    "LiteRtGetSignatureInputName": (c_void_p, c_size_t, POINTER(c_char_p)),
    "LiteRtGetSignatureInputTensorByIndex": (c_void_p, c_size_t, POINTER(c_void_p)),
    "LiteRtGetNumSignatureOutputs": (c_void_p, POINTER(c_size_t)),
    "LiteRtGetSignatureOutputName": (c_void_p, c_size_t, POINTER(c_char_p)),
    "LiteRtGetSignatureOutputTensorByIndex": (c_void_p, c_size_t, POINTER(c_void_p)),
    "LiteRtGetRankedTensorType": (c_void_p, POINTER(TensorType)),
    "LiteRtCreateTensorBufferFromHostMemory": (POINTER(TensorType), c_void_p, c_size_t, c_void_p, POINTER(c_void_p)),
    "LiteRtRunCompiledModel": (c_void_p, c_size_t, c_size_t, POINTER(c_void_p), c_size_t, POINTER(c_void_p)),
    "LiteRtGetCompiledModelOutputTensorLayouts": (c_void_p, c_size_t, c_size_t, POINTER(Layout), ctypes.c_bool),
    "LiteRtCompiledModelGetErrorMessages": (c_void_p, POINTER(c_void_p)),
}  # fmt: skip
_DESTROY = ("LiteRtDestroyTensorBuffer", "LiteRtDestroyCompiledModel", "LiteRtDestroyModel", "LiteRtDestroyOptions")
_lock = threading.Lock()
_loaded: list[tuple[ctypes.CDLL, c_void_p]] = []


def library() -> ctypes.CDLL:
    """It, with the types of its functions declared."""
    return _opened()[0]


def environment() -> c_void_p:
    """The one of this process; it computes on the CPU."""
    return _opened()[1]


def _opened() -> tuple[ctypes.CDLL, c_void_p]:
    with _lock:
        if not _loaded:
            found = ctypes.CDLL(str(Path(ai_edge_litert.__file__).parent / "libLiteRt.so"))
            for name, arguments in _FUNCTIONS.items():
                function = getattr(found, name)
                function.argtypes, function.restype = arguments, c_int
            for name in _DESTROY:
                getattr(found, name).argtypes, getattr(found, name).restype = (c_void_p,), None
            wanted = (
                EnvironmentOption(AUTO_REGISTER, INT_VALUE, CPU),
                EnvironmentOption(MIN_SEVERITY, INT_VALUE, ERRORS_ONLY),
            )
            options = (EnvironmentOption * len(wanted))(*wanted)
            made = c_void_p()
            must(found.LiteRtCreateEnvironment(len(wanted), options, byref(made)), "no environment")
            _loaded.append((found, made))
        return _loaded[0]


def must(status: int, what: str) -> None:
    """Raise Failed unless the status of a call is that of success; MemoryError when there was none."""
    if status == 2:
        raise MemoryError(f"{what}: {STATUS[2]}")
    if status:
        raise Failed(f"{what}: {STATUS.get(status, f'status {status}')}")


def get(function: Any, *arguments: Any) -> c_void_p:
    """What a function hands out by its last parameter, a handle."""
    found = c_void_p()
    must(function(*arguments, byref(found)), function.__name__)
    return found


def count(function: Any, handle: c_void_p) -> int:
    """The number that it hands out."""
    found = c_size_t()
    must(function(handle, byref(found)), function.__name__)
    return found.value


def text(function: Any, *arguments: Any) -> str:
    """The text that it hands out."""
    found = c_char_p()
    must(function(*arguments, byref(found)), function.__name__)
    return (found.value or b"").decode(errors="replace")


def tensor_type(tensor: c_void_p) -> TensorType:
    """Of a tensor of the file, with -1 for sizes that it leaves open."""
    found = TensorType()
    must(library().LiteRtGetRankedTensorType(tensor, byref(found)), "a tensor without a shape")
    return found


def empty(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """An array in memory that a model can use."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return cast("np.ndarray[Any, Any]", memory[start : start + size].view(dtype).reshape(shape))


def buffer_of(array: np.ndarray[Any, Any], element: int, size: int) -> c_void_p:
    """A tensor buffer over the `size` bytes from where an array of `empty` begins, which is to be kept as long."""
    kind = TensorType(element, Layout(array.ndim, array.shape))
    function = library().LiteRtCreateTensorBufferFromHostMemory
    return get(function, byref(kind), array.ctypes.data, size, None)
