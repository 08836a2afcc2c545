"""The worker of the team's own metrics (`python -P -m pipelines.workers.own_metrics`): functions of `metrics.py` over answers.

In its folder: `job.json` (OwnJob), `inputs/answers` (as the evaluation has left them) and `inputs/tests`, a tests repository. Each
function is called with the truth and a model's answers, and the names of the classes if it takes three values. It runs here, apart
from the evaluation, so that it can alter nothing that Trainyard measures.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import numbers
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from types import ModuleType
from typing import Any

import numpy as np

from pipelines.workers.answers import Kept, Which, classes_of, kept
from pipelines.workers.comparison import resampled
from pipelines.workers.jobs import OwnJob, OwnNumbers, OwnResult
from pipelines.workers.metrics_file import CALL, FILE, HINT, must_define
from registry import codec
from registry.dataclass import dataclass
from registry.errors import ConfigError, WorkerFailed
from registry.records import Comparison
from registry.records.measure import OWN, name_after
from training.code_copy import copy_code
from training.metric_table import better
from training.metrics import Ints
from training.model.contract import blame, compiled
from training.worker.protocol import report_event, save_failure, work

RESAMPLES, FEWEST = 500, 100
"""Of a bootstrap; when there is no time for the fewest, there is no interval."""
SECONDS = 20.0
"""For the resamples of one function on one set of samples; all together never take more than half of the job's time."""
READ_ONLY = f"the arrays are read-only: change a copy, e.g. probabilities.copy(); {HINT}"


@dataclass(frozen=True, slots=True)
class OwnFunction:
    """One function of `metrics.py`, called as it wants to be."""

    measure: str
    name: str
    call: Callable[[Any, Any], object]
    code: Path

    def __call__(self, truth: Any, answers: Any) -> float:
        """The number; NaN for one that is not finite. Raises WorkerFailed for what the function raises, ConfigError for what is not
        a number."""
        try:
            with blame(self.code, f"{FILE}: {self.name} failed", HINT, "tests"):
                found = self.call(truth, answers)
        except WorkerFailed as error:
            said = str(error) if FILE in str(error).partition("\n")[0] else f"{FILE}: {self.name}: {error}"
            raise WorkerFailed(said, hint=READ_ONLY if "read-only" in said else error.hint) from error
        if isinstance(found, bool | np.bool_) or not isinstance(found, numbers.Real):
            raise ConfigError(
                f"{FILE}: {self.name} returned {_what(found)}, not a number", hint=f"return a float; {HINT}"
            )
        return _finite(found)


def main(folder: Path) -> OwnResult:
    """Raises ConfigError and WorkerFailed that name the file and the function."""
    job = codec.read(OwnJob, folder / "job.json")
    answers = folder / "inputs" / "answers"
    with _in_time(job, folder):
        functions = _functions(job, folder / "inputs" / "tests", classes_of(answers))
        holdout, recent = (_numbers_of(job, functions, answers, each) for each in ("holdout", "recent"))
    return OwnResult(holdout, recent)


@contextmanager
def _in_time(job: OwnJob, folder: Path) -> Iterator[None]:
    """While this runs, the worker that takes too long ends itself, and one that is ended by the team's code has said why."""
    names = ", ".join(name_after(OWN, each) for each in job.measures)

    def too_late() -> None:
        said = f"{FILE}: {names} took longer than {job.seconds:g} s"
        save_failure(folder, WorkerFailed(said, hint="make it quicker, or raise [acceptance] timeout_seconds"))
        os._exit(WorkerFailed.exit_code)

    timer = Timer(job.seconds, too_late)
    timer.daemon = True
    timer.start()
    save_failure(folder, WorkerFailed(f"{FILE}: the process was ended in {names}", hint=HINT))
    try:
        yield
    finally:
        timer.cancel()
        (folder / "error.json").unlink(missing_ok=True)


