"""What will be served, made from the live model: LiteRT when it computes the same as Keras, else a TensorFlow SavedModel.

1. Export with an endpoint that says `training=False` (`model.export()` would leave image augmentation on), convert with
   TensorFlow Lite's own operators only: "select" operators convert well and then cannot be loaded.
2. Recurrent layers have no operators for batches of any size: a signature for one sample and one for eight. A 16-bit model
   is rebuilt in 32 bits.
3. The file is checked in a process without TensorFlow, by the engine that will serve it, on real samples.
4. Whatever fails: a SavedModel, and the reason goes into the manifest.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from registry import codec
from registry.errors import Corrupt, WorkerFailed
from registry.records import Served, Signature
from training.model.parity_check import ParityCheck
from training.model.samples import Samples
from training.model.saved_model_file import check_saved_model
from training.model.signature import Wiring, answers, signature
from training.model.tflite_file import check_tflite
from training.worker.protocol import report_event

DEFAULT = "serving_default"
TFLITE, SAVED_MODEL = "model.tflite", "saved_model"
FIXED = (1, 8)
"""Batch sizes for models that cannot take any."""
CHECKED = 32
"""Samples in the check; also its largest batch."""
TOLERANCE = {"": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest difference to Keras, relative to its largest answer; a 16-bit model is not an exact reference."""
SMALL = 1e-2


@dataclass(frozen=True, slots=True)
class Exported:
    """The served file is in the outputs; `answers` is what Keras says about every validation sample."""

    signature: Signature
    served: Served
    answers: Any


@dataclass(frozen=True, slots=True)
class Reference:
    """Real samples and what Keras answers: what all checks compare with."""

    inputs: dict[str, Any]
    answers: Any


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the conversion to LiteRT gave: how `model.tflite` is served, or None and why it cannot be."""

    served: Served | None
    failure: str = ""


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
    reference = Reference(wiring.arrays(samples.rows(index)), given[index])
    conversion = _convert_to_litert(wiring, scratch)
    failure = conversion.failure
    if conversion.served:
        _write_reference(scratch, described, conversion.served, reference)
        check = ParityCheck(scratch, parity_command, TOLERANCE[_kind16(wiring.model)[1]])
        meanwhile()
        failure = check.failure()
    else:
        meanwhile()
    if conversion.served and not failure:
        (scratch / TFLITE).replace(outputs / TFLITE)
        checked = f"answers like Keras on {len(index)} validation samples, one by one and in batches"
        served = replace(conversion.served, reason=f"{conversion.served.reason}; {checked}")
    else:
        _check_saved_model(scratch / SAVED_MODEL, described, reference)
        (scratch / SAVED_MODEL).replace(outputs / SAVED_MODEL)
        served = Served("saved_model", SAVED_MODEL, f"not LiteRT: {failure}")
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


def _convert_to_litert(wiring: Wiring, scratch: Path) -> Conversion:
    """Write `model.tflite`, if the model can be converted."""
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
    except Exception as error:  # noqa: BLE001  (whatever the converter fails on, there is another way to serve)
        return Conversion(None, _reason(error))
    (scratch / TFLITE).write_bytes(data)
    try:
        check_tflite(scratch / TFLITE)
    except Corrupt as error:  # it is as the converter made it, and would not be served
        return Conversion(None, str(error).partition(": ")[2])
    return Conversion(Served("litert", TFLITE, "; ".join(notes), batches))


def _convert(folder: Path, keys: list[str]) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=keys)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    report_event("quiet", on=True)  # it prints errors where another way to serve is all that follows
    try:
        return bytes(converter.convert())
    finally:
        report_event("quiet", on=False)


def _reason(error: Exception) -> str:
    if select := re.search(r"TF Select ops: ([^\n]*)", str(error)):
        return f"it has no operators for {select[1].strip()}"
    return f"the conversion failed: {type(error).__name__}: {' '.join(str(error).split()):.300}"


def _write_reference(scratch: Path, described: Signature, served: Served, reference: Reference) -> None:
    """What the check reads beside `model.tflite`."""
    codec.save(described, scratch / "signature.json")
    codec.save(served, scratch / "served.json")
    arrays = {f"in_{i}": reference.inputs[each.name] for i, each in enumerate(described.inputs)}
    np.savez(scratch / "parity.npz", allow_pickle=False, **arrays, out_0=reference.answers)


def _check_saved_model(folder: Path, described: Signature, reference: Reference) -> None:
    """Check its operators, load what will be served, and compare it with the live model at several batch sizes."""
    check_saved_model(folder)
    function = tf.saved_model.load(str(folder)).signatures[DEFAULT]
    rows = len(reference.answers)
    for batch in (1, 2, 7, rows):
        index = np.arange(batch) % rows
        tensors = {each.tensor: tf.constant(reference.inputs[each.name][index]) for each in described.inputs}
        found = function(**tensors)[described.outputs[0].name].numpy()
        wanted = reference.answers[index]
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
    except NotImplementedError:  # a subclass without a config
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
