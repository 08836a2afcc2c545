"""To which logged requests a candidate answers another class: `python -P -m pipelines.workers.disagreement`, its job as JSON on stdin.

The job: `log`, the prediction log's folder; `since`, a moment as ISO has it; `version`, the candidate's folder; `scratch`, a folder
for copies of its files; `most`, lines at most; `seconds`, for predicting them. The result, JSON on stdout, is a `Result`.

A line can be predicted again when the log keeps all inputs as they were: numbers of 7 digits, texts, and images as PNG. They go into
the model by the code that reads requests. It runs a model, so it is started in a fence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.workers.label_files.answers import answered, kept_images, lines_of, rules_of
from pipelines.workers.label_files.sample import NO_IMAGE, TWICE, Labelled, Unusable, value_of
from pipelines.workers.question import answer
from registry.errors import WorkerFailed
from registry.records import TensorSpec
from serving.batch.block import Rejected
from serving.batch.images import IMAGES
from serving.batch.lines import one_by_one
from serving.batch.run_rows import predict
from serving.batch.work import load_for
from serving.engines.base import EngineError, cores
from serving.prediction_log.images import member_name
from serving.prediction_log.tables import Wanted, read
from serving.prediction_log.values import best
from serving.probabilities import Probabilities
from serving.protocols.read_instances import Reader
from serving.version_files import check_folder

AT_ONCE = 256
"""Rows that are predicted together."""
NO_CLASS = "its answer has no class"
LATE = "the time was over"
REASONS = 5
"""So many are reported, those of the most lines."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What came of it. Each of `lines` was predicted, was left out, or was not drawn."""

    lines: int
    """Answered ones since the moment."""
    predicted: int
    others: list[tuple[str, int]]
    """Request and row of those to which the candidate answers another class."""
    left_out: int
    """Lines that cannot be predicted again, though some of them may not have been drawn."""
    reasons: dict[str, int]
    """Why, for the most frequent reasons → lines."""


def main(job: Mapping[str, Any]) -> Result:
    """Draw lines, and predict them. Raises Corrupt when a file is not the version's, WorkerFailed when the model does not run."""
    version = Path(job["version"])
    check_folder(version)
    asked = _Candidate(version, Path(job["scratch"]))
    drawn = _Draw(asked, int(job["most"]))
    for lines in read(Path(job["log"]), Wanted(datetime.fromisoformat(job["since"]), columns=COLUMNS, live=True)):
        kept = rules_of(lines)
        for line in lines_of(answered(lines)):
            drawn.offer(Labelled(line["id"], line["row"], line.get("class") or "", line.get("inputs") or {}, kept))
    end = time.monotonic() + float(job["seconds"])
    others = [(each.request, each.row) for each in asked.others(drawn, Path(job["log"]), end)]
    return Result(
        drawn.lines, asked.predicted, sorted(others), drawn.left_out.total(), dict(drawn.left_out.most_common(REASONS))
    )


COLUMNS = ("id", "row", "status", "class", "inputs")


class _Draw:
    """Lines drawn at random, each as likely as any other of those that can be predicted again; by their ids alone."""

    def __init__(self, candidate: _Candidate, most: int) -> None:
        self.lines, self.left_out = 0, Counter[str]()
        self._candidate, self._most = candidate, most
        self._heap: list[tuple[int, int, Labelled, Any]] = []

    def offer(self, each: Labelled) -> None:
        """Take it, perhaps."""
        self.lines += 1
        if not each.label:
            self.left_out[NO_CLASS] += 1
            return
        try:
            sample = self._candidate.sample(each)
        except Unusable as error:
            self.left_out[str(error)] += 1
            return
        entry = (-_ticket(each), self.lines, each, sample)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif self._heap[0][0] < entry[0]:
            heapq.heapreplace(self._heap, entry)

    def taken(self) -> list[tuple[Labelled, Any]]:
        """Those that were drawn, in the order in which they were; without those that share an id."""
        names = Counter(member_name(each.request, each.row) for _, _, each, _ in self._heap)
        drawn = sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))
        found = [(each, sample) for _, _, each, sample in drawn if names[member_name(each.request, each.row)] == 1]
        self.left_out.update({TWICE: len(drawn) - len(found)} if len(found) < len(drawn) else {})
        return found


