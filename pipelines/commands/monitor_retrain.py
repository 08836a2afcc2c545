"""What `trainyard monitor` starts after an alarm: the run that `pipelines.monitor.retrain` has decided on. By whoever has the
store alone."""

from __future__ import annotations

from pathlib import Path

from pipelines.commands.monitor_promote import after_run, is_over, promote_after
from pipelines.commands.run import run_pipeline, say
from pipelines.config.schema import Config
from pipelines.monitor.state import Asked
from pipelines.monitor.store import MonitorStore
from pipelines.runs import STARTED_BY_MONITOR, RunFolder
from pipelines.steps.resolve import Request
from registry.errors import PipelineError, TryAgain, from_os_error
from registry.files import write_whole

ASKED = "retrain"
"""In the folder of a build: what the Jenkins job `dataset` is to be asked for."""


def follow(config: Config, store: MonitorStore, build: Path | None) -> None:
    """Run what is to follow an alarm, or resume it; with the folder of a build on Jenkins, write there what is to be started.

    What may succeed later, as with a full disk, is tried again by the next call.
    """
    try:
        _follow(config, store, build)
    except OSError as error:
        known = from_os_error(error)
        if known is None:
            raise
        _say(known)


def _follow(config: Config, store: MonitorStore, build: Path | None) -> None:
    asked = store.state().asked
    if asked is None or asked.over:
        return
    if asked.ended:
        promote_after(config, store, asked)
        return
    folder = RunFolder(config.runs / asked.run)
    begun = (folder.root / "run.json").exists()
    if build:
        if begun:
            is_over(store, asked)
        else:
            write_whole(build / ASKED / "reason.txt", f"{asked.reason}\n".encode())
            write_whole(build / ASKED / "occasion.txt", f"{asked.occasion}\n".encode())  # last: Jenkins looks for it
        return
    if begun and (ended := folder.ended()):  # by a monitor that was killed before it noted that
        after_run(config, store, asked, ended)
        return
    _run(config, store, asked)


def _run(config: Config, store: MonitorStore, asked: Asked) -> None:
    say(f"retraining because of {asked.reason}")
    try:
        request = Request(
            "dataset", forced=True, reason=asked.reason, started_by=STARTED_BY_MONITOR, occasion=asked.occasion
        )
        _, record, code = run_pipeline(config, request)
    except PipelineError as error:
        _say(error)
        return
    if code != TryAgain.exit_code:
        after_run(config, store, asked, record)


def _say(error: PipelineError) -> None:
    say(f"cannot retrain now: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
