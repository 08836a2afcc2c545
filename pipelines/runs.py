"""A run is a folder: what went in, one record per finished step, and all that the steps made."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from registry import codec
from registry.dataclass import dataclass
from registry.errors import ConfigError, TryAgain
from registry.files import TMP, is_locked, sha256_bytes, sweep, try_lock, write_whole
from registry.records import Run

GLANCE = 0.3
"""Seconds for which somebody who only looks whether a run is at work may hold its lock."""
ORDER = ("resolve", "fetch", "validate", "train", "retrain", "evaluate", "gate", "register", "accept")
"""The steps that can decide a run, in the order that all flows keep; `pipelines.flows` says which run has which."""

STARTED_BY_MONITOR = "the monitor"
"""`Run.started_by` of a retraining that nobody asked for."""

StepOutcome = Literal["done", "enough", "rejected", "failed", "no"]


class NothingToDo(Exception):
    """A step found that the run has nothing more to do; the message says why."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """How one step ended. `done`, `enough` (nothing more to do in this run) and `rejected` are final; `failed` is tried again.

    `no` is what earlier versions of Trainyard wrote for `rejected`; it is read as that.
    """

    step: str
    outcome: StepOutcome
    note: str
    """One line for a person: what was decided, and why."""
    started_at: str
    seconds: float
    hint: str = ""
    exit_code: int = 0
    stopped: bool = False
    """Whether it was stopped from outside."""

    def __post_init__(self) -> None:
        if self.outcome == "no":
            object.__setattr__(self, "outcome", "rejected")

    @property
    def final(self) -> bool:
        """Whether the step need not run again."""
        return self.outcome != "failed"

    @property
    def stops(self) -> bool:
        """Whether the steps after it have nothing to do."""
        return self.outcome in {"enough", "rejected"}


class RunFolder:
    """The files of one run, by name."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @functools.cached_property
    def run(self) -> Run:
        """What this run is about; raises ConfigError when the folder holds no run."""
        try:
            return codec.read(Run, self.root / "run.json")
        except FileNotFoundError:
            raise ConfigError(
                f"{self.root}: no run.json", hint="start with `trainyard step resolve --run DIR --trigger …`"
            ) from None

    def must_exist(self) -> None:
        """Raises TryAgain when the folder was deleted, or its disk unmounted, since the run was looked up."""
        assert self.run
        if not (self.root / "run.json").exists():
            raise TryAgain(
                f"{self.root}: the run's folder is gone", hint="the same command starts it again; is its disk mounted?"
            )

    @property
    def sources(self) -> Path:
        """The three checked-out trees: `code`, `dataset`, `tests`."""
        return self.root / "sources"

    def job(self, name: str) -> Path:
        """The job folder of a worker, e.g. `train`; made when it is not there."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def outputs(self, name: str) -> Path:
        """Where the worker of that name has put its files."""
        return self.root / name / "outputs"

    def split(self, name: str) -> Path:
        """A prepared split: `train`, `validation` or `holdout`."""
        return self.outputs("validate") / "data" / name

    @property
    def requirements(self) -> Path | None:
        """The `requirements.txt` of the code repository, if it has one."""
        return self.requirements_of("code")

    def requirements_of(self, repository: str) -> Path | None:
        """The `requirements.txt` of a repository, if it has one."""
        path = self.sources / repository / "requirements.txt"
        return path if path.is_file() else None

    @property
    def image(self) -> str | None:
        """The digest of the image in which the model was trained; None when it was a plain process."""
        path = self.root / "image.txt"
        return path.read_text(encoding="ascii").strip() or None if path.exists() else None

    def keep_image(self, digest: str | None) -> None:
        """Say in which image the model is trained."""
        write_whole(self.root / "image.txt", f"{digest or ''}\n".encode("ascii"))

    @property
    def unfenced(self) -> tuple[str, ...] | None:
        """What the kernel could not keep from the worker that trained the model; None when that is not known."""
        path = self.root / "unfenced.txt"
        return tuple(path.read_text(encoding="utf-8").splitlines()) if path.exists() else None

    def keep_unfenced(self, lacks: Sequence[str]) -> None:
        """Say what the worker that trains the model is not kept from."""
        write_whole(self.root / "unfenced.txt", "".join(f"{each}\n" for each in lacks).encode())

    def record(self, step: str) -> StepRecord | None:
        """How the step ended last time; None when it never ran to an end."""
        path = self.root / "steps" / f"{step}.json"
        return codec.read(StepRecord, path) if path.exists() else None

    def records(self) -> list[StepRecord]:
        """How the steps of the run have ended so far, in their order; `notify`, which decides nothing, is left out."""
        return [record for step in ORDER if (record := self.record(step))]

    def decided(self) -> StepRecord | None:
        """The record that decided the run; None while steps other than `notify` are to be done. Raises as `run` does."""
        assert self.run
        last = next(iter(self.records()[-1:]), None)
        return last if last and last.final and (last.stops or last.step == ORDER[-1]) else None

    def ended(self) -> StepRecord | None:
        """As `decided`, once the mail about it is written."""
        notified = self.record("notify")
        return self.decided() if notified and notified.final else None

    def keep(self, record: StepRecord) -> None:
        """Write the record of a step that has ended."""
        codec.save(record, self.root / "steps" / f"{record.step}.json")

    def forget(self, step: str) -> None:
        """Have the step run once more."""
        (self.root / "steps" / f"{step}.json").unlink(missing_ok=True)

    @contextmanager
    def locked(self, patience: float = 0.0) -> Iterator[None]:
        """One process at a time; a second one gets TryAgain after `patience` seconds. The kernel releases the lock when
        its holder dies."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w", encoding="utf-8") as lock:
            until = time.monotonic() + max(patience, GLANCE)
            while not try_lock(lock):
                if time.monotonic() >= until:
                    raise TryAgain(f"run {self.root.name} is in use by another process", hint="let it finish")
                time.sleep(0.1)
            self._sweep()
            yield

    @property
    def at_work(self) -> bool:
        """Whether a process has the run's lock."""
        return is_locked(self.root / ".lock")

    def _sweep(self) -> None:
        """Remove what a killed controller was writing; we have the lock."""
        for folder in (self.root, *self.root.glob("*/"), *self.root.glob("accept/*/")):
            sweep(folder)
        for half in self.sources.glob(f"{TMP}*"):  # a checkout
            shutil.rmtree(half, ignore_errors=True)


def run_of(model: str, occasion: str) -> str:
    """The id of the one run that there is for an occasion: a time of the schedule, an alarm."""
    return id_of([model, occasion])


def id_of(went_in: Sequence[object]) -> str:
    """The id of a run, from all that went in."""
    return sha256_bytes(json.dumps(went_in, sort_keys=True).encode())[:12]


class Stopwatch:
    """Wall seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far, to the hundredth."""
        return round(time.monotonic() - self.start, 2)


def briefly(reasons: Sequence[str], most: int = 3) -> str:
    """The first few of many reasons in one line; the record beside them has all."""
    more = len(reasons) - most
    return "; ".join(reasons[:most]) + (f"; and {more} more" if more > 0 else "")
