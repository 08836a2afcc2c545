"""What earlier runs have left on the disk: which of it is still needed, and how the rest goes.

A run that has ended needs its checkouts, its data and its weights no more: the registry has the version, the report the
images, `fetched.json` and the records what later runs ask for. The newest few keep all of it, for people to look at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipelines.config.schema import Keep
from pipelines.runs import RunFolder, StepRecord
from registry.dataclass import dataclass
from registry.errors import PipelineError, TryAgain
from registry.records import Run

GONE = ".gone-"
HEAVY = ("sources", "*/inputs", "*/outputs", "*/scratch", "accept/*/inputs", "accept/*/outputs", "accept/*/scratch")
"""What of a run's folder goes first; records, logs and the report stay."""
COPIES = (
    "train/outputs/model.*", "train/outputs/saved_model", "register/version", "train/checkpoints", "accept/api-*/models",
)  # fmt: skip
"""What the registry has, too, or has the outcome of."""
ACCESS_LOG = "accept/api-*/worker.log"
"""Of the staging instance: a line per request of the load test, which nobody reads of a version that was accepted."""
LONG = 256 << 10  # bytes of it; a shorter one stays


@dataclass(frozen=True, slots=True)
class Known:
    """One run, as far as rules and lists need to know it."""

    folder: RunFolder
    run: Run
    last: StepRecord | None
    """The record that decided the run, else its last one."""
    ended: bool
    """Whether nothing is left to do, the mail included."""
    at_work: bool
    """Whether a process has it."""

    @property
    def state(self) -> str:
        """In one word."""
        if self.at_work:
            return "at work"
        if not self.last:
            return "begun"
        if not self.ended and self.last.outcome == "done":
            return "unfinished"
        return {"done": "accepted", "enough": "nothing to do", "rejected": "rejected", "failed": "failed"}[
            self.last.outcome
        ]


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes of one run."""

    run: str
    paths: tuple[Path, ...]
    bytes: int
    whole: bool
    """Whether the run is gone with it."""
    runs: Path
    folder: RunFolder | None = None
    """None for what a killed process was removing."""


def known(runs: Path) -> list[Known]:
    """All runs, the newest first; a folder that holds none, or a damaged one, is left out."""
    found = []
    for path in runs.glob("[!.]*/run.json"):
        folder = RunFolder(path.parent)
        with contextlib.suppress(PipelineError, OSError):
            records, ended = folder.records(), folder.ended()
            found.append(
                Known(folder, folder.run, ended or (records[-1] if records else None), bool(ended), folder.at_work)
            )
    return sorted(found, key=lambda each: (each.run.created_at, each.run.id), reverse=True)


def plan(found: Sequence[Known], keep: Keep) -> tuple[list[Known], list[Known]]:
    """Of runs, the newest first: which are removed, and which lose what is heavy.

    A run at work and the newest of each trigger stay as they are; one that has not ended loses nothing, as it may be resumed.
    """
    newest: dict[str, str] = {}
    for each in found:
        newest.setdefault(each.run.trigger, each.run.id)
    loose = [each for each in found if not each.at_work and newest[each.run.trigger] != each.run.id]
    beyond = {each.run.id for each in (found[keep.runs :] if keep.runs else ())}
    removed = [each for each in loose if each.run.id in beyond]
    light = {each.run.id for each in found[keep.full_runs :]} - {each.run.id for each in removed}
    return removed, [each for each in loose if each.ended and each.run.id in light]


def removals(runs: Path, keep: Keep) -> Iterator[Removal]:
    """What the bounds in `[keep]` take from the folder of runs; nothing is removed yet."""
    for left in runs.glob(f"{GONE}*"):
        yield Removal(left.name.removeprefix(GONE).partition("-")[0], (left,), size(left), True, runs)
    found = known(runs)
    removed, lighter = plan(found, keep)
    for each in removed:
        yield Removal(each.run.id, (each.folder.root,), size(each.folder.root), True, runs, each.folder)
    copies = [each for each in found if _has_copies(each) and each not in removed + lighter]
    for each, patterns in [*((one, HEAVY) for one in lighter), *((one, COPIES) for one in copies)]:
        paths = (*(path for pattern in patterns for path in each.folder.root.glob(pattern)), *_long_logs(each))
        if paths:
            yield Removal(each.run.id, paths, sum(map(size, paths)), False, runs, each.folder)


def _long_logs(one: Known) -> Iterator[Path]:
    if one.ended and one.state == "accepted":
        yield from (path for path in one.folder.root.glob(ACCESS_LOG) if path.lstat().st_size > LONG)


def _has_copies(one: Known) -> bool:
    """Whether the registry has the version, and nobody needs the run's own weights."""
    registered = one.folder.record("register")
    return one.ended and not one.at_work and registered is not None and registered.outcome == "done"


def remove(removal: Removal) -> None:
    """Carry it out, unless a process has taken the run meanwhile, or removed it. Raises OSError."""
    if removal.folder and not (removal.folder.root / "run.json").exists():
        return  # its lock would make the folder anew
    try:
        with removal.folder.locked() if removal.folder else contextlib.nullcontext():
            for path in removal.paths:
                if path.is_symlink():
                    path.unlink()
                elif path.name.startswith(GONE):
                    _delete(path)
                else:  # whole or absent, whatever ends us
                    gone = removal.runs / f"{GONE}{removal.run}-{path.name}"
                    path.rename(gone)
                    _delete(gone)
    except TryAgain:
        return


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def size(path: Path) -> int:
    """Bytes on the disk below a path; what has several names counts once, what a link leads to not at all."""
    seen: set[tuple[int, int]] = set()
    total = 0 if path.is_dir() else sum(info.st_blocks * 512 for info in _infos([path]))
    for folder, _, files in os.walk(path):
        for info in _infos(Path(folder) / name for name in files):
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
    return total


def _infos(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            yield path.lstat()


def tidy(runs: Path, keep: Keep) -> None:
    """Keep the bounds, at the end of a run; what prevents it changes nothing else."""
    with contextlib.suppress(PipelineError, OSError):
        for each in removals(runs, keep):
            with contextlib.suppress(OSError):
                remove(each)
