"""Finds out how a dataset's samples go into an ONNX file of a team's own, and which class each probability belongs to.

Inputs and classes are matched by name, never by their places alone: a class that is in another place would be a wrong
answer that nothing shows. Only the order of columns that one input takes side by side is the dataset's, unless the file's
metadata `columns` say another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.errors import ConfigError
from registry.records import OnnxWiring, Signature, TensorSpec
from training.data.spec import DataSpec
from training.model.onnx_classes import class_columns, label_columns
from training.model.onnx_file import check_onnx
from training.model.onnx_runtime import Port, RunError, feed, open_session, ports, run
from training.model.samples import Samples, big_batch, output_of, signature_of
from training.multi_label import exclusive

TRIED = (1, 2, 7)
"""Rows at once, of which the answers are compared with those of larger batches."""
TOLERANCE = 1e-4
SLACK = 0.02
"""How far probabilities may be from adding up to 1."""
FLOATS = {"float32", "float64", "float16"}
MISSING_HINT = (
    'set [table] missing = "keep" in dataset.toml, which lets NaN and empty texts through, and fill them in by what is exported: '
    "SimpleImputer in a pipeline of scikit-learn"
)
BATCH_HINT = 'leave the first dimension open: FloatTensorType([None, …]) in skl2onnx; dynamic_shapes={"x": {0: "batch"}} in torch.onnx.export'
ZIPMAP_HINT = 'convert with options={"zipmap": False} (for a pipeline: options={id(classifier): {"zipmap": False}})'
SAMPLES_HINT = (
    "the API gives the model each sample as the dataset has it, as in TRAINYARD_DATA: put what the script does to it "
    "(scale, encode, transpose) into what is exported"
)
NAMES_HINT = (
    "name each input like the dataset's column: initial_types=[(column, FloatTensorType([None, 1])), …] in skl2onnx; columns that the "
    "model does not take: ignore in dataset.toml"
)


@dataclass(frozen=True, slots=True)
class OnnxAnswers:
    """A file that suits the dataset, and what it answers for every sample: float32 (samples, classes), (samples, 1) or
    (samples, targets)."""

    signature: Signature
    wiring: OnnxWiring
    answers: Any


def wire_onnx(path: Path, spec: DataSpec, samples: Samples, origin: str) -> OnnxAnswers:
    """Scan the file, load it, and have it answer all samples.

    Raises ConfigError, naming `origin` (where the file comes from) where it does not suit the dataset; Corrupt.
    """
    facts = check_onnx(path)
    _check_missing(spec, origin)
    session = open_session(path)
    try:
        takes, gives = ports(session)
        label, output = _outputs(gives, spec)
        inputs, columns = _inputs(takes, samples, facts.metadata)
        signature = signature_of(spec, samples, inputs, output_of(spec))
        wanted = [output.name, *([label.name] if label else [])]
        _check_values(samples, inputs)
        found = _answers(session, signature, {each.name: each for each in takes}, columns, samples, wanted)
        numbers = np.asarray(found[0], np.float32)
        if spec.missing == "keep" and not np.isfinite(numbers).all():
            raise ConfigError(f"it answers NaN for {_without_answer(numbers)}", hint=MISSING_HINT)
        if numbers.ndim == 1:
            numbers = numbers[:, None]
        if not spec.classes:
            if numbers.shape[1:] != (len(spec.targets) or 1,):
                several = f"{len(spec.targets)} numbers are wanted, one per target"
                raise ConfigError(
                    f"its output {output.name} has shape {list(numbers.shape[1:])} for a sample; "
                    f"{several if spec.targets else 'one number is wanted'}",
                    hint=f"export a regression of {len(spec.targets) or 'one'} target{'s' * bool(spec.targets)}",
                )
            return OnnxAnswers(signature, OnnxWiring(output.name, (), columns), numbers)
        _check_probabilities(numbers, spec, output)
        if spec.task == "multi-label":
            order = label_columns(spec.classes, facts.metadata.get("classes", ""))
            if why := exclusive(numbers, samples.y):
                raise ConfigError(f"its output {output.name} {why}", hint="end with one sigmoid per label")
            return OnnxAnswers(signature, OnnxWiring(output.name, order, columns), numbers[:, list(order)])
        labels = found[1] if label else None
        order = class_columns(spec.classes, numbers, labels, facts.metadata.get("classes", ""), facts.classes)
        answers = np.where(np.array(order) < 0, 1 - numbers[:, :1], numbers[:, list(order)])
        return OnnxAnswers(signature, OnnxWiring(output.name, order, columns), answers)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}", hint=error.hint) from error


def _check_missing(spec: DataSpec, origin: str) -> None:
    if spec.missing == "impute" and any(each.has_missing for each in spec.columns):
        raise ConfigError(
            f'{origin}: [table] missing = "impute" fills values in inside of a Keras model only', hint=MISSING_HINT
        )


def _without_answer(numbers: Any) -> str:
    count = int((~np.isfinite(numbers.reshape(len(numbers), -1))).any(axis=1).sum())
    return f"{count:,} of {len(numbers):,} validation samples; some of them may lack a value"


def _inputs(takes: Sequence[Port], samples: Samples, metadata: Mapping[str, str]) -> tuple[tuple[TensorSpec, ...], str]:
    """The signature's inputs, and the input of the file that takes all of them side by side, if there is one."""
    have = samples.inputs
    for each in takes:
        if not each.dtype:
            raise ConfigError(
                f"its input {each.name} is {each.type}, not a tensor of numbers or texts", hint=SAMPLES_HINT
            )
        if each.shape and each.shape[0] is not None:
            raise ConfigError(f"its input {each.name} takes {each.shape[0]} sample(s) at a time", hint=BATCH_HINT)
    if len(takes) == 1 and len(have) == 1:
        return (_one(have[0], takes[0]),), ""
    if len(takes) == 1:
        return _columns(have, takes[0], metadata.get("columns", "")), takes[0].name
    by_name = _by_name([each.name for each in have], {each.name: each for each in takes})
    return tuple(_one(each, by_name[each.name]) for each in have), ""


