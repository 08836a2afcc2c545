"""The evaluate worker (`python -P -m pipelines.workers.evaluate`): measures the file that will be served.

In its folder: `job.json` (EvaluateJob) and the inputs named there. It leaves the Evaluation and, under `outputs/`,
`confusion.png` and `calibration.png`, `scatter.png`, `labels.png` or `scores.png`, `golden.npz`: some samples with the answers given here, which
the API must give as well (`in_0` …, `out_0` …, `index`), `examples.json`: answers that people want to see, and `reference.npz`: what monitoring
compares later predictions with.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.workers.answers import Which, Whose, keep, keep_classes, without_kept
from pipelines.workers.comparable import has_load_data, not_comparable, unseen_rows
from pipelines.workers.comparison import compare
from pipelines.workers.compatibility import Array, Mismatch, check_inputs, check_output
from pipelines.workers.examples import ExampleMaker, write_examples
from pipelines.workers.importance import choose, importance
from pipelines.workers.jobs import ANSWERS, EvaluateJob, MeasuredModel
from pipelines.workers.plot_process import Draw, plot_process
from pipelines.workers.recent_samples import open_recent
from pipelines.workers.reference import ReferenceMaker, maker
from pipelines.workers.slices import measure_slices
from registry import codec
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt, WorkerFailed
from registry.files import sha256_file, write_whole
from registry.records import Comparison, Evaluation, Importance, Metrics, Recent, Signature, Task
from retraining.monitoring.names import REFERENCE_FILE
from retraining.monitoring.reference import to_bytes
from serving.engines.base import BadInput, Engine, EngineError, cast_inputs, cores, load_engine
from serving.engines.scored import answering
from training.data.spec import DataSpec, load_split
from training.metric_table import always_measured, row_of
from training.metrics import (
    NOTHING,
    Answers,
    Graded,
    Names,
    Wanted,
    graded,
    join,
    must_be_possible,
    some,
    summary,
)
from training.slices import rows_of_slices
from training.worker.protocol import report_event, work

BATCH = 64
"""Samples read at once by each thread: memory is bounded by this, not by the holdout."""
GOLDEN = 16


@dataclass(frozen=True, slots=True)
class Holdout:
    """The samples that training never saw."""

    data: DataSpec
    x: Mapping[str, Array]
    y: Array
    wanted: Wanted = NOTHING
    """What is measured on them beyond what always is, and of which targets."""

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.data.task

    @property
    def classes(self) -> tuple[str, ...]:
        """By label; empty for regression."""
        return self.data.classes


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded model."""

    signature: Signature
    engine: Engine

    def __call__(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for arrays as the dataset has them, whose dtypes may differ from the model's (uint8 images)."""
        return self.engine(cast_inputs(self.signature, x))


def main(folder: Path) -> Evaluation:
    """Raises Corrupt when a file is not the one named in the job, ConfigError when the candidate does not fit the data,
    WorkerFailed when the model cannot run."""
    job = codec.read(EvaluateJob, folder / "job.json")
    inputs, outputs = folder / "inputs", folder / "outputs"
    outputs.mkdir(exist_ok=True)
    shutil.rmtree(outputs / ANSWERS, ignore_errors=True)  # of an earlier try
    with plot_process(outputs) as draw:
        return _evaluate(job, inputs, outputs, draw)


def _evaluate(job: EvaluateJob, inputs: Path, outputs: Path, draw: Draw) -> Evaluation:
    if why := not_comparable(job.candidate, inputs, "candidate", job.min_samples):
        raise ConfigError(f"version {job.candidate.version} is not measured: {why}", hint="train a new model")
    holdout = open_holdout(inputs)
    of_the_order = always_measured(holdout.task, ordered=True) if holdout.data.ordered else ()
    asked = (job.metric, *job.more, *of_the_order)
    wanted = replace(holdout.wanted, measures=asked, costs=job.costs, probabilities=job.answers)
    holdout = replace(holdout, wanted=wanted)
    must_be_possible(holdout.wanted, holdout.task, holdout.classes, len(holdout.y))
    unseen = unseen_rows(job, inputs)
    verify(job.candidate, inputs / "candidate")
    if job.live:
        verify(job.live, inputs / "live")
    try:
        model = open_model(job.candidate, inputs / "candidate", holdout)
        warm = keep_golden(model, holdout, outputs / "golden.npz")
        made = maker(model.signature, holdout.data, warm) if job.reference else None
        new = predict(model, holdout, reference=made)
    except Mismatch as error:
        hint = "the model must take the dataset's samples and answer with one probability per class, or one number per target"
        raise ConfigError(f"the candidate does not fit the holdout: {error}", hint=hint) from error
    except (BadInput, EngineError) as error:
        raise WorkerFailed(f"the candidate cannot answer for the holdout: {error}") from error
    if made:
        right = new.truth == new.predicted if isinstance(new, Answers) else None
        write_whole(outputs / REFERENCE_FILE, to_bytes(made.make(holdout.x, right)))
    if unseen is not None:
        new = some(new, unseen)
    new = _leave(job, holdout, outputs, ("holdout", "candidate"), new)
    found = measure(new, holdout)
    draw(found, new, holdout.data.target)
    looks_at = _importance(model, holdout, job.seed) if job.importance else None
    recent = _recent(job, model, holdout, inputs) if job.recent and job.live else None
    evaluation, old = _with_live(job, found, (new, unseen), holdout, inputs)
    if job.examples:
        rows = np.arange(len(holdout.y)) if unseen is None else np.flatnonzero(unseen)
        made_of = ExampleMaker(inputs, model.signature, holdout.x, holdout.classes, rows)
        write_examples(made_of.make(new, old, job.live.version if job.live else None, looks_at), outputs)
    learned = len(holdout.y) - found.samples
    return replace(evaluation, importance=looks_at, recent=recent, learned=learned)


def _leave(job: EvaluateJob, holdout: Holdout, outputs: Path, of: tuple[Which, Whose], answers: Graded) -> Graded:
    """Leave the answers for the team's `metrics.py`, if the job wants that; gives them as Trainyard measures them."""
    if not job.answers:
        return answers
    keep_classes(outputs / ANSWERS, holdout.classes)
    keep(outputs / ANSWERS, *of, answers)
    return without_kept(answers, holdout.wanted)


def _importance(model: LoadedModel, holdout: Holdout, seed: int) -> Importance | None:
    """What the candidate looks at; None when its inputs cannot be shuffled one by one."""
    rows, x = choose(model.signature, holdout.x, len(holdout.y), seed)
    if not len(rows):
        return None
    y = np.asarray(holdout.y[rows])

    least = Wanted(targets=holdout.data.targets)

    def ask(shuffled: Mapping[str, Array]) -> Graded:
        return predict(model, replace(holdout, x=shuffled, y=y, wanted=least), silent=True)

    try:
        return importance(ask, model.signature, x, seed)
    except (Mismatch, BadInput, EngineError):  # it answers for each sample, but not for a mixture of them
        return None


def _recent(job: EvaluateJob, model: LoadedModel, holdout: Holdout, inputs: Path) -> Recent:
    """Both models on labelled predictions that no training saw. What keeps them from being compared is a note."""
    assert job.live
    if holdout.data.targets:
        return Recent(0, notes=("a label is one number, and the models answer with several",))
    x, y, notes = open_recent(inputs / "recent", holdout.classes)
    recent, samples = replace(holdout, x=x, y=y), len(y)
    if not samples:
        return Recent(0, notes=notes)
    if job.live.signature.preparation != job.candidate.signature.preparation:
        why = "the log has images as the live version sees them, and those of the candidate are prepared in another way"
        return Recent(samples, notes=(why, *notes))
    try:
        check_inputs(job.candidate.signature, recent.x)
        new = predict(model, recent, silent=True)
        live = predict(open_model(job.live, inputs / "live", recent), recent, silent=True)
    except (Mismatch, BadInput, EngineError) as error:
        return Recent(samples, notes=(f"they cannot be answered by both models: {error}", *notes))
    outputs = inputs.parent / "outputs"
    new = _leave(job, holdout, outputs, ("recent", "candidate"), new)
    live = _leave(job, holdout, outputs, ("recent", "live"), live)
    first, *others = _comparisons(job, new, live)
    return Recent(samples, measure(new, recent), measure(live, recent), first, notes, tuple(filter(None, others)))


def _with_live(
    job: EvaluateJob, found: Metrics, answered: tuple[Graded, Array | None], holdout: Holdout, inputs: Path
) -> tuple[Evaluation, Graded | None]:
    """The evaluation with the live release on the same samples of the holdout, and its answers; `answered`: the candidate's, and
    which samples they are for. One that cannot be measured is a note, not an error,
    because a new kind of model must be able to replace it."""
    new, unseen = answered
    rows = rows_of_slices(job.slices, holdout.x, unseen)
    alone = Evaluation(found, slices=measure_slices(job, new, None, rows))
    if job.live is None:
        return alone, None
    if why := not_comparable(job.live, inputs, "live", job.min_samples):
        note = f"live version {job.live.version} was not measured: {why}; the gate decides by the thresholds alone"
        return replace(alone, live_note=note), None
    try:
        old = predict(open_model(job.live, inputs / "live", holdout), holdout)
    except (Mismatch, BadInput, EngineError) as error:
        note = f"live version {job.live.version} cannot be measured on this holdout: {error}"
        return replace(alone, live_note=note), None
    if unseen is not None:
        old = some(old, unseen)
    old = _leave(job, holdout, inputs.parent / "outputs", ("holdout", "live"), old)
    live = measure(old, holdout)
    first, *others = _comparisons(job, new, old)
    slices = measure_slices(job, new, old, rows)
    return Evaluation(found, live, first, comparisons=tuple(filter(None, others)), slices=slices), old


def _comparisons(job: EvaluateJob, new: Graded, live: Graded) -> list[Comparison | None]:
    """By the gate's metric, and by those of its rules; None for a metric of another task, which the gate rejects."""
    assert job.live
    version = job.live.version or 0
    return [
        compare(new, live, each, version, job.seed) if (row := row_of(each)) and new.task in row.tasks else None
        for each in (job.metric, *job.more)
    ]


def open_holdout(inputs: Path) -> Holdout:
    """The prepared split, or what the code repository's `load_data` makes of the same files.

    Only a `load_data` costs the import of TensorFlow, which such code may use.
    """
    split = load_split(inputs / "holdout")
    if not split.names:
        raise ConfigError("the holdout has no samples", hint="raise [split] holdout in dataset.toml, or add samples")
    if not has_load_data(inputs):
        parts = {name for each in split.spec.dates for name in each.features}
        x = {name: array for name, array in split.x.items() if name not in parts} | split.dates
        return Holdout(split.spec, x, split.y, Wanted(targets=split.spec.targets))
    from training.model.contract import load_contract
    from training.model.samples import open_samples

    samples = open_samples(inputs / "holdout", load_contract(inputs / "code"))
    return Holdout(split.spec, samples.x, samples.y, Wanted(targets=split.spec.targets))


def verify(measured: MeasuredModel, folder: Path) -> None:
    """Raise Corrupt unless every file that is served has the SHA-256 of the job, and there is no other file."""
    root = folder / measured.served.path
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix() for path in found}
    wanted = {
        name for name in measured.files if name == measured.served.path or name.startswith(f"{measured.served.path}/")
    }
    for name in sorted(names ^ wanted):
        what = "is missing" if name in wanted else "is not among the files of this version"
        raise Corrupt(f"{folder / name}: {what}", hint="train again, or restore the version from a copy")
    if not names:
        raise Corrupt(f"{root}: there is nothing to serve")
    for path in found:
        if sha256_file(path) != measured.files[path.relative_to(folder).as_posix()]:
            raise Corrupt(f"{path}: the bytes are not those of the job", hint="train again, or restore it from a copy")


