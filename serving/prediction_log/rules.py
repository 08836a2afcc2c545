"""What is kept of each input and output, and of which requests: rules without I/O. Light: the model card says them, too.

By default a number is kept as it is, a categorical column of a table where the training data share the value among many,
of arrays and images their features, and of any other text nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Literal

from registry.dataclass import dataclass
from registry.records import Signature, TensorSpec
from registry.records.data import THRESHOLD
from training.data.spec import Column, DataSpec

How = Literal["value", "hash", "bin", "no", "features", "file", "top"]
COLUMN_RULES = ("value", "hash", "bin", "no")
"""What settings may say of a column."""
IMAGE_RULES = ("no", "features", "file")
MOST_VALUES = 1024
"""Numbers of one instance's array that are kept with "value"; of a larger one its features are."""
MOST_OUTPUTS = 32
"""Numbers of an output that are kept; of a longer one the largest with their places ("top")."""
MOST_TEXT = 200
"""Characters of a text that is kept."""
HASH_DIGITS = 16
BIN_EDGES = (-1.2816, -0.8416, -0.5244, -0.2533, 0.0, 0.2533, 0.5244, 0.8416, 1.2816)
"""Of "bin", in standard deviations from the training data's mean: ten bins of one size for a bell curve."""
SAID = {
    "value": "as it is",
    "hash": "as a keyed hash",
    "features": "by its features only",
    "file": "its features, and the image itself",
    "no": "not at all",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one input or output. `how` is "features" or "file" for images, "features" for other arrays."""

    name: str
    how: How
    column: Column | None = None
    """With its mean and variance, or its common values, where `how` is "bin"."""
    is_image: bool = False

    @property
    def words(self) -> str:
        """For people, behind the name."""
        if self.how == "bin":
            numeric = self.column is not None and self.column.kind == "numeric"
            return "as one of ten bins" if numeric else "if many samples of the training data share the value"
        return SAID[self.how]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept of the answers of one model."""

    inputs: tuple[Kept, ...]
    outputs: tuple[Kept, ...]

    @property
    def has_files(self) -> bool:
        """Whether images themselves are kept."""
        return any(each.how == "file" for each in self.inputs)

    def said(self) -> dict[str, str]:
        """For people: input → what is kept of it."""
        return {each.name: each.words for each in self.inputs}


def make_plan(signature: Signature, data: DataSpec | None, columns: Mapping[str, str], images: str) -> Plan:
    """What is kept of the inputs and outputs in `signature`. `columns`, from the settings, may name others, too.

    `data`: the dataset that the model was trained on, for bins; without it a "bin" is as good as "no".
    """
    known = {each.name: each for each in (data.columns if data else ())}
    inputs = [
        _input(each, signature, known.get(each.name), columns.get(each.name, ""), images) for each in signature.inputs
    ]
    outputs = [Kept(each.name, _output(each, columns.get(each.name, ""))) for each in signature.outputs]
    if signature.task == "anomaly":  # its threshold is the same in every answer
        outputs = [Kept(each.name, "no") if each.name == THRESHOLD else each for each in outputs]
    return Plan(tuple(inputs), tuple(outputs))


def unknown_columns(plan: Plan, columns: Mapping[str, str]) -> list[str]:
    """Names in the settings that the model does not have."""
    return sorted(columns.keys() - {each.name for each in (*plan.inputs, *plan.outputs)})


def _input(spec: TensorSpec, signature: Signature, column: Column | None, rule: str, images: str) -> Kept:
    if signature.kind == "image" and len(spec.shape) == 4:
        return Kept(spec.name, _of_image(rule, images), is_image=True)
    if spec.dtype == "string":
        usable = column if column and column.kind == "categorical" and is_scalar(spec) else None
        how: How = _one_of(rule) or ("bin" if usable else "no")
        return Kept(spec.name, "no" if how == "bin" and usable is None else how, usable)
    if not is_scalar(spec):
        how = _one_of(rule) or "features"
        many = how == "value" and numbers_of(spec) > MOST_VALUES
        return Kept(spec.name, "features" if how == "bin" or many else how)
    how = _one_of(rule) or "value"
    usable = column if column and column.kind == "numeric" and column.variance > 0 else None
    return Kept(spec.name, "no" if how == "bin" and usable is None else how, usable)


def _of_image(rule: str, images: str) -> How:
    how: How = "file" if images == "file" else "no" if images == "no" else "features"
    return "no" if rule == "no" else "hash" if rule == "hash" else how


def _output(spec: TensorSpec, rule: str) -> How:
    if rule in {"hash", "no"}:
        return "hash" if rule == "hash" else "no"
    return "top" if spec.dtype != "string" and numbers_of(spec) > MOST_OUTPUTS else "value"


def _one_of(rule: str) -> How | None:
    return next((each for each in ("value", "hash", "bin", "no") if each == rule), None)


def is_scalar(spec: TensorSpec) -> bool:
    """Whether an instance has one value."""
    return spec.shape[1:] in {(), (1,)}


def numbers_of(spec: TensorSpec) -> int:
    """How many numbers an instance has; a size that is left open counts as more than is kept."""
    count = 1
    for size in spec.shape[1:]:
        count *= MOST_VALUES + 1 if size is None else size
    return count


def is_chosen(request_id: str, fraction: float) -> bool:
    """Whether a request is kept: the same for the same id, wherever it is asked."""
    if fraction >= 1.0:
        return True
    digest = hashlib.blake2b(request_id.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) < fraction * 2.0**64


def keyed_hash(key: bytes, name: str, value: bytes) -> str:
    """16 hexadecimal digits of an HMAC-SHA256: equal for equal values of the input `name`, and to nobody without the key
    more than that. The same value in another input has another."""
    return hmac.digest(key, name.encode(errors="replace") + b"\0" + value, "sha256").hex()[:HASH_DIGITS]


def criterion_hash(key: bytes, kind: str, value: str) -> str:
    """How a record of a purge names a request or a caller without naming it."""
    return keyed_hash(key, f"purge {kind}", value.encode(errors="replace"))


def said_of_settings(columns: Mapping[str, str], images: str, fraction: float) -> Iterator[str]:
    """Sentences for a model card, where the settings are known and the model may be any."""
    share = "every request" if fraction >= 1 else f"{fraction:.4g} of all requests, by a hash of the id"
    yield f"The API keeps a line per instance of {share}: caller, time, inputs by the rules below, outputs, latency."
    yield f"Images: {SAID[images]}. Texts: only values that many samples of the training data share."
    named = ", ".join(f"{name}: {rule}" for name, rule in sorted(columns.items()))
    if named:
        yield f"By column: {named}."
