"""Makes arrays of labelled predictions that no training saw: `python -P -m pipelines.workers.recent`, a RecentJob on stdin.

In the job's folder it leaves `recent.json` (names of the inputs, labels, notes) and `x0.npy` …, in the order of the inputs, whose first
axis is the prediction. No value is guessed: a prediction of which the log has not kept everything is left out, with a reason.
The result on stdout is that of `recent.json` without the labels.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.workers.jobs import RecentJob
from pipelines.workers.label_files.answers import Key, answers
from pipelines.workers.label_files.sample import Labelled, Unusable, value_of
from registry import codec
from registry.errors import PipelineError, from_os_error
from registry.files import write_whole
from registry.label_manifest import answers_in
from registry.records import Signature, TensorSpec
from serving.engines.base import Array

MOST = 20_000
"""Predictions; of more, a sample that is the same each time."""
SHOWN = 3
"""Reasons for what is left out, the most frequent first."""


def main() -> int:
    """Do what the job says; an exit code as `trainyard` has it."""
    job = codec.from_json(RecentJob, sys.stdin.buffer.read(), "the job")
    try:
        try:
            found = make(job)
        except OSError as error:
            raise from_os_error(error, job.folder) or error from None
    except PipelineError as error:
        sys.stdout.write(json.dumps({"error": str(error), "hint": error.hint, "exit_code": error.exit_code}) + "\n")
        return error.exit_code
    sys.stdout.write(json.dumps({"rows": len(found["labels"]), "notes": found["notes"]}) + "\n")
    return 0


def make(job: RecentJob) -> dict[str, Any]:
    """Write the files, `recent.json` last; gives what is in that."""
    wanted = {(each.request, each.row): each.label for each in job.rows}
    trained = wanted.keys() & (
        set(answers_in(Path(job.manifest).read_bytes(), job.model)) if Path(job.manifest).is_file() else set()
    )
    chosen = sorted(wanted.keys() - trained, key=_draw)[:MOST]
    rows, gone = answers(Path(job.log), {key: wanted[key] for key in chosen}, with_images=job.signature.kind == "image")
    reasons = Counter(gone.values())
    arrays, labels = list[list[Array]](), list[str]()
    for each in rows:
        try:
            arrays.append(_arrays(each, job.signature))
        except Unusable as error:
            reasons[str(error)] += 1
        else:
            labels.append(each.label)
    folder = Path(job.folder)
    for place in range(len(job.signature.inputs) if arrays else 0):
        np.save(folder / f"x{place}.npy", np.stack([each[place] for each in arrays]), allow_pickle=False)
    notes = [f"{count} left out: {reason}" for reason, count in reasons.most_common(SHOWN)]
    if count := len(trained) + job.committed:
        notes.insert(0, f"{count} left out: they are samples of the dataset")
    found = {"inputs": [each.name for each in job.signature.inputs], "labels": labels, "notes": notes}
    write_whole(folder / "recent.json", json.dumps(found).encode())
    return found


def _draw(key: Key) -> bytes:
    return hashlib.sha256(f"{key[0]}/{key[1]}".encode(errors="replace")).digest()


def _arrays(each: Labelled, signature: Signature) -> list[Array]:
    """One array per input, without the axis of samples. Raises Unusable."""
    if not each.label:
        raise Unusable("its label is not known")
    return [_image(each, spec) if signature.kind == "image" else _array(each, spec) for spec in signature.inputs]


def _image(each: Labelled, spec: TensorSpec) -> Array:
    from PIL import Image

    if each.image is None:
        raise Unusable('its image is not kept: set [prediction_log] images = "file"')
    pixels = np.asarray(Image.open(io.BytesIO(each.image)))
    return _shaped(pixels[..., None] if pixels.ndim == 2 else pixels, spec)


def _array(each: Labelled, spec: TensorSpec) -> Array:
    found = value_of(each, spec.name, may_miss=spec.may_miss)
    if found is None:
        found = "" if spec.dtype == "string" else math.nan
    value = np.asarray(found)
    if value.dtype == object:
        raise Unusable(f"its {spec.name!r} has missing values")
    if spec.dtype == "string":
        return _shaped(value.astype(str), spec)
    if value.dtype.kind not in "biuf":
        raise Unusable(f"its {spec.name!r} is not a number")
    return _shaped(value.astype(np.float64 if spec.dtype.startswith("float") else spec.dtype), spec)


def _shaped(value: Array, spec: TensorSpec) -> Array:
    wanted = spec.shape[1:]
    if None not in wanted and value.size == np.prod([each or 0 for each in wanted], dtype=int):
        return value.reshape([each or 0 for each in wanted])
    raise Unusable(f"its {spec.name!r} has another shape than the model's input")


if __name__ == "__main__":
    sys.exit(main())