def _ticket(each: Labelled) -> int:
    """Other numbers than those by which the queue draws its random share, so that the two do not take the same lines."""
    said = f"{each.request}\0{each.row}".encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(said, digest_size=8, person=b"disagreement").digest())


class _Candidate:
    """The model that is asked."""

    def __init__(self, version: Path, scratch: Path) -> None:
        self._model = load_for(version, None, cores(), scratch / "models")
        signature = self._model.signature
        self._specs, self._classes = signature.inputs, signature.classes
        self._reader = Reader(signature, self._model.data)
        self._probabilities = Probabilities(signature, self._model.warm_outputs)
        self._files = signature.kind == "image" and not self._reader.named and len(self._specs[0].shape) == 4
        self.predicted = 0

    def sample(self, each: Labelled) -> Any:
        """An entry of `instances`; None where the image's file is. Raises Unusable."""
        if self._files:
            if each.kept.get(self._specs[0].name) != "file":
                raise Unusable(NO_IMAGE)
            return None
        values = {spec.name: _shaped(spec, value_of(each, spec.name, may_miss=spec.may_miss)) for spec in self._specs}
        return values if self._reader.named else values[self._specs[0].name]

    def others(self, drawn: _Draw, log: Path, end: float) -> Iterator[Labelled]:
        """Those to which it answers another class. What it cannot predict, or has no time for, is counted as left out."""
        lines = drawn.taken()
        missing = len(lines)
        entries = self._with_images(lines, log)
        while part := list(islice(entries, IMAGES if self._files else AT_ONCE)):
            if time.monotonic() > end:
                drawn.left_out[LATE] += missing
                return
            missing -= len(part)
            for row, name in self._answers([sample for _, sample in part], drawn.left_out):
                self.predicted += 1
                if name != part[row][0].label:
                    yield part[row][0]
        if missing:
            drawn.left_out[NO_IMAGE] += missing

    def _with_images(self, lines: Sequence[tuple[Labelled, Any]], log: Path) -> Iterator[tuple[Labelled, Any]]:
        if not self._files:
            yield from lines
            return
        by_name = {member_name(each.request, each.row): each for each, _ in lines}
        for name, data in kept_images(log, by_name):
            if each := by_name.pop(name, None):
                yield each, data

    def _answers(self, samples: Sequence[Any], left_out: Counter[str]) -> Iterator[tuple[int, str]]:
        """Row and class, for each of the samples that has a prediction."""
        rejected: Rejected = {}
        inputs = one_by_one(enumerate(samples), self._reader.images if self._files else self._reader.rows, rejected)
        try:
            (rows, outputs), rejected = predict(self._model, inputs)
        except EngineError as error:
            raise WorkerFailed(f"the model does not run: {error}") from None
        if rejected:
            left_out[f"the candidate does not take it, e.g.: {next(iter(rejected.values()))}"[:300]] += len(rejected)
        names = best([self._probabilities.of(outputs)], [outputs], self._classes)[0] if len(rows) else []
        if len(names) < len(rows):
            left_out["the candidate answers without a class"] += len(rows)
        yield from zip(rows.tolist(), names, strict=False)


def _shaped(spec: TensorSpec, value: Any) -> Any:
    """As a request has it: the log's lists are flat."""
    if not isinstance(value, list):
        return value
    array, shape = np.array(value, object), tuple(each or 0 for each in spec.shape[1:])
    if array.size != math.prod(shape):
        raise Unusable(f"its {spec.name!r} has {array.size} values, and the candidate takes {math.prod(shape)}")
    return array.reshape(shape).tolist()


if __name__ == "__main__":
    sys.exit(answer(lambda job: dataclasses.asdict(main(job)), "scratch"))
