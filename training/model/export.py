"""What will be served, made from the live model: LiteRT when it computes the same as Keras, else a TensorFlow SavedModel.

1. Export with an endpoint that says `training=False` (`model.export()` would leave image augmentation on), convert with
   TensorFlow Lite's own operators only: "select" operators convert well and then cannot be loaded.
2. Recurrent layers have no operators for batches of any size: a signature for one sample and one for eight. A 16-bit model
   is rebuilt in 32 bits.
3. The file is checked in a process without TensorFlow, by the engine that will serve it, on real samples.
4. Whatever fails: a SavedModel, and the reason goes into the card.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from registry import codec
from registry.errors import WorkerFailed
from registry.records import Served, Signature
from training.loop.feed import Samples
from training.model.signature import Wiring, answers, signature

DEFAULT = "serving_default"
TFLITE, SAVED_MODEL = "model.tflite", "saved_model"
FIXED = (1, 8)
"""Batch sizes for models that cannot take any."""
CHECKED = 32
"""Samples in the check; also its largest batch."""
TOLERANCE = {"": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest difference to Keras, relative to its largest answer; a 16-bit model is no exact reference."""
SMALL = 1e-2
CHECK_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Exported:
    """The served file stands in the outputs; `answers` is what Keras says about every validation sample."""

    signature: Signature
    served: Served
    answers: Any


@dataclass(frozen=True, slots=True)
class Sample:
    """Real samples and what Keras answers: the reference of all checks."""

    inputs: dict[str, Any]
    answers: Any


def export(
    wiring: Wiring, samples: Samples, outputs: Path, parity_command: tuple[str, ...], meanwhile: Callable[[], None]
) -> Exported:
    """Write `model.tflite` or `saved_model/` into `outputs`. `meanwhile` runs here while the check runs there.

    Raises WorkerFailed when not even the SavedModel computes what the model computes.
    """
    scratch = outputs.parent / "export"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    described = signature(wiring, samples)
    answer = write_saved_model(wiring, scratch / SAVED_MODEL)
    given = answers(answer, wiring, samples)
    index = np.unique(np.linspace(0, len(samples) - 1, min(CHECKED, len(samples))).astype(np.int64))
    sample = Sample(wiring.arrays(samples.rows(index)), given[index])
    made = _litert(wiring, scratch)
    if isinstance(made, Served):
        check = _start_check(scratch, described, made, sample, parity_command, _kind16(wiring.model)[1])
        meanwhile()
        reason = check()
    else:
        meanwhile()
        reason = made
    if isinstance(made, Served) and not reason:
        (scratch / TFLITE).replace(outputs / TFLITE)
        checked = f"{made.reason}; answers like Keras on {len(index)} validation samples, one by one and in batches"
        served = replace(made, reason=checked)
    else:
        _check_saved_model(scratch / SAVED_MODEL, described, sample)
        (scratch / SAVED_MODEL).replace(outputs / SAVED_MODEL)
        served = Served("saved_model", SAVED_MODEL, f"not LiteRT: {reason}")
    shutil.rmtree(scratch)
    return Exported(described, served, given)


def write_saved_model(wiring: Wiring, folder: Path, batches: tuple[int, ...] = ()) -> Any:
    """Export one endpoint for any batch size, or one per size in `batches`; gives the first one's function of inputs by name."""
    call = functools.partial(wiring.model.__call__, training=False)
    name = wiring.output

    def serve(tensors: Any) -> Any:
        named = {each.name: tensors[each.tensor] for each in wiring.inputs}
        return {name: wiring.answer(call(wiring.arrange(named)))}

    archive = keras.export.ExportArchive()
    functions = []
    for size in batches or (None,):
        specs = {
            each.tensor: tf.TensorSpec((size, *each.shape[1:]), tf.as_dtype(each.dtype), name=each.tensor)
            for each in wiring.inputs
        }
        key = f"batch_{size}" if size else DEFAULT
        functions.append(archive.add_endpoint(key, serve, input_signature=[specs]))
    if any(_uses_more_than_variables(each.get_concrete_function()) for each in functions):
        archive.track(wiring.model)  # finds tables, but traces the whole model twice more to do so
    archive.write_out(str(folder), verbose=False)
    return lambda named: functions[0]({each.tensor: named[each.name] for each in wiring.inputs})[name]


def _uses_more_than_variables(function: Any) -> bool:
    """Whether a traced function refers to tables or other resources: variables the archive finds by itself."""
    return len(function.captured_inputs) != len(function.variables)