def _functions(job: OwnJob, tests: Path, classes: tuple[str, ...]) -> list[OwnFunction]:
    """Import `metrics.py` from a copy, as a module that the modules beside it can be imported by."""
    must_define(tests, job.measures)
    code = copy_code(tests)
    os.chdir(code)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(code))
    module = ModuleType("metrics")
    module.__file__ = str(code / FILE)
    module.__spec__ = importlib.util.spec_from_file_location("metrics", code / FILE)
    sys.modules["metrics"] = module
    with blame(code, f"{FILE} could not be imported", HINT, "tests"):
        exec(compiled(code / FILE, HINT), module.__dict__)  # noqa: S102  (running this code is what the worker is for)
    found = []
    for measure in job.measures:
        name = name_after(OWN, measure)
        call = _callable(name, getattr(module, name, None), classes)
        found.append(OwnFunction(measure, name, call, code))
    return found


def _callable(name: str, value: Any, classes: tuple[str, ...]) -> Callable[[Any, Any], object]:
    if not callable(value):
        raise ConfigError(f"{FILE}: {name} is {_what(value)}, not a function", hint=f"define {name}{CALL}")
    if _takes(value, 2):
        return value  # type: ignore[no-any-return]
    if _takes(value, 3):
        return lambda truth, answers: value(truth, answers, classes)
    raise ConfigError(
        f"{FILE}: {name}{inspect.signature(value)} cannot be called with {CALL}",
        hint=f"define it as {name}{CALL}; other parameters need defaults",
    )


def _takes(function: Callable[..., Any], values: int) -> bool:
    try:
        inspect.signature(function).bind(*range(values))
    except TypeError:
        return False
    except ValueError:  # some built-in functions do not say what they take
        return True
    return True


def _numbers_of(job: OwnJob, functions: list[OwnFunction], answers: Path, which: Which) -> OwnNumbers:
    """Of one set of samples. On recent predictions, whose labels come as they come, what fails is a note."""
    samples = kept(answers, which)
    if samples is None:
        return OwnNumbers()
    candidate, live, notes = dict[str, float](), dict[str, float](), list[str]()
    comparisons: list[Comparison] = []
    for function in functions:
        report_event("note", text=f"{FILE}: {function.name}, on {len(samples.truth):,} samples ({which})")
        try:
            began = time.monotonic()
            candidate[function.measure] = function(samples.truth, samples.candidate)
            seconds = time.monotonic() - began
            if samples.live is not None:
                live[function.measure] = function(samples.truth, samples.live)
                comparisons.append(_compared(job, function, samples, (candidate, live), seconds))
        except (ConfigError, WorkerFailed) as error:
            if which == "holdout":
                raise
            notes.append(str(error).splitlines()[0])
    return OwnNumbers(candidate, live, tuple(comparisons), tuple(notes))


def _compared(
    job: OwnJob, function: OwnFunction, samples: Kept, found: tuple[dict[str, float], dict[str, float]], seconds: float
) -> Comparison:
    """`seconds`: what one call takes."""
    new, live = (each[function.measure] for each in found)
    sign, n = better(function.measure), len(samples.truth)
    share = min(SECONDS, job.seconds / 4 / len(job.measures))
    resamples = min(RESAMPLES, int(share / max(2 * seconds, 1e-9)))
    low = high = math.nan
    if resamples >= FEWEST and math.isfinite(new) and math.isfinite(live):
        low, high = resampled(n, resamples, job.seed, lambda index: sign * _difference(function, samples, index))
    return Comparison(job.live_version, function.measure, sign * (new - live), low, high, n)


def _difference(function: OwnFunction, samples: Kept, index: Ints) -> float:
    """On a resample; NaN where the function has no answer, as a rare class may be missing there."""
    assert samples.live is not None
    truth = _fixed(samples.truth[index])
    try:
        return function(truth, _fixed(samples.candidate[index])) - function(truth, _fixed(samples.live[index]))
    except (ConfigError, WorkerFailed):
        return math.nan


def _fixed(array: Any) -> Any:
    array.flags.writeable = False
    return array


def _finite(number: Any) -> float:
    try:
        found = float(number)
    except OverflowError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def _what(value: object) -> str:
    shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
    return "nothing" if value is None else f"a {type(value).__name__}{shape}"


if __name__ == "__main__":
    sys.exit(work(main))
