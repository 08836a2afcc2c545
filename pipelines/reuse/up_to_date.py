"""Whether a run can find out anything that an earlier one has not: the same files, the same settings, the same question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from pipelines.context import Context
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, releases
from registry.errors import PipelineError
from registry.records import Run
from registry.undo import left_behind


def digest_of(contents: Mapping[str, str]) -> str:
    """One digest for all that went in: the files of the three repositories, as `history.History.content_digest` has them, and
    what the pipeline is made of."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def known_already(context: Context, folder: RunFolder, files: str) -> str:
    """Where the answer of this run is known from; empty when it is not, when the run is forced, or is past `fetch` already.

    Another run of these very files and settings has it when it was accepted, nothing has overruled that since, and it

    * was started by the same trigger with the same release live (and, for tests, the same candidate): the same question,
    * or, for code and data, made the release that is live now: there is nothing better to make of these files,
    * or made a version from which a person, or an automatic revert, has gone back: nobody asks for the same thing again.

    What was once rejected is always run again: who pushes wants to see the failed criteria, or to try again.
    """
    run, answer = folder.run, ""
    if run.forced or any(each.step not in {"resolve", "fetch"} for each in folder.records()):
        return ""
    for other, record in _ended(context, folder, files):
        asked = other.run
        if (asked.model, asked.config) != (run.model, run.config):
            continue
        same = (asked.trigger, asked.parent) == (run.trigger, run.parent)
        same &= run.trigger != "tests" or asked.candidate == run.candidate
        if same and record.outcome == "rejected":
            return ""
        if record.outcome != "done" or _overruled(context, asked):
            continue
        made = _made(context, asked.id) if run.trigger != "tests" else None
        back = left_behind(releases.releases(context.store, run.model), made) if made else None
        if back:
            force = f"`trainyard run {run.trigger} --force` makes another version of them"
            answer = f"version {made} was made of the same files, and was taken back by release {back.number}; {force}"
        elif same:
            answer = f"run {asked.id} was about the same files: {record.note}"
        elif made and made == run.parent:
            answer = f"version {made}, which is live, was made of the same files"
    return answer


def _ended(context: Context, folder: RunFolder, files: str) -> Iterator[tuple[RunFolder, StepRecord]]:
    """Other runs of the same files that found an answer of their own, with the record that decided them."""
    for path in sorted(context.config.runs.glob("*/fetched.json")):
        other = RunFolder(path.parent)
        try:
            if other.root == folder.root or files.encode() not in path.read_bytes():
                continue
            record = other.ended()
        except (PipelineError, OSError):  # removed just now, or damaged: not an answer
            continue
        if record and record.step != "fetch":
            yield other, record


def _overruled(context: Context, asked: Run) -> bool:
    """Whether a version that the run accepted was rejected since (for tests: tested since), or that cannot be seen."""
    versions = {asked.candidate, asked.parent} - {None} if asked.trigger == "tests" else {_made(context, asked.id)}
    for version in versions:
        try:
            tests = candidates.acceptances(context.store, asked.model, version) if version else []
        except PipelineError:
            return True
        if not tests or not tests[-1].accepted or (asked.trigger == "tests" and tests[-1].run != asked.id):
            return True
    return False


def _made(context: Context, run: str) -> int | None:
    return candidates.find_run(context.store, context.config.model, run)
