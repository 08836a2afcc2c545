"""A `.tflite` file with its packed weights in a file that processes share.

XNNPACK packs the weights of a model into the order in which it reads them. LiteRT's `Interpreter` has that done for each
interpreter, in memory of its own: 104 MB for ResNet50. LiteRT's newer API can keep them in a file, which is mapped: all
processes that map it share its pages. serving.engines.packed_weights makes the file.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from ctypes import byref, c_void_p
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.engines import litert_c as c

Array = NDArray[Any]
_KEEP = ctypes.CFUNCTYPE(None, c_void_p)(lambda _payload: None)
"""Options free what they hold by a callback; it is Python's here."""


class Compiled:
    """The model for one thread at a time. Not safe to call from several.

    Raises RuntimeError when LiteRT cannot load it, MemoryError when there is not enough.
    """

    def __init__(self, model: Path, packed: Path, *, write: bool = False) -> None:
        """`packed` is read, or written by the first calls."""
        lib = c.library()
        self._model = c.get(lib.LiteRtCreateModelFromFile, c.environment(), os.fsencode(model))
        made: list[Callable[[], None]] = [partial(lib.LiteRtDestroyModel, self._model)]
        weakref.finalize(self, _undo, made).atexit = False
        # A descriptor for reading alone: LiteRT would begin a file anew that it cannot use, and other processes have it mapped.
        descriptor = os.open(packed, (os.O_RDWR | os.O_CREAT if write else os.O_RDONLY) | os.O_CLOEXEC, 0o644)
        settings = {
            b"xnnpack": f"num_threads = 1\nweight_cache_file_descriptor = {descriptor}\n",
            b"runtime_options_string": f"error_reporter_mode = {c.BUFFERED}\n",
        }
        kept = {name: ctypes.create_string_buffer(each.encode()) for name, each in settings.items()}
        options = c.get(lib.LiteRtCreateOptions)
        try:
            c.must(lib.LiteRtSetOptionsHardwareAccelerators(options, c.CPU), "no CPU")
            for name, each in kept.items():
                more = c.get(lib.LiteRtCreateOpaqueOptions, name, ctypes.addressof(each), _KEEP)
                c.must(lib.LiteRtAddOpaqueOptions(options, more), "options")
            self.handle = c.get(lib.LiteRtCreateCompiledModel, c.environment(), self._model, options)
        finally:
            lib.LiteRtDestroyOptions(options)
        made.append(partial(lib.LiteRtDestroyCompiledModel, self.handle))

    def runners(self) -> dict[str, SignatureRunner]:
        """By the keys of the file's signatures."""
        lib = c.library()
        found = {}
        for index in range(c.count(lib.LiteRtGetNumModelSignatures, self._model)):
            signature = c.get(lib.LiteRtGetModelSignature, self._model, index)
            found[c.text(lib.LiteRtGetSignatureKey, signature)] = SignatureRunner(self, index, signature)
        return found


def _undo(made: list[Callable[[], None]]) -> None:
    for each in reversed(made):
        each()


