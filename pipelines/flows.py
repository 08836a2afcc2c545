"""The pipelines as lists of steps, and how a step and a whole run are performed: resumable, recorded, never done twice."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pipelines.context import Context
from pipelines.reuse.dataset_cache import as_made
from pipelines.runs import RunFolder, StepRecord, Stopwatch
from registry.errors import ConfigError, PipelineError, Rejected, TryAgain, from_os_error
from registry.records import Trigger, utc_now
from training.worker.protocol import one_line

_LEARN = ("evaluate", "gate", "register", "accept", "notify")
FLOWS: Mapping[Trigger, tuple[str, ...]] = {
    "code": ("resolve", "fetch", "validate", "train", *_LEARN),
    "dataset": ("resolve", "fetch", "validate", "retrain", *_LEARN),
    "tests": ("resolve", "fetch", "accept", "notify"),
}
MADE: Mapping[str, tuple[str, ...]] = {
    "fetch": ("fetched.json", "sources/code", "sources/dataset", "sources/tests"),
    "validate": (
        "validate/result.json",
        *(f"validate/outputs/data/{each}" for each in ("train", "validation", "holdout")),
    ),
    "train": ("train/result.json", "train/outputs"),
    "retrain": ("train/result.json", "train/outputs"),
    "evaluate": ("evaluate/result.json", "evaluate/outputs"),
    "gate": ("gate/verdict.json",),
}
"""What a step leaves in the run's folder for the steps after it."""
SHARED = {"fetch": "sources/dataset", "validate": "validate/outputs/data"}
"""What may be a link to what other runs use as well; the dataset's files are read by nobody once they are prepared."""
SAME_AGAIN = {"fetch", "validate"}
"""Steps that make the same bytes every time."""
STEPS = tuple(dict.fromkeys(step for flow in FLOWS.values() for step in flow))


class Enough(Exception):
    """A step found that this run has nothing more to do; the message says why."""


def perform(context: Context, folder: RunFolder, name: str) -> StepRecord:
    """Run one step, or give the record of the one that has run.

    Raises PipelineError as the step did, and ConfigError when its turn has not come.
    """
    folder.must_stand()
    _forget_lost(context, folder)
    before, stopped = _before(folder, name)
    if name == "notify":
        if before and not stopped and not folder.record(before):
            raise ConfigError(
                f"{folder.root}: there is no verdict yet, step {before} has not run",
                hint=f"trainyard step {before} --run {folder.root}",
            )
        return _run(context, folder, name)
    if (old := folder.record(name)) and old.final:
        context.progress.done(name, "done" if name == "resolve" else "done before", old.seconds)
        return old
    if stopped and stopped.outcome == "no":
        raise Rejected(f"{stopped.step} said no: {stopped.note}", hint="see the verdict; a new push starts a new run")
    if stopped:
        return stopped
    if before:
        failed = folder.record(before)
        how = f"has failed: {failed.note}" if failed else "has not run yet"
        raise ConfigError(f"{folder.root}: step {before} {how}", hint=f"trainyard step {before} --run {folder.root}")
    return _run(context, folder, name)


def execute(context: Context, folder: RunFolder) -> StepRecord:
    """Run every step that is still to be done, then notify; gives the record that decided the run.

    A fault is recorded and mailed, not raised; an interrupt or a kill leaves the run to be continued.
    """
    steps = FLOWS[folder.run.trigger]
    with folder.locked():
        context.progress.start(f"{folder.run.model}: push to {folder.run.trigger}, run {folder.run.id}", steps)
        try:
            last = _until_decided(context, folder, steps[:-1])
        except Exception:  # a bug: it is recorded, and the mail tells of it as of any failure
            _notify(context, folder)
            raise
        else:
            _notify(context, folder)
            return last
        finally:
            context.progress.stop()


def decided(folder: RunFolder) -> StepRecord | None:
    """The record that decided a finished run; None when steps are still to be done."""
    told = folder.record("notify")
    return settled(folder) if told and told.final else None


def settled(folder: RunFolder) -> StepRecord | None:
    """As `decided`, whether the mail about it was written or not."""
    *steps, _notify = FLOWS[folder.run.trigger]
    records = folder.records(steps)
    if not records or not records[-1].final:
        return None
    return records[-1] if records[-1].outcome != "done" or records[-1].step == steps[-1] else None


