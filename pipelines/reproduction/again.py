"""Trains a version once more, in a folder of its own that is removed at the end. Nothing is written to the registry.

<home>/reproductions/<model>-<version>/        the run, while it runs
<home>/reproductions/<model>-<version>.json    the record of the newest try
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipelines.context import Context
from pipelines.reproduction.rules import Reproduction, circumstances, decide, model_files
from pipelines.reproduction.scratch import FOLDER, scratch
from pipelines.reuse import prepared_data
from pipelines.runners import Job
from pipelines.runs import RunFolder, Stopwatch
from pipelines.steps import validate
from pipelines.steps.train import PARITY
from pipelines.workers.jobs import CompareJob, Differences, MeasuredModel
from registry import candidates, codec, dataset_lists
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt, PipelineError, TryAgain
from registry.files import sha256_file
from registry.records import Candidate, Run, TrainJob, TrainResult, utc_now
from training.data.spec import Validation

STEPS = ("fetch", "validate", "train", "compare")


@dataclass(frozen=True, slots=True)
class Again:
    """What was made once more."""

    result: TrainResult
    image: str | None
    notes: tuple[str, ...]
    """What was not the same, beside packages, machine and image."""


def reproduce(context: Context, version: int, tolerance: float) -> Reproduction:
    """Train the version of the config's model again, and compare. Raises ConfigError when there is no such version,
    TryAgain when the same command may work later; all else that prevents it is its outcome."""
    card, digest = candidates.read_manifest(context.store, context.config.model, version)
    root, watch = context.home / FOLDER / f"{card.model}-{version}", Stopwatch()
    found = Reproduction(card.model, version, digest, tolerance, utc_now(), "impossible")
    context.progress.start(f"{card.model} version {version}, once more", STEPS)
    try:
        with scratch(root) as folder:
            found = _in_scratch(context, folder, card, found)
    except TryAgain:
        raise
    except PipelineError as error:
        hints = [f"what helps: {error.hint}"] if error.hint else []
        found = replace(found, reasons=(str(error), *hints))
    finally:
        context.progress.stop()
    found = replace(found, seconds=watch.seconds)
    codec.save(found, root.with_name(f"{root.name}.json"))
    return found


def _in_scratch(context: Context, folder: RunFolder, card: Candidate, begun: Reproduction) -> Reproduction:
    again = _train(context, folder, card)
    result = again.result
    then, now = model_files(card.files, card.served), model_files(result.files, result.served)
    identical = tuple(sorted(name for name in then if then[name] == now.get(name)))
    other = tuple(sorted({*then, *now} - set(identical)))
    differences = _compare(context, folder, card, result) if other else None
    outcome, reasons = decide(other, differences, begun.tolerance)
    around = (*again.notes, *circumstances(card, result.packages, result.machine, again.image))
    return replace(
        begun,
        outcome=outcome,
        reasons=reasons,
        circumstances=around,
        identical=identical,
        other=other,
        differences=differences,
    )


def _train(context: Context, folder: RunFolder, card: Candidate) -> Again:
    if card.training is None:
        raise ConfigError(
            f"version {card.version} was made before versions kept their settings",
            hint="only versions that were registered since can be trained again",
        )
    run = Run("reproduction", card.model, "code", card.sources, "", None, None, utc_now())
    codec.save(run, folder.root / "run.json")
    with _step(context, "fetch"):
        context.git.fetch_and_checkout(context.url("code"), card.sources.code, "code", folder.sources / "code")
        prepared_data.check_out(context, folder)
    with _step(context, "validate"):
        notes = _check_data(folder, card, validate.prepare(context, folder))
    with _step(context, "train"):
        own, needs = _place(context, folder, card)
        job = replace(card.training, threads=int(card.machine.get("threads", "0")))
        if own is context:  # else the image has the code that the job was made for
            job = replace(job, parity_command=PARITY)
        result, image = _work(own, folder, card, job, needs)
    return Again(result, image, notes)


def _check_data(folder: RunFolder, card: Candidate, found: Validation) -> tuple[str, ...]:
    """What is known of the split; raises Corrupt when the commit does not hold the files that it held."""
    if card.dataset is None or found.tree is None:
        return ("whether the dataset's files are the same is not known",)
    made = folder.outputs("validate")
    if found.tree.digest != card.dataset.digest:
        now = {each.path: each.sha256 for each in dataset_lists.read_files(made / dataset_lists.FILES)}
        raise Corrupt(
            f"dataset {card.sources.dataset[:7]} has other files than it had: SHA-256 {found.tree.digest}, "
            f"not {card.dataset.digest} ({len(now):,} files, {card.dataset.files:,} then)",
            hint="files of Git LFS or of submodules are fetched from elsewhere, and may have been replaced there",
        )
    keys = card.files.get(dataset_lists.KEYS)
    path = made / dataset_lists.KEYS
    if keys is None or not path.is_file():
        return ()
    return (
        () if sha256_file(path) == keys else ("the samples are split in another way: by another version of Trainyard",)
    )


def _place(context: Context, folder: RunFolder, card: Candidate) -> tuple[Context, Path | None]:
    """Where to train, and the requirements that are yet to be met: in the container image that it was trained in, if the engine
    still has it, else as trainings run now."""
    if card.image and context.runner.name == "docker":
        own = context.in_image(card.image)
        try:
            own.runner.image(None, context.show)
        except (ConfigError, TryAgain) as error:
            context.progress.note(f"the container image of version {card.version} is gone: {error}")
        else:
            return own, None
    return context, folder.requirements


def _work(
    context: Context, folder: RunFolder, card: Candidate, job: TrainJob, needs: Path | None
) -> tuple[TrainResult, str | None]:
    """Run the worker that has trained the version; gives its result, and the image that it ran in."""
    inputs = {"code": folder.sources / "code", "train": folder.split("train"), "validation": folder.split("validation")}
    if card.base is not None:
        inputs["model"] = candidates.local_folder(context.store, "test", card.model, card.base)
    module = "training" if card.base is None else "retraining"
    where = folder.job("train")
    codec.save(job, where / "job.json")
    image = context.runner.image(needs, context.show)
    context.work(Job("train", (module,), where, context.limits(), inputs, run=folder.run.id, requirements=needs))
    return codec.read(TrainResult, where / "result.json"), image


def _compare(context: Context, folder: RunFolder, card: Candidate, result: TrainResult) -> Differences:
    inputs = {
        "holdout": folder.split("holdout"),
        "then": candidates.local_folder(context.store, "test", card.model, card.version),
        "again": folder.outputs("train"),
    }
    needs = None
    if card.how != "command":  # a team's own script has no `load_data` of `model.py`
        inputs["code"], needs = folder.sources / "code", folder.requirements
    job = CompareJob(
        MeasuredModel(card.signature, card.served, card.files),
        MeasuredModel(result.signature, result.served, result.files),
    )
    with _step(context, "compare"):
        where = folder.job("compare")
        codec.save(job, where / "job.json")
        module = ("pipelines.workers.differences",)
        context.work(Job("compare", module, where, context.limits(), inputs, run=folder.run.id, requirements=needs))
        return codec.read(Differences, where / "result.json")


@contextmanager
def _step(context: Context, name: str) -> Iterator[None]:
    watch = Stopwatch()
    context.progress.step(name)
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        context.progress.done(name, outcome, watch.seconds)