class SignatureRunner:
    """Runs one signature of a compiled model, as the interpreter's runner of that name does."""

    def __init__(self, compiled: Compiled, index: int, signature: c_void_p) -> None:
        lib = c.library()
        self._compiled, self._index = compiled, index
        self.inputs = {
            c.text(lib.LiteRtGetSignatureInputName, signature, each): c.tensor_type(
                c.get(lib.LiteRtGetSignatureInputTensorByIndex, signature, each)
            )
            for each in range(c.count(lib.LiteRtGetNumSignatureInputs, signature))
        }
        self.outputs = {
            c.text(lib.LiteRtGetSignatureOutputName, signature, each): c.tensor_type(
                c.get(lib.LiteRtGetSignatureOutputTensorByIndex, signature, each)
            )
            for each in range(c.count(lib.LiteRtGetNumSignatureOutputs, signature))
        }
        for name, kind in (self.inputs | self.outputs).items():
            if kind.element not in c.DTYPES:
                raise c.Failed(f"{name} holds values of type {kind.element}")
        for name, kind in self.outputs.items():
            if -1 in kind.layout.shape[1:]:
                raise c.Failed(f"the size of output {name} {list(kind.layout.shape)} is known only when it has run")
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._buffers: _Buffers | None = None
        self._most = 0
        """Rows of the largest call so far. After a call that failed, LiteRT may hold outputs to be of that size still."""

    def __call__(self, **arrays: Array) -> dict[str, Array]:
        """Outputs by name for inputs by name, of the same number of rows; raises RuntimeError, MemoryError."""
        shapes = tuple(arrays[name].shape for name in self.inputs)
        if self._buffers is None or shapes != self._shapes:
            self._buffers, self._shapes = None, shapes
            self._most = max(self._most, shapes[0][0])
            self._buffers = _Buffers(self, shapes, self._most)
        buffers = self._buffers
        for name, own in buffers.inputs.items():
            own[...] = arrays[name]
        status = c.library().LiteRtRunCompiledModel(self._compiled.handle, self._index, *buffers.arguments)
        if status:
            self._buffers = None
            raise RuntimeError(self._errors() or c.STATUS.get(status, f"status {status}"))
        if not buffers.verified:
            self._verify(buffers)
        return {name: own.copy() for name, own in buffers.outputs.items()}

    def _verify(self, buffers: _Buffers) -> None:
        """Raise RuntimeError unless the outputs have the sizes that their buffers were made for."""
        found = (c.Layout * len(self.outputs))()
        arguments = (self._compiled.handle, self._index, len(found), found, False)
        c.must(c.library().LiteRtGetCompiledModelOutputTensorLayouts(*arguments), "the outputs have no sizes")
        for (name, own), each in zip(buffers.outputs.items(), found, strict=True):
            if each.shape != own.shape:
                self._buffers = None
                raise RuntimeError(f"output {name} has shape {list(each.shape)}, not {list(own.shape)}")
        buffers.verified = True

    def _errors(self) -> str:
        """What LiteRT says about the last call, in one line."""
        lib, said = c.library(), c_void_p()
        if lib.LiteRtCompiledModelGetErrorMessages(self._compiled.handle, byref(said)) or not said.value:
            return ""
        words = ctypes.string_at(said.value).decode(errors="replace").split()
        ctypes.CDLL(None).free(said)
        return " ".join(words)


class _Buffers:
    """The memory of inputs and outputs for calls with inputs of these shapes; that of outputs could hold `most` rows."""

    def __init__(self, runner: SignatureRunner, shapes: tuple[tuple[int, ...], ...], most: int) -> None:
        rows = shapes[0][0]
        self.verified = False
        kinds = zip(runner.inputs.items(), shapes, strict=True)
        self.inputs = {name: c.empty(shape, c.DTYPES[kind.element]) for (name, kind), shape in kinds}
        self.outputs: dict[str, Array] = {}
        taken = []
        for name, kind in runner.outputs.items():
            first, *others = kind.layout.shape or (1,)
            memory = c.empty((most if first == -1 else first, *others), c.DTYPES[kind.element])
            self.outputs[name] = memory[:rows] if first == -1 else memory.reshape(kind.layout.shape)
            taken.append(self._handle(self.outputs[name], kind.element, memory.nbytes))
        given = [self._handle(each, runner.inputs[name].element, each.nbytes) for name, each in self.inputs.items()]
        self.arguments = (len(given), (c_void_p * len(given))(*given), len(taken), (c_void_p * len(taken))(*taken))

    def _handle(self, array: Array, element: int, size: int) -> int | None:
        handle = c.buffer_of(array, element, size)
        weakref.finalize(self, c.library().LiteRtDestroyTensorBuffer, handle).atexit = False
        return handle.value


def example(runner: SignatureRunner, rows: int, seed: int = 1) -> dict[str, Array]:
    """Inputs of a signature: numbers from 0 to 1, and 8 for each size that is open besides the number of rows."""
    random = np.random.default_rng(seed)
    found = {}
    for name, kind in runner.inputs.items():
        shape = [(8 if place else rows) if each == -1 else each for place, each in enumerate(kind.layout.shape)]
        dtype = np.dtype(c.DTYPES[kind.element])
        found[name] = (random.random(shape) if dtype.kind == "f" else random.integers(0, 2, shape)).astype(dtype)
    return found
