"""Reads the prediction log for the review queue: `python -P -m pipelines.workers.label_queue`, its job as JSON on stdin.

`choose`: which of the lines since a moment people should be asked about. `show`: what is known of certain lines, with their images.
The result is JSON on stdout; an error with an exit code is the last line, as `{"error": …, "hint": …, "exit_code": …}`.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import heapq
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.workers.label_files.answers import answered, inputs_of, kept_images, lines_of, rules_of
from pipelines.workers.label_files.sample import UNKNOWN
from pipelines.workers.question import answer
from registry.errors import Corrupt
from registry.label_queue import LabelQueue
from retraining.labels.choose import Answer, choose, doubt, draw, tie
from retraining.monitoring.marks import mark
from retraining.monitoring.reference import BadReference, from_bytes
from serving.prediction_log.images import member_name
from serving.prediction_log.tables import Wanted, as_written, read

Job = dict[str, Any]
SPARE = 20
"""So many times what is wanted is kept while the lines are read: some are labelled already, or look like another."""


def _choose(log: Path, job: Job) -> list[dict[str, Any]]:
    """At most `most` lines since `since`, of live releases; memory does not grow with their number. `others`: those to which the
    candidate answers another class. What the holdout has is left out: its labels are known, and it must stay unseen."""
    others = {(request, row) for request, row in job["others"]}
    at_random: list[_Line] = []
    doubtful: list[_Line] = []
    most, by = int(job["most"]), job["by"]
    wanted = Wanted(datetime.fromisoformat(job["since"]) if job["since"] else None, live=True)
    for each in _lines(log, wanted, others, _holdout(job.get("reference", ""))):
        _keep(at_random, each, most * SPARE, each.ticket)
        _keep(doubtful, each, most * SPARE, (doubt(each.answer, by), -int.from_bytes(tie(each.answer)[:8], "big")))
    lines = {(each.answer.request, each.answer.row): each for each in (*at_random, *doubtful)}
    with LabelQueue(Path(job["labels"])) as queue:
        known, drawn = (ask(request for request, _ in lines) for ask in (queue.known, queue.drawn))
    answers = [
        dataclasses.replace(each.answer, labelled=key in known, drawn=key in drawn) for key, each in lines.items()
    ]
    found = []
    for chosen in choose(answers, most, job["random_share"], by):
        line = lines[chosen.answer.request, chosen.answer.row]
        found.append({"request": chosen.answer.request, "row": chosen.answer.row, "why": chosen.why, "score": chosen.score,
                      "answered": line.answered, "version": line.version})  # fmt: skip
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Line:
    answer: Answer
    ticket: float
    """Larger for those that are drawn sooner."""
    answered: str
    version: int
    rank: Any = None

    def __lt__(self, other: _Line) -> bool:
        return bool(self.rank < other.rank)


def _keep(heap: list[_Line], line: _Line, most: int, rank: Any) -> None:
    if len(heap) < most:
        heapq.heappush(heap, dataclasses.replace(line, rank=rank))
    elif heap[0].rank < rank:
        heapq.heapreplace(heap, dataclasses.replace(line, rank=rank))


def _holdout(reference: str) -> frozenset[int]:
    """Marks of the samples in it; empty where they are not known."""
    try:
        return from_bytes(Path(reference).read_bytes()).marks if reference else frozenset()
    except BadReference as error:
        raise Corrupt(f"{reference}: {error}", hint="`trainyard registry verify` lists every problem") from None


def _is_of(holdout: Collection[int], line: Mapping[str, Any], table: pa.Table, kept: Mapping[str, str]) -> bool:
    """Whether an answer is about one of these samples; False where the log does not keep enough to know it."""
    if not holdout or not kept or any(rule not in {"value", "features", "file"} for rule in kept.values()):
        return False
    values = inputs_of(line, table)
    return values.keys() == kept.keys() and mark(values) in holdout


def _lines(log: Path, wanted: Wanted, others: Collection[tuple[str, int]], holdout: Collection[int]) -> Iterator[_Line]:
    columns = ("id", "row", "status", "version", "class", "confidence", "inputs", "outputs")
    for table in read(log, dataclasses.replace(wanted, columns=columns)):
        kept = rules_of(table)
        for line in lines_of(answered(table)):
            if not _is_of(holdout, line, table, kept):
                yield _line(line, kept, (line["id"], line["row"]) in others)


def _line(line: dict[str, Any], kept: Mapping[str, str], other_class: bool) -> _Line:  # noqa: FBT001  (a field of the answer)
    inputs, features = line.get("inputs") or {}, {}
    for name, rule in kept.items():
        if rule in {"features", "file"} and isinstance(inputs.get(name), dict):
            features = inputs[name]
    image_hash = int(features["hash"], 16) if features.get("hash") else None
    content = "" if features or not inputs else _digest(inputs)
    answer = Answer(line["id"], line["row"], _shares(line), content, image_hash, other_class)
    number = int.from_bytes(draw(answer)[:8], "big")
    return _Line(answer, -number, str(line.get("class") or ""), line["version"] or 0)


def _digest(inputs: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(inputs, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _number(line: dict[str, Any]) -> float | None:
    """What a model without classes has answered, where that is one number."""
    if line.get("class") is not None:
        return None
    outputs = list((line.get("outputs") or {}).values())
    return as_written(outputs[0], "float") if len(outputs) == 1 and isinstance(outputs[0], int | float) else None


def _shares(line: dict[str, Any]) -> tuple[float, ...]:
    """The probabilities of a line: all, the largest, or that of its class."""
    confidence = line.get("confidence")
    if confidence is None:
        return ()
    for output in (line.get("outputs") or {}).values():
        values = output.get("values") if isinstance(output, dict) else output
        if isinstance(values, list) and values and abs(max(values) - confidence) < 1e-3 and sum(values) < 1 + 1e-3:
            return tuple(values)
    return (confidence,)


def _show(log: Path, job: Job) -> list[dict[str, Any]]:
    """Inputs, answer and, where it was kept, the image (PNG in base64) of each of `rows`, as far as they are there."""
    wanted = {(request, row) for request, row in job["rows"]}
    ids = pa.array(sorted({request for request, _ in wanted}), pa.string())
    found: dict[tuple[str, int], dict[str, Any]] = {}
    columns = ("id", "row", "time", "version", "class", "confidence", "inputs", "outputs")
    for table in read(log, Wanted(columns=columns, live=True)):
        for line in lines_of(table.filter(pc.is_in(table["id"], value_set=ids))):
            key = (line["id"], line["row"])
            if key in wanted:
                found[key] = {"request": key[0], "row": key[1], "time": line["time"].isoformat(timespec="milliseconds"),
                              "version": line["version"], "class": line.get("class"), "number": _number(line),
                              "confidence": line.get("confidence"), "inputs": _for_people(inputs_of(line, table), rules_of(table))}  # fmt: skip
    if job["images"] and found:
        names = {member_name(*key): key for key in found}
        for name, data in kept_images(log, names):
            found[names[name]]["image"] = base64.b64encode(data).decode()
    return [found[key] for key in sorted(found)]


def _for_people(inputs: Mapping[str, Any], kept: Mapping[str, str]) -> dict[str, Any]:
    """The inputs, and in place of a hash or the number of a bin, which say nothing to a person, why the value is not there."""
    return {
        name: f"(not here: it {UNKNOWN[kept[name]]})"
        if value is not None and (kept.get(name) == "hash" or (kept.get(name) == "bin" and not isinstance(value, str)))
        else value
        for name, value in inputs.items()
    }


ACTIONS: dict[str, Callable[[Path, Job], Any]] = {"choose": _choose, "show": _show}

if __name__ == "__main__":
    sys.exit(answer(lambda job: ACTIONS[job["action"]](Path(job["log"]), dict(job)), "log"))