def open_model(measured: MeasuredModel, folder: Path, holdout: Holdout) -> LoadedModel:
    """Load what is served. Raises Mismatch or Corrupt."""
    if measured.signature.task != holdout.task:
        raise Mismatch(f"it is made for {measured.signature.task}; the data are for {holdout.task}")
    if measured.signature.targets != holdout.data.targets:
        had, have = (", ".join(each) or "one number" for each in (measured.signature.targets, holdout.data.targets))
        raise Mismatch(f"it predicts {had:.200}; the data ask for {have:.200}")
    check_inputs(measured.signature, holdout.x)
    engine = load_engine(folder, measured.signature, measured.served, cores())
    return LoadedModel(measured.signature.answered, answering(engine, measured.signature))


def predict(
    model: LoadedModel, holdout: Holdout, *, silent: bool = False, reference: ReferenceMaker | None = None
) -> Graded:
    """The model's outputs for every sample. Batches run on all cores; a few numbers per sample are kept, and given to the
    `reference` that is made. Reports the progress unless `silent`."""
    total = len(holdout.y)
    names = Names(model.signature.classes, holdout.classes, model.signature.threshold)

    def batch(start: int) -> Graded:
        part = slice(start, start + BATCH)
        x = cast_inputs(model.signature, {name: array[part] for name, array in holdout.x.items()})
        outputs = model.engine(x)
        if reference:
            reference.add(start, x, outputs)
        output = outputs[model.signature.outputs[0].name]
        output = output[:, np.newaxis] if holdout.task == "anomaly" else output
        check_output(model.signature, output)
        truth = np.asarray(holdout.y[part])
        return graded(holdout.task, output, truth, names, holdout.wanted)

    parts: list[Any] = []
    starts = range(0, total, BATCH)
    with ThreadPoolExecutor(cores()) as pool:
        for part in pool.map(batch, starts):
            parts.append(part)
            if not silent and (len(parts) % max(1, len(starts) // 20) == 0 or len(parts) == len(starts)):
                report_event("progress", done=min(len(parts) * BATCH, total), of=total, what="samples")
    return join(parts)


def measure(outputs: Graded, holdout: Holdout) -> Metrics:
    """All metrics of one model."""
    return summary(outputs, holdout.classes, holdout.wanted.measures)


def keep_golden(model: LoadedModel, holdout: Holdout, path: Path) -> dict[str, Array]:
    """Write some samples as the dataset has them, and all outputs of the served model for them, which are given back."""
    index = golden_index(np.asarray(holdout.y), len(holdout.classes) if holdout.task == "classification" else 0)
    x = {name: np.asarray(array[index]) for name, array in holdout.x.items()}
    outputs = model(x)
    arrays = {f"in_{i}": x[spec.name] for i, spec in enumerate(model.signature.inputs)}
    given = [outputs[spec.name].astype(np.float32) for spec in model.signature.outputs]
    arrays |= {f"out_{i}": each[:, np.newaxis] if each.ndim == 1 else each for i, each in enumerate(given)}
    np.savez(path, allow_pickle=False, index=index, **arrays)
    return outputs


def golden_index(y: Array, classes: int) -> Array:
    """The positions of at most GOLDEN samples, sorted: the classes in turn, or evenly spread."""
    if not classes:
        return np.unique(np.linspace(0, len(y) - 1, min(GOLDEN, len(y))).astype(np.int64))
    turns = np.empty(len(y), dtype=np.int64)  # the how-manyth sample of its class each one is
    for label in range(classes):
        members = np.flatnonzero(y == label)
        turns[members] = np.arange(len(members))
    return np.sort(np.argsort(turns, kind="stable")[:GOLDEN])


if __name__ == "__main__":
    sys.exit(work(main))