def _by_name(names: Sequence[str], takes: Mapping[str, Port]) -> dict[str, Port]:
    """Name of the dataset → input of the file: the same name, or as skl2onnx and others write a name with blanks or signs."""
    spelled: dict[str, str] = {}
    for name in takes:
        spelled.setdefault(_spelling(name), name)
    found = {name: name if name in takes else spelled.get(_spelling(name), "") for name in names}
    missing = [name for name, other in found.items() if not other]
    unknown = sorted(takes.keys() - set(found.values()))
    if missing or unknown or len(set(found.values())) < len(found):
        parts = [f"it takes {len(takes)} inputs, the dataset has {len(names)}"]
        parts += [f"not among its inputs: {', '.join(missing[:6])}"] * bool(missing)
        parts += [f"not in the dataset: {', '.join(unknown[:6])}"] * bool(unknown)
        raise ConfigError("; ".join(parts), hint=NAMES_HINT)
    return {name: takes[other] for name, other in found.items()}


def _spelling(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _one(have: TensorSpec, port: Port) -> TensorSpec:
    """The dataset's input with the dtype that the file wants, its open dimensions closed by the file's."""
    want = port.shape if len(port.shape) != 1 or have.shape != (None, 1) else (None, 1)
    want = want or have.shape
    fits = len(want) == len(have.shape) and all(
        None in {a, b} or a == b for a, b in zip(want[1:], have.shape[1:], strict=True)
    )
    if not fits or (port.dtype == "string") != (have.dtype == "string"):
        raise ConfigError(
            f"it takes {port.dtype} {[each or '?' for each in port.shape]} as {port.name}; the dataset has {have.dtype} {[each or '?' for each in have.shape]}",
            hint=SAMPLES_HINT,
        )
    shape = (None, *(a if a is not None else b for a, b in zip(have.shape[1:], want[1:], strict=True)))
    return replace(have, shape=shape, dtype=_served(port.dtype), tensor_name=port.name)


def _columns(have: Sequence[TensorSpec], port: Port, said: str) -> tuple[TensorSpec, ...]:
    texts = {each.dtype == "string" for each in have}
    if any(each.shape != (None, 1) for each in have) or texts != {port.dtype == "string"}:
        raise ConfigError(
            f"it has one input, {port.name} of {port.dtype}; the dataset has {len(have)} of numbers and texts"
            if len(texts) > 1
            else f"it has one input, {port.name} of {port.dtype}; the dataset has {len(have)} of {have[0].dtype}",
            hint=NAMES_HINT,
        )
    if port.shape and (len(port.shape) != 2 or port.shape[1] not in {None, len(have)}):
        raise ConfigError(
            f"its input {port.name} takes {[each or '?' for each in port.shape]}; the dataset has {len(have)} columns",
            hint=NAMES_HINT,
        )
    by_name = {each.name: each for each in have}
    order = _listed(said, "columns", by_name) if said else list(by_name)
    return tuple(replace(by_name[name], dtype=_served(port.dtype)) for name in order)


def _listed(said: str, key: str, names: Mapping[str, Any]) -> list[str]:
    """The names in an entry of the metadata, which must be those of the dataset."""
    try:
        found = json.loads(said)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ConfigError(
            f"its metadata {key} are not a list in JSON: {said!r:.100}", hint=f"a list of the {key}' names"
        )
    if sorted(found) != sorted(names):
        differ = sorted(set(found) ^ set(names))
        raise ConfigError(
            f"its metadata {key} are not those of the dataset: {', '.join(differ[:6]) or 'one is there twice'}",
            hint=f"list the {key} of the dataset, each once",
        )
    return found


def _served(dtype: str) -> str:
    """What requests can carry: a 16-bit input is served as float32, and cast."""
    return "float32" if dtype == "float16" else dtype


def _outputs(gives: Sequence[Port], spec: DataSpec) -> tuple[Port | None, Port]:
    """The output with the classes' names, if there is one, and the one with the numbers."""
    if maps := [each for each in gives if "map(" in each.type]:
        raise ConfigError(
            f"its output {maps[0].name} is {maps[0].type}, made by ZipMap, not a tensor", hint=ZIPMAP_HINT
        )
    numbers = [each for each in gives if each.dtype in FLOATS]
    labels = [each for each in gives if each.dtype in {"string", "int64", "int32"}]
    if not spec.classes:
        numbers = numbers or labels
        if len(numbers) != 1:
            raise ConfigError(
                f"it has the outputs {_shown(gives)}; one number per sample is wanted", hint="give it one output"
            )
        return None, numbers[0]
    if len(numbers) > 1:
        numbers = [each for each in numbers if "prob" in each.name.lower()]
    if len(numbers) != 1:
        raise ConfigError(
            f"it has the outputs {_shown(gives)}; wanted: the probabilities of the classes, and their label if you like",
            hint="one output of numbers, called probabilities; a classifier that has predict_proba exports them",
        )
    if len(labels) > 1:
        labels = [each for each in labels if "label" in each.name.lower()][:1]
    return (labels[0] if labels else None), numbers[0]


def _shown(gives: Sequence[Port]) -> str:
    return ", ".join(f"{each.name} ({each.type})" for each in gives[:6])


def _check_values(samples: Samples, inputs: Sequence[TensorSpec]) -> None:
    """Raise ConfigError where the dataset's numbers are other ones in the dtype that the file takes."""
    for each in inputs:
        if each.dtype == "string" or each.dtype in FLOATS:
            continue
        values = np.asarray(samples.x[each.name])
        with np.errstate(invalid="ignore"):
            kept = values.astype(each.dtype)
        if each.may_miss or not np.array_equal(kept.astype(values.dtype), values):
            raise ConfigError(
                f"it takes {each.name} as {each.dtype}, in which the dataset's numbers are other ones",
                hint="export it with an input of floats: FloatTensorType",
            )


def _answers(
    session: Any, signature: Signature, takes: Mapping[str, Port], columns: str, samples: Samples, outputs: list[str]
) -> list[Any]:  # fmt: skip
    """The outputs for all samples; raises ConfigError when one sample is answered otherwise in another batch."""

    def ask(start: int, rows: int) -> list[Any]:
        named = samples.rows(slice(start, start + rows))
        cast = {
            each.name: named[each.name] if each.dtype == "string" else named[each.name].astype(each.dtype)
            for each in signature.inputs
        }
        try:
            found = run(session, outputs, feed(signature, takes, columns, cast))
        except RunError as error:
            raise ConfigError(f"it does not take the dataset's samples: {error}", hint=SAMPLES_HINT) from error
        have = len(next(iter(cast.values())))
        if any(len(np.shape(each)) == 0 or len(each) != have for each in found):
            raise ConfigError(f"it answers {have} samples with shape {list(np.shape(found[0]))}", hint=BATCH_HINT)
        return found

    size = big_batch(samples)
    parts = [ask(start, size) for start in range(0, len(samples), size)]
    found = [np.concatenate([part[i] for part in parts]) for i in range(len(outputs))]
    for rows in TRIED:
        few = np.asarray(ask(0, rows)[0], np.float64)
        if not np.allclose(few, found[0][: len(few)], TOLERANCE, TOLERANCE, equal_nan=True):
            raise ConfigError(
                f"it answers the same sample otherwise when it is in a batch of {rows}",
                hint="export the model for inference: model.eval() in PyTorch",
            )
    return found


def _check_probabilities(numbers: Any, spec: DataSpec, output: Port) -> None:
    classes = len(spec.classes)
    labels = spec.task == "multi-label"
    if numbers.ndim != 2 or numbers.shape[1] not in {classes, 1 if classes == 2 and not labels else classes}:
        what = ("labels", "label") if labels else ("classes", "class")
        raise ConfigError(
            f"its output {output.name} has shape {list(numbers.shape[1:])} for a sample; the dataset has {classes} {what[0]}",
            hint=f"one probability per {what[1]}; did the training see every {what[1]}?",
        )
    if labels:
        if np.isfinite(numbers).all() and (numbers.min() < -SLACK or numbers.max() > 1 + SLACK):
            raise ConfigError(
                f"its output {output.name} are not probabilities: they are not between 0 and 1",
                hint="end with a sigmoid in PyTorch; in scikit-learn take a classifier that has predict_proba",
            )
        return
    sums = numbers.sum(axis=1) if numbers.shape[1] > 1 else np.ones(len(numbers))
    if np.isfinite(numbers).all() and (
        abs(sums - 1).max() > SLACK or numbers.min() < -SLACK or numbers.max() > 1 + SLACK
    ):
        raise ConfigError(
            f"its output {output.name} are not probabilities: they do not add up to 1",
            hint="end with a softmax in PyTorch; in scikit-learn take a classifier that has predict_proba",
        )
