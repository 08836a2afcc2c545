"""Whether a run can find out anything that an earlier one has not: the same files, the same settings, the same question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from pipelines import flow
from pipelines.context import Context
from pipelines.runs import RunFolder, StepRecord
from registry import candidates
from registry.errors import PipelineError


def fingerprint(contents: Mapping[str, str]) -> str:
    """One digest for the files of all three repositories; `contents` are those of `git_cache.Cache.content`."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def known_already(context: Context, folder: RunFolder, files: str) -> str:
    """Where the answer of this run is known from; empty when it is not, or when the run is forced.

    Another run of these very files and settings has it when it has ended, and

    * was started by the same trigger with the same release live (and, for tests, the same candidate): the same question,
    * or, for code and data, made the release that is live now: there is nothing better to make of these files.
    """
    run = folder.run
    if run.forced:
        return ""
    for other, record in _ended(context, folder, files):
        asked = other.run
        if (asked.model, asked.config) != (run.model, run.config):
            continue
        same = (asked.trigger, asked.parent) == (run.trigger, run.parent)
        if same and (run.trigger != "tests" or asked.candidate == run.candidate):
            return f"run {asked.id} was about the same files: {record.note}"
        if run.trigger != "tests" and run.parent and run.parent == _made(context, asked.id):
            return f"version {run.parent}, which is live, was made of the same files"
    return ""


def _ended(context: Context, folder: RunFolder, files: str) -> Iterator[tuple[RunFolder, StepRecord]]:
    """Other runs of the same files that found an answer of their own, with the record that says it."""
    for path in sorted(context.config.runs.glob("*/fetched.json")):
        other = RunFolder(path.parent)
        try:
            if other.root == folder.root or files.encode() not in path.read_bytes():
                continue
            record = flow.decided(other)
        except (PipelineError, OSError):  # removed just now, or damaged: then it is no answer
            continue
        if record and record.step != "fetch":
            yield other, record


def _made(context: Context, run: str) -> int | None:
    return candidates.find_run(context.store, context.config.model, run)