def _litert(wiring: Wiring, scratch: Path) -> Served | str:
    """Write `model.tflite`; gives how it is served, or why it cannot be."""
    notes, saved = ["LiteRT, its own operators only"], scratch / SAVED_MODEL
    try:
        config, kind = _kind16(wiring.model)
        if kind:
            wiring = replace(wiring, model=_rebuild(wiring, config))
            saved = scratch / "float32"
            write_saved_model(wiring, saved)
            notes.append(f"rebuilt from {kind} in float32")
        batches: tuple[int, ...] = ()
        try:
            data = _convert(saved, [DEFAULT])
        except Exception as error:
            if "TensorListReserve" not in str(error):
                raise
            batches = FIXED
            write_saved_model(wiring, scratch / "fixed", batches)
            data = _convert(scratch / "fixed", [f"batch_{size}" for size in batches])
            notes.append(f"recurrent layers: fixed batches of {' and '.join(map(str, batches))}")
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever the converter stumbles over, there is another way to serve)
        return _reason(error)
    (scratch / TFLITE).write_bytes(data)
    return Served("litert", TFLITE, "; ".join(notes), batches)


def _convert(folder: Path, keys: list[str]) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=keys)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def _reason(error: Exception) -> str:
    if select := re.search(r"TF Select ops: ([^\n]*)", str(error)):
        return f"it has no operators for {select[1].strip()}"
    return f"the conversion failed: {type(error).__name__}: {' '.join(str(error).split()):.300}"


def _start_check(
    scratch: Path, described: Signature, served: Served, sample: Sample, command: tuple[str, ...], kind: str
) -> Callable[[], str]:
    """Start the check in a process of its own; the result waits for it and gives why not, or nothing."""
    if not command:
        return lambda: "there is no command to check it with"
    codec.save(described, scratch / "signature.json")
    codec.save(served, scratch / "served.json")
    arrays = {f"in_{i}": sample.inputs[each.name] for i, each in enumerate(described.inputs)}
    np.savez(scratch / "parity.npz", allow_pickle=False, **arrays, out_0=sample.answers)
    argv = [sys.executable if each == "{python}" else each for each in command]
    argv += [str(scratch), "--tolerance", str(TOLERANCE[kind])]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        why = f"the check could not start: {error}"
        return lambda: why

    def result() -> str:
        with process:
            try:
                _, text = process.communicate(timeout=CHECK_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                return f"the check took longer than {CHECK_SECONDS} s"
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        return f"the check failed: {last or f'exit code {process.returncode}'}" if process.returncode else ""

    return result


def _check_saved_model(folder: Path, described: Signature, sample: Sample) -> None:
    """Load what will be served, and compare it with the live model at several batch sizes."""
    function = tf.saved_model.load(str(folder)).signatures[DEFAULT]
    rows = len(sample.answers)
    for batch in (1, 2, 7, rows):
        index = np.arange(batch) % rows
        tensors = {each.tensor: tf.constant(sample.inputs[each.name][index]) for each in described.inputs}
        found = function(**tensors)[described.outputs[0].name].numpy()
        wanted = sample.answers[index]
        difference = np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), SMALL)
        if not difference <= TOLERANCE[""]:
            raise WorkerFailed(
                f"the exported model differs from the Keras model by {difference:.2g} on the same samples",
                hint="does the model draw random numbers or depend on the batch when it only predicts?",
            )


def _kind16(model: Any) -> tuple[Any, str]:
    """The model's config with every 16-bit dtype made float32, and which kind there was: float16, bfloat16 or none."""
    found: set[str] = set()

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            policy = value.get("class_name") == "DTypePolicy"
            return {
                k: walk(v, "dtype" if (policy and k == "config") or key == "dtype" else k) for k, v in value.items()
            }
        if isinstance(value, (list, tuple)):
            return type(value)(walk(each) for each in value)
        if key == "dtype" and isinstance(value, str) and value.removeprefix("mixed_") in {"float16", "bfloat16"}:
            found.add(value.removeprefix("mixed_"))
            return "float32"
        return value

    try:
        config = walk(model.get_config())
    except NotImplementedError:  # a subclass that cannot tell
        return None, ""
    return config, max(found, default="")


def _rebuild(wiring: Wiring, config: Any) -> Any:
    """The same model with the same weights in float32."""
    model = wiring.model
    twin = type(model).from_config(config)
    if not twin.built:
        one = {each.name: tf.zeros((1, *each.shape[1:]), each.dtype) for each in wiring.inputs}
        twin(wiring.arrange(one), training=False)
    twin.set_weights([np.asarray(each).astype(np.float32) if _short(each) else each for each in model.get_weights()])
    return twin


def _short(array: Any) -> bool:
    return str(array.dtype) in {"float16", "bfloat16"}
