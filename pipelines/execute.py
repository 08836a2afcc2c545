"""How a step and a whole run are executed: resumable, recorded, nothing done twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipelines import flows
from pipelines.context import Context
from pipelines.flows import FLOWS, Step
from pipelines.reuse.dataset_cache import link_is_intact
from pipelines.runs import NothingToDo, RunFolder, StepOutcome, StepRecord, Stopwatch
from registry.errors import ConfigError, PipelineError, Rejected, TryAgain, from_os_error
from registry.records import utc_now
from training.worker.protocol import one_line


def run_flow(context: Context, folder: RunFolder) -> StepRecord:
    """Run every step that is still to be done, then notify; gives the record that decided the run.

    An error is recorded and mailed, not raised; an interrupt or a kill leaves the run to be resumed.
    """
    run = folder.run
    with folder.locked():
        context.progress.start(f"{run.model}: push to {run.trigger}, run {run.id}", flows.names(run.trigger))
        try:
            last = _until_decided(context, folder, FLOWS[run.trigger][:-1])
        except Exception:  # a bug: it is recorded, and mailed like any other failure
            _notify(context, folder)
            raise
        else:
            _notify(context, folder)
            return last
        finally:
            context.progress.stop()


def run_step(context: Context, folder: RunFolder, name: str) -> StepRecord:
    """Run one step, or give the record of the one that has run.

    Raises PipelineError as the step did, Rejected when an earlier step rejected the candidate, and ConfigError when
    another step has to run first.
    """
    folder.must_exist()
    _forget_lost(context, folder)
    step, earlier = _find(folder, name)
    first = _first_open(folder, earlier)
    before = {each.name for each in earlier}
    stopped = next((each for each in folder.records() if each.stops and each.step in before), None)
    if step is flows.notify:
        if first and not stopped and not folder.record(first.name):
            raise _too_early(folder, first, "has not run: there is no verdict yet")
        return _run(context, folder, step)
    if (old := folder.record(name)) and old.final:
        _show_done(context, old)
        return old
    if stopped and stopped.outcome == "rejected":
        raise Rejected(
            f"{stopped.step} rejected the candidate: {stopped.note}",
            hint="see the verdict; a new push starts a new run",
        )
    if stopped:
        return stopped
    if first:
        failed = folder.record(first.name)
        raise _too_early(folder, first, f"has failed: {failed.note}" if failed else "has not run yet")
    return _run(context, folder, step)


def record_stopped(folder: RunFolder, why: str = "") -> None:
    """Record, for the mail, that the run was stopped from outside; the next try resumes it.

    Without `why`: only a step that has left no record, as it was killed.
    """
    if folder.decided():
        return
    step = _first_open(folder, FLOWS[folder.run.trigger])
    if step and (why or not folder.record(step.name)):
        why = one_line(why) or "it was killed, or the machine that it ran on is gone"
        hint = "start it again: the run resumes here"
        folder.keep(StepRecord(step.name, "failed", why, utc_now(), 0.0, hint, TryAgain.exit_code, stopped=True))


def _until_decided(context: Context, folder: RunFolder, steps: Sequence[Step]) -> StepRecord:
    """The one loop: the first step that has not come to its end, until a step fails or decides the run."""
    _forget_lost(context, folder)
    for record in folder.records():
        if record.final:
            _show_done(context, record)
    while not (decided := folder.decided()):
        folder.must_exist()
        step = _first_open(folder, steps)
        assert step, "a run without an open step is decided"
        try:
            _run(context, folder, step)
        except PipelineError:
            failed = folder.record(step.name)
            if failed is None:  # not even that could be written
                raise
            return failed
        _forget_lost(context, folder)
    return decided


def _notify(context: Context, folder: RunFolder) -> None:
    """A mail that cannot be written changes no verdict; what prevented it is shown, and recorded."""
    try:
        run_step(context, folder, flows.notify.name)
    except (PipelineError, OSError) as error:
        hint = getattr(error, "hint", "")
        context.progress.note(f"notify: {error}" + (f" (hint: {hint})" if hint else ""))


class _Ending(NamedTuple):
    outcome: StepOutcome
    note: str
    hint: str = ""
    exit_code: int = 0


def _run(context: Context, folder: RunFolder, step: Step) -> StepRecord:
    """Run the step and record how it ended; then raises what the step has raised, a full disk and the like as a
    PipelineError."""
    if step is not flows.notify:
        folder.forget(flows.notify.name)  # its mail was about an earlier try
    context.progress.step(step.name)
    started_at, watch = utc_now(), Stopwatch()
    error: Exception | None = None
    try:
        ending = _Ending("done", step.run(context, folder))
    except NothingToDo as found:
        ending = _Ending("enough", str(found))
    except Exception as raised:  # noqa: BLE001  (raised again below)
        error = _explained(raised, folder)
        ending = _ending_of(error)
    folder.must_exist()  # else that is why it failed
    outcome, note, hint, code = ending
    note = one_line(note)  # much of it comes from repositories and workers
    record = StepRecord(step.name, outcome, note, started_at, watch.seconds, one_line(hint), code)
    folder.keep(record)
    context.progress.done(step.name, "done" if outcome == "enough" else outcome, record.seconds)
    context.progress.note(f"{step.name}: {note}")
    if error:
        raise error
    return record


def _explained(raised: Exception, folder: RunFolder) -> Exception:
    """Of an error of the operating system, the PipelineError that says what to do; any other one as it is."""
    known = from_os_error(raised, folder.root) if isinstance(raised, OSError) else None
    if known is None:
        return raised
    known.__cause__ = raised
    return known


def _ending_of(error: Exception) -> _Ending:
    if isinstance(error, PipelineError):
        outcome: StepOutcome = "rejected" if isinstance(error, Rejected) else "failed"
        return _Ending(outcome, str(error), error.hint, error.exit_code)
    return _Ending("failed", f"a bug in Trainyard: {error!r}", "please report it with the traceback above", 1)


def _forget_lost(context: Context, folder: RunFolder) -> None:
    """Steps whose outputs are gone, as somebody has freed the disk, or were changed, run again when a step that is to
    come needs them."""
    flow = FLOWS[folder.run.trigger][:-1]
    while lost := _lost(folder, flow):
        for each in [lost] if lost.repeatable else flow[flow.index(lost) :]:
            folder.forget(each.name)
        context.progress.note(f"{lost.name}: its files are gone from {folder.root}, or were changed; it runs again")


def _lost(folder: RunFolder, flow: Sequence[Step]) -> Step | None:
    ended = [record for record in folder.records() if record.final]
    if len(ended) == len(flow) or any(record.stops for record in ended):
        return None  # no step is to come
    done = {record.step for record in ended}
    registered = "register" in done  # then the registry has what only training and evaluation could make
    needed = (each for each in flow if each.name in done and (each.repeatable or not registered))
    return next((each for each in needed if not _outputs_exist(folder, each, done)), None)


def _outputs_exist(folder: RunFolder, step: Step, done: set[str]) -> bool:
    if not all((folder.root / path).exists() for path in step.outputs):
        return False
    return not step.shared or step.unread_after in done or link_is_intact(folder.root / step.shared)


def _find(folder: RunFolder, name: str) -> tuple[Step, Sequence[Step]]:
    """The step of that name and those before it; raises ConfigError when the run has no such step."""
    trigger = folder.run.trigger
    names, flow = flows.names(trigger), FLOWS[trigger]
    if name not in names:
        raise ConfigError(f"a push to {trigger} has no step {name!r}", hint=f"its steps: {', '.join(names)}")
    return flow[names.index(name)], flow[: names.index(name)]


def _first_open(folder: RunFolder, steps: Sequence[Step]) -> Step | None:
    """The first of the steps that has not come to its end."""
    return next((each for each in steps if not (record := folder.record(each.name)) or not record.final), None)


def _too_early(folder: RunFolder, step: Step, why: str) -> ConfigError:
    return ConfigError(f"{folder.root}: step {step.name} {why}", hint=f"trainyard step {step.name} --run {folder.root}")


def _show_done(context: Context, record: StepRecord) -> None:
    context.progress.done(record.step, "done" if record.step == "resolve" else "done before", record.seconds)
