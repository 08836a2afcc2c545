"""validate: is the data fit to learn from? Prepares the splits on the way, so that nothing is read twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.context import Context
from pipelines.reuse import prepared_data
from pipelines.runners import Job
from pipelines.runs import RunFolder
from pipelines.workers.metrics_file import must_define
from registry import codec
from registry.errors import ConfigError
from registry.records import Policy, TestReport
from training.data.checks import ANOMALOUS, ORDINARY
from training.data.spec import DataSpec, FailedCheck, PrepareJob, Validation
from training.metric_table import A, row_of, unknown_costs, unsuitable
from training.model.contract import FILE, offers
from training.slices import missing_columns

SHOWN = 5  # problems in the message, and notes; validation.json has them all


def main(context: Context, folder: RunFolder) -> str:
    """Raises ConfigError with the problems; `validate/outputs` holds `validation.json`, `junit.xml` and `data/`."""
    if own := context.config.gate.own:
        must_define(folder.sources / "tests", own)
    found = prepare(context, folder)
    _must_suffice(context.config.gate, found, folder)
    expectations = _expectations(context, folder)
    counts = ", ".join(f"{count} {split}" for split, count in found.samples.items())
    for line in (*(f"read as: {each}" for each in found.read_as), *found.notes[:SHOWN]):
        context.progress.note(line)
    return f"{counts} samples; {expectations}" if expectations else f"{counts} samples"


def _must_suffice(policy: Policy, found: Validation, folder: RunFolder) -> None:
    """Raise ConfigError for what the gate would reject whatever the model is, so that nothing is trained for it.

    A `load_data` may make more or fewer samples of the files than are known here.
    """
    if (folder.sources / "code" / FILE).is_file() and offers(folder.sources / "code", "load_data"):
        return
    samples, classes = found.samples.get("holdout", 0), found.classes.get("holdout", {})
    problems: list[str] = []
    if found.task == "anomaly":
        problems += _unmarked(policy, classes)
        classes = {}
    if samples < policy.min_samples:
        problems.append(f"the holdout has {samples} samples, [gate] min_samples wants at least {policy.min_samples}")
    if policy.class_floor is not None:
        none = [name for name, count in classes.items() if not count]
        problems += [f"[gate] class_floor: the holdout has no sample of {', '.join(map(repr, none[:SHOWN]))}"] * bool(
            none
        )
        problems += [f"[gate] class_floor is set, but there are no classes: the data are for {found.task}"] * (
            not classes
        )
    spec = codec.read(DataSpec, folder.split("holdout") / "data.json")
    problems += _unsuitable(policy, spec, tuple(classes))
    columns = [each.name for each in spec.inputs]
    problems += [why] if (why := missing_columns(policy.slices, columns)) else []
    if problems:
        raise ConfigError(
            f"dataset {folder.run.sources.dataset[:7]}: {'; '.join(problems)}",
            hint="add samples, raise [split] holdout in dataset.toml, or change the setting",
        )


def _unmarked(policy: Policy, marks: Mapping[str, int]) -> Iterator[str]:
    """Metrics of anomalies that need to know some. `marks`: how many samples of the holdout are marked as what."""
    if marks.get(ANOMALOUS) and marks.get(ORDINARY):
        return
    for each in (policy.measure, *policy.more):
        if (row := row_of(each)) and "anomaly" in row.tasks and row.tasks != A:
            yield f"[gate] {each} needs a holdout in which some samples are marked as {ANOMALOUS}, and some as {ORDINARY}"


def _unsuitable(policy: Policy, spec: DataSpec, classes: tuple[str, ...]) -> list[str]:
    """Metrics of another task, and classes and targets that the dataset does not have."""
    asked = (policy.measure, *policy.more)
    known = (spec.task, classes, spec.targets)
    found = [f"[gate] {why}" for each in asked if (why := unsuitable(each, *known, ordered=spec.ordered))]
    if policy.recent and spec.targets:
        several = f"{len(spec.targets)} per sample are predicted"
        found.append(f"[gate] recent: a label is one number, and {several}: set it to false")
    if policy.recent and spec.task == "multi-label":
        found.append("[gate] recent: a label is one class, and a sample has any number of them: set it to false")
    if policy.recent and spec.task == "anomaly":
        found.append(
            "[gate] recent: a label is one class or number, and anomalies are marked in the dataset: set it to false"
        )
    if names := unknown_costs(policy.costs, classes):
        found.append(f"[gate.costs] the dataset has no class {', '.join(map(repr, names[:SHOWN]))}")
    return found


def prepare(context: Context, folder: RunFolder) -> Validation:
    """Check the dataset and write its splits, by a worker, unless that was done for another run; raises ConfigError
    with the problems."""
    job = folder.job("validate")
    name = context.url("dataset").rstrip("/").rpartition("/")[2]
    files, row_keys = _files_are_read(context, folder), context.config.lineage.row_keys
    codec.save(PrepareJob(dataset=name, files=files, row_keys=row_keys), job / "job.json")
    key = prepared_data.key_of(context, folder, "validate")
    if prepared_data.find(context, folder, "validate", key):
        context.progress.note("these data were prepared before, for another run")
        return codec.read(Validation, job / "result.json")
    inputs = {"dataset": folder.sources / "dataset"}
    context.work(Job("validate", ("training.data.prepare",), job, context.limits(), inputs, run=folder.run.id))
    found = codec.read(Validation, job / "result.json")
    if not found.ok:
        hints = list(dict.fromkeys(each.hint for each in found.faults if each.hint))
        words = [_in_words(each, with_hint=len(hints) > 1) for each in found.faults[:SHOWN]]
        more = len(found.faults) - SHOWN
        raise ConfigError(
            f"dataset {folder.run.sources.dataset[:7]}: "
            + " | ".join(words)
            + (f" | and {more} more" if more > 0 else ""),
            hint=hints[0] if len(hints) == 1 else f"all of them: {folder.outputs('validate')}/validation.json",
        )
    prepared_data.keep(context, folder, "validate", key)
    return found


def _in_words(failed: FailedCheck, *, with_hint: bool) -> str:
    """What a check has found; its name says what should be, and would read as if it were so."""
    shown = failed.messages[:SHOWN]
    more = f" (and more: {failed.count:,} in all)" if len(shown) < len(failed.messages) else ""
    return "; ".join(shown) + more + (f" [what helps: {failed.hint}]" if with_hint and failed.hint else "")


def _files_are_read(context: Context, folder: RunFolder) -> bool:
    """Whether the team's code may read the samples from files: by a script of its own, or by a `load_data`, which shows
    as a word; what that word means shows only when the code runs."""
    modules = (path for path in (folder.sources / "code").rglob("*.py") if path.is_file())
    return bool(context.config.training.command) or any(b"load_data" in path.read_bytes() for path in modules)


def _expectations(context: Context, folder: RunFolder) -> str:
    """Run the dataset's own Great Expectations suite when there is one."""
    dataset = folder.sources / "dataset"
    if not (dataset / "expectations.json").exists():
        return ""
    job = folder.job("expectations")
    index = folder.outputs("validate") / "index.parquet"
    inputs = {"dataset": dataset} | ({"index": index} if index.exists() else {})
    (job / "job.json").write_text("{}", encoding="utf-8")
    key = prepared_data.key_of(context, folder, "expectations")
    if prepared_data.find(context, folder, "expectations", key):
        return _hold(codec.read(TestReport, job / "result.json"))
    module = ("training.data.expectations",)
    context.work(Job("expectations", module, job, context.limits(), inputs, run=folder.run.id))
    report = codec.read(TestReport, job / "result.json")
    if report.failed:
        unchecked = [case.name for case in report.failed if case.outcome == "error"]
        bad = [f"{case.name}: {case.message}" for case in report.failed if case.outcome == "failed"]
        parts = [f"bad data: {'; '.join(bad[:SHOWN])}"] if bad else []
        parts += [f"could not be checked: {', '.join(unchecked[:SHOWN])}"] if unchecked else []
        raise ConfigError(
            f"expectations.json: {' | '.join(parts)}", hint=f"see {folder.outputs('expectations')}/junit.xml"
        )
    prepared_data.keep(context, folder, "expectations", key)
    return _hold(report)


def _hold(report: TestReport) -> str:
    unmet = sum(case.outcome == "skipped" for case in report.cases)
    warn = (
        f", {unmet} that only {'warns' if unmet == 1 else 'warn'} {'is' if unmet == 1 else 'are'} not met"
        if unmet
        else ""
    )
    return f"{len(report.cases) - unmet} expectations hold{warn}"
