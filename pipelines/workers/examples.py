"""The answers that a person wants to see before a decision: a candidate's worst ones, and those that change most."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.workers.compatibility import Array
from pipelines.workers.examples_file import CELLS, FILE, LONGEST, MOST, MOST_BYTES, SIDE, Answer, Example, Examples
from registry import codec
from registry.files import write_whole
from registry.records import Importance, Signature
from registry.text import printable, shortened
from training.anomaly import Scores
from training.data.checks import ANOMALOUS, ORDINARY, UNKNOWN
from training.metrics import Answers, Estimates, Floats, Graded, Ints
from training.multi_label import LabelAnswers


class ExampleMaker:
    """Chooses among the answers for a holdout, and writes them down with what was asked."""

    def __init__(
        self, inputs: Path, signature: Signature, x: Mapping[str, Array], classes: Sequence[str], rows: Ints
    ) -> None:
        """`x`: the samples; `rows`: those that the answers are for."""
        self._names = json.loads((inputs / "holdout" / "names.json").read_text(encoding="utf-8"))
        self._signature, self._x, self._classes, self._rows = signature, x, classes, rows

    def make(self, new: Graded, live: Graded | None, version: int | None, looks_at: Importance | None) -> Examples:
        """The examples; `new` and `live` are answers for the same samples."""
        columns = self._columns(looks_at)
        differs = _differences(new, live) if live is not None else np.zeros(len(new.truth))
        better = _errors(new) - _errors(live) if live is not None else differs
        changed = differs > 0

        def example(place: int) -> Example:
            return self._example(place, new, live, columns)

        return Examples(
            samples=len(new.truth),
            live_version=version if live is not None else None,
            worst=tuple(map(example, _largest(_badness(new)))),
            changed=tuple(map(example, _largest(differs))),
            differ=int(changed.sum()),
            fixed=int((changed & (better < 0)).sum()),
            broken=int((changed & (better > 0)).sum()),
        )

    def _example(self, place: int, new: Graded, live: Graded | None, columns: Sequence[str]) -> Example:
        row = int(self._rows[place])
        return Example(
            sample=_text(self._names[row]) if row < len(self._names) else "",
            truth=_truth(new, place, self._classes),
            candidate=_answer(new, place, self._classes),
            live=None if live is None else _answer(live, place, self._classes),
            cells=tuple((_text(name), _cell(self._x[name][row])) for name in columns),
            image=self._image(row),
        )

    def _columns(self, looks_at: Importance | None) -> list[str]:
        """Of a row the columns that matter most, else the first ones."""
        if self._signature.kind == "image":
            return []
        single = [each.name for each in self._signature.inputs if self._x[each.name][:1].size == 1]
        known = [each.name for each in looks_at.inputs] if looks_at else []
        ranked = sorted(single, key=lambda name: known.index(name) if name in known else len(known))
        return ranked[:CELLS]

    def _image(self, row: int) -> str:
        if self._signature.kind != "image":
            return ""
        pixels = np.asarray(next(iter(self._x.values()))[row])
        return small_image(pixels) if pixels.dtype == np.uint8 else ""


def write_examples(found: Examples, outputs: Path) -> None:
    """Leave the file, whole; without the images when it would be too large."""
    data = codec.to_json(found)
    if len(data) <= MOST_BYTES:
        write_whole(outputs / FILE, data)


def small_image(pixels: Array) -> str:
    """A small PNG in base64, of an image with 1 or 3 channels; empty for other arrays."""
    from PIL import Image

    flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if flat.ndim != 2 and (flat.ndim != 3 or flat.shape[2] != 3):
        return ""
    image = Image.fromarray(np.ascontiguousarray(flat))
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _badness(of: Graded) -> Floats:
    """How bad each answer is; 0: it is right."""
    if isinstance(of, Estimates):
        return of.losses
    if isinstance(of, Scores):
        missed: Floats = np.where(_errors(of) > 0, np.nan_to_num(np.abs(of.score), nan=np.inf) + 1e-9, 0.0)
        return missed
    wrong: Floats = np.where(of.right, 0.0, np.nan_to_num(of.log_loss, nan=np.inf) + 1e-9)
    return wrong


def _errors(of: Graded) -> Floats:
    """How wrong each answer is; of anomalies 1 or 0, where what is not marked counts as usual."""
    if isinstance(of, Scores):
        wrong: Floats = ((of.truth == 1) != of.predicted).astype(np.float64)
        return wrong
    return of.losses


def _differences(new: Graded, live: Graded) -> Floats:
    """How far the answers of two models are apart; 0: they are the same."""
    if isinstance(new, Estimates) and isinstance(live, Estimates):
        apart = np.abs(new.predicted - live.predicted).reshape(len(new.truth), -1).mean(axis=1)
    elif isinstance(new, Answers) and isinstance(live, Answers):
        apart = np.where(new.predicted == live.predicted, 0.0, np.abs(new.log_loss - live.log_loss) + 1e-9)
    elif isinstance(new, Scores) and isinstance(live, Scores):
        apart = np.where(new.predicted == live.predicted, 0.0, np.abs(new.score - live.score) + 1e-9)
    else:
        assert isinstance(new, LabelAnswers)
        assert isinstance(live, LabelAnswers)
        apart = (new.predicted != live.predicted).mean(axis=1)
    found: Floats = np.nan_to_num(apart, nan=np.inf)
    return found


def _largest(values: Floats) -> list[int]:
    """The places of the largest ones above 0; of equal ones the first."""
    order = np.argsort(-values, kind="stable")[:MOST]
    return [int(each) for each in order if values[each] > 0]


def _truth(of: Graded, place: int, classes: Sequence[str]) -> str:
    if isinstance(of, Scores):
        return {1.0: ANOMALOUS, 0.0: ORDINARY}.get(float(of.truth[place]), UNKNOWN)
    return _said(of, of.truth[place], classes)


def _answer(of: Graded, place: int, classes: Sequence[str]) -> Answer:
    if isinstance(of, Scores):
        said = f"{ANOMALOUS if of.predicted[place] else ORDINARY}, score {of.score[place]:.4g}"
        return Answer(said, bool(of.predicted[place] == of.truth[place]) if np.isfinite(of.truth[place]) else None)
    said = _said(of, of.predicted[place], classes)
    if isinstance(of, Estimates):
        return Answer(said, None, off=_number(of.losses[place]))
    sure = _number(of.confidence[place]) if isinstance(of, Answers) else None
    return Answer(said, bool(of.right[place]), sure)


def _said(of: Graded, value: Any, classes: Sequence[str]) -> str:
    if isinstance(of, Estimates):
        each = np.atleast_1d(value)[:CELLS]
        names = of.targets[:CELLS] or ("",)
        return ", ".join(f"{_text(name)} {number:.4g}".strip() for name, number in zip(names, each, strict=False))
    if isinstance(of, Answers):
        return _text(classes[int(value)]) if 0 <= int(value) < len(classes) else "no class of the dataset"
    given = [_text(classes[each]) for each in np.flatnonzero(value)[:CELLS]]
    return ", ".join(given) or "no label"


def _cell(value: Array) -> str:
    single = np.asarray(value).reshape(-1)[0]
    return f"{float(single):.6g}" if np.asarray(single).dtype.kind in "fiub" else _text(single)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return shortened(printable(text), LONGEST)