def stopped(folder: RunFolder, why: str = "") -> None:
    """Record, for the mail, that the run was stopped from outside; the next try goes on where it was.

    Without `why`: only a step that left no word of itself, as it was killed.
    """
    if settled(folder) is None:
        step = next(
            each for each in FLOWS[folder.run.trigger] if not (record := folder.record(each)) or not record.final
        )
        if why or not folder.record(step):
            hint = "start it again: it goes on from here"
            why = one_line(why) or "it was killed, or the machine that it ran on is gone"
            folder.keep(StepRecord(step, "failed", why, utc_now(), 0.0, hint, TryAgain.exit_code))


def _notify(context: Context, folder: RunFolder) -> None:
    """A mail that cannot be written changes no verdict; what hindered it is told, and recorded."""
    try:
        perform(context, folder, "notify")
    except (PipelineError, OSError) as error:
        hint = getattr(error, "hint", "")
        context.progress.note(f"notify: {error}" + (f" (hint: {hint})" if hint else ""))


def _until_decided(context: Context, folder: RunFolder, steps: tuple[str, ...]) -> StepRecord:
    for name in steps:
        _forget_lost(context, folder)
        again = [each for each in steps[: steps.index(name)] if not folder.record(each)]
        for each in (*again, name):
            record = _perform_or_fail(context, folder, each)
            if record.outcome != "done":
                return record
    return record


def _perform_or_fail(context: Context, folder: RunFolder, name: str) -> StepRecord:
    try:
        return perform(context, folder, name)
    except PipelineError:
        failed = folder.record(name)
        if failed is None:  # not even that could be written
            raise
        return failed


def _forget_lost(context: Context, folder: RunFolder) -> None:
    """Steps whose files are gone, as somebody has made room, or are others by now, run again when a step that is to come
    needs them."""
    flow = FLOWS[folder.run.trigger][:-1]
    ended = [record for record in folder.records(flow) if record.final]
    if len(ended) == len(flow) or any(record.outcome != "done" for record in ended):
        return  # no step is to come
    done = {record.step for record in ended}
    needed = SAME_AGAIN if "register" in done else MADE.keys()  # the registry has the rest by then
    lost = next((each for each in flow if each in done & needed and not _stands(folder, each, done)), None)
    if lost is None:
        return
    for each in [lost] if lost in SAME_AGAIN else flow[flow.index(lost) :]:
        folder.forget(each)
    context.progress.note(f"{lost}: its files are gone from {folder.root}, or not as they were; it runs again")
    _forget_lost(context, folder)


def _stands(folder: RunFolder, step: str, done: set[str]) -> bool:
    if not all((folder.root / path).exists() for path in MADE[step]):
        return False
    needed = step in SHARED and (step != "fetch" or "validate" not in done)
    return not needed or as_made(folder.root / SHARED[step])


def _before(folder: RunFolder, name: str) -> tuple[str, StepRecord | None]:
    """The first step before `name` that has not ended well, and the one that stopped the run, if one did."""
    flow = FLOWS[folder.run.trigger]
    if name not in flow:
        raise ConfigError(f"a push to {folder.run.trigger} has no step {name!r}", hint=f"its steps: {', '.join(flow)}")
    missing = ""
    for each in flow[: flow.index(name)]:
        record = folder.record(each)
        if record and record.outcome in {"no", "enough"}:
            return missing, record
        if not missing and (not record or not record.final):
            missing = each
    return missing, None


def _run(context: Context, folder: RunFolder, name: str) -> StepRecord:
    step: Any = import_module(f"pipelines.steps.{name}")
    started_at, watch = utc_now(), Stopwatch()
    if name != "notify":
        folder.forget("notify")  # what it told was about an earlier try

    def keep(outcome: Any, note: str, hint: str = "", code: int = 0) -> StepRecord:
        folder.must_stand()  # else that is why it failed
        note = one_line(note)  # much of it was said by repositories and workers
        record = StepRecord(name, outcome, note, started_at, watch.seconds, one_line(hint), code)
        folder.keep(record)
        context.progress.done(name, {"enough": "done"}.get(outcome, outcome), record.seconds)
        context.progress.note(f"{name}: {note}")
        return record

    context.progress.step(name)
    try:
        return keep("done", step.main(context, folder))
    except Enough as enough:
        return keep("enough", str(enough))
    except Rejected as no:
        keep("no", str(no), no.hint, no.exit_code)
        raise
    except PipelineError as error:
        keep("failed", str(error), error.hint, error.exit_code)
        raise
    except OSError as error:
        told = from_os_error(error, folder.root)
        if told is None:
            keep("failed", f"a bug in Trainyard: {error!r}", "please report it with the traceback above", 1)
            raise
        keep("failed", str(told), told.hint, told.exit_code)
        raise told from error
    except Exception as bug:
        keep("failed", f"a bug in Trainyard: {bug!r}", "please report it with the traceback above", 1)
        raise
