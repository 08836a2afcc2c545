"""The expectations worker (`python -P -m training.data.expectations`): runs `expectations.json` through Great Expectations.

In its folder: `inputs/dataset`, and for images `inputs/index` (the `index.parquet` that the prepare worker wrote: path,
label, width, height, mode, bytes). It leaves `outputs/junit.xml`; the result is a TestReport with one case per
expectation, `failed` when the data are bad and `error` when that could not be checked.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from registry.errors import ConfigError
from registry.records import TestCase, TestReport
from training.data.checks import Checks, as_text
from training.data.dataset_toml import DatasetFile, Table, load_dataset_file
from training.junit import write_junit
from training.worker.protocol import work

NAME = "expectations.json"
CASE = "trainyard_case"  # Great Expectations gives the results back in an order of its own; `meta` identifies them
OF_TYPE, IN_TYPE_LIST = "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list"
ABOUT_TEXT = re.compile("regex|value_lengths|like_pattern|strftime|dateutil|json")
ABOUT_NUMBERS = re.compile("mean|median|stdev|sum|quantile|z_scores|kl_divergence|outliers")
NAMED = ("column", "column_A", "column_B")  # arguments that are the name of a column
TEXT_TYPES = {"object", "str", "string", "StringDtype"}  # what texts were and are called in pandas


View = Literal["table", "texts", "numbers"]


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation of the suite."""

    type: str
    kwargs: Mapping[str, Any]
    severity: str = "critical"

    @property
    def name(self) -> str:
        """E.g. `expect_column_values_to_not_be_null(column=age)`."""
        arguments = ", ".join(f"{key}={value}" for key, value in self.kwargs.items())
        return f"{self.type}({arguments:.200})"


def main(folder: Path) -> TestReport:
    """Check the suite; raises ConfigError when it, or the data that it is about, cannot be read."""
    repository = folder / "inputs" / "dataset"
    expected = load_suite(repository / NAME)
    frames = read_frames(repository, load_dataset_file(repository), folder / "inputs" / "index")
    report = TestReport("expectations", tuple(check(frames, expected)))
    write_junit(folder / "outputs" / "junit.xml", [report])
    return report


def load_suite(path: Path) -> list[Expected]:
    """Read a suite as Great Expectations 1.x saves it; raises ConfigError, naming the field."""
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{NAME} is missing in the dataset repository", hint="add it, or skip this worker") from None
    except ValueError as error:
        raise ConfigError(f"{NAME}: not JSON: {error}", hint="correct the file, commit and push") from None
    listed = raw.get("expectations") if isinstance(raw, dict) else None
    if not isinstance(listed, list) or not listed:
        hint = 'write {"name": "…", "expectations": [{"type": "expect_…", "kwargs": {…}}]}'
        raise ConfigError(f"{NAME}: expectations: a list with at least one expectation is wanted", hint=hint)
    errors: list[str] = []
    suite = [_expected(each, f"expectations[{i}]", errors) for i, each in enumerate(listed)]
    if errors:
        old = any(isinstance(each, dict) and "expectation_type" in each for each in listed)
        hint = "a suite of Great Expectations 0.x: in 1.x `expectation_type` is `type`" if old else "correct the file"
        raise ConfigError(f"{NAME}: " + "; ".join(errors), hint=hint)
    return suite


def _expected(raw: Any, where: str, errors: list[str]) -> Expected:
    if not isinstance(raw, dict):
        errors.append(f"{where}: {raw!r:.80} is not an object")
        return Expected("", {})
    kind, kwargs, severity = raw.get("type"), raw.get("kwargs", {}), raw.get("severity", "critical")
    if not isinstance(kind, str) or not kind:
        errors.append(f"{where}.type: {kind!r:.80} is not the name of an expectation")
    if not isinstance(kwargs, dict):
        errors.append(f"{where}.kwargs: {kwargs!r:.80} is not an object")
    if severity not in {"critical", "warning", "info"}:
        errors.append(f"{where}.severity: {severity!r:.80} is not critical, warning or info")
    return Expected(str(kind), kwargs if isinstance(kwargs, dict) else {}, str(severity))


@dataclass(frozen=True, slots=True)
class Frames:
    """What a suite is about, as three pandas.DataFrames that differ in the types of their columns; their index is the
    number of the row, from 0."""

    table: Any
    """As training gets it: numbers, truth values, and texts such as `00501` in columns that are declared."""
    texts: Any
    """Every value as text, as the file has it."""
    numbers: Any
    """Texts as numbers where all of a column are numbers."""
    where: Callable[[int], str]
    """Row → its file and line, or the path of the image."""

    def asked_for(self, expected: Expected) -> View:
        """The frame in which the column has the type that the expectation is about."""
        column = expected.kwargs.get("column")
        if not isinstance(column, str) or column not in self.table.columns or expected.type in {OF_TYPE, IN_TYPE_LIST}:
            return "table"
        is_text = str(self.table[column].dtype) in TEXT_TYPES
        given = [expected.kwargs.get(name) for name in ("min_value", "max_value")]
        given += each if isinstance(each := expected.kwargs.get("value_set"), list) else []
        if ABOUT_TEXT.search(expected.type) or (not is_text and any(isinstance(each, str) for each in given)):
            return "texts"
        numbers = [each for each in given if isinstance(each, int | float) and not isinstance(each, bool)]
        return "numbers" if is_text and (numbers or ABOUT_NUMBERS.search(expected.type)) else "table"

    def confused(self, expected: Expected) -> tuple[str, ...]:
        """The other columns that Great Expectations would take for one that the expectation names: it does not
        distinguish upper and lower case, and drops back-ticks. Raises ValueError when it names two of them."""
        named = {each for name in NAMED if isinstance(each := expected.kwargs.get(name), str)}
        if isinstance(listed := expected.kwargs.get("column_list"), list):
            named |= {each for each in listed if isinstance(each, str)}
        named &= set(self.table.columns)
        taken = Counter(_taken_for(each) for each in named)
        if both := sorted(each for each in named if taken[_taken_for(each)] > 1):
            raise ValueError(f"Great Expectations does not distinguish the columns {' and '.join(map(repr, both))}")
        return tuple(each for each in self.table.columns if each not in named and _taken_for(each) in taken)


def _taken_for(column: str) -> str:
    folded = column.casefold()
    return folded[1:-1] if len(folded) > 1 and folded[0] == folded[-1] == "`" else folded


def read_frames(repository: Path, settings: DatasetFile, index: Path) -> Frames:
    """What the suite is about: the table with all its columns, or the index of the images."""
    import pandas as pd

    if settings.format == "npz":
        raise ConfigError(
            f"{NAME}: expectations are about tables and images, this dataset is npz", hint=f"remove {NAME}"
        )
    if settings.format == "images":
        path = index / "index.parquet" if index.is_dir() else index
        if not path.exists():
            raise ConfigError("inputs/index: the table of the images is missing", hint="run the prepare worker first")
        frame = pd.read_parquet(path)
        return Frames(frame, frame, frame, lambda row: str(frame["path"][row]))
    from training.data.table.read import read_rows

    assert isinstance(settings.source, Table)
    checks = Checks()
    rows = read_rows(repository, settings.source, checks)
    if rows is None:
        raise ConfigError("; ".join(map(as_text, checks.failed)))
    table, texts, numbers = (
        pd.DataFrame({name: column.to_pandas() for name, column in each.items()}) for each in rows.views()
    )
    return Frames(table, texts, numbers, rows.where)


def check(frames: Frames, expected: Sequence[Expected]) -> list[TestCase]:
    """One case per expectation, in the suite's order."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    from great_expectations.exceptions import GreatExpectationsError

    cases: dict[int, TestCase] = {}
    built: dict[tuple[View, tuple[str, ...]], list[Any]] = {}
    for i, each in enumerate(expected):
        view = frames.asked_for(each)
        try:
            asked = view, frames.confused(each)
            built.setdefault(asked, []).append(_build(each, i, getattr(frames, view)))
        except (GreatExpectationsError, ValueError, TypeError) as error:  # unknown, or arguments it does not take
            cases[i] = TestCase(each.name, "error", message=f"could not be checked: {' '.join(str(error).split())}")
    try:
        for (view, confused), some in built.items():
            for result in _run(getattr(frames, view).drop(columns=list(confused)), some):
                i = result.expectation_config.meta[CASE]
                cases[i] = _case(expected[i], result, frames.where)
    except GreatExpectationsError as error:  # one that cannot be run, for want of a $PARAMETER say, stops all of them
        failure = f"the suite could not be run: {' '.join(str(error).split())}"
        cases |= {i: TestCase(each.name, "error", message=failure) for i, each in enumerate(expected) if i not in cases}
    return [cases[i] for i in range(len(expected))]


def _build(expected: Expected, number: int, frame: Any) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity

    kind, kwargs = _in_pandas_3(expected, frame)
    severity = FailureSeverity(expected.severity)
    return ExpectationConfiguration(kind, kwargs, {CASE: number}, severity=severity).to_domain_obj()


def _run(frame: Any, built: Sequence[Any]) -> Any:
    """All expectations in a context that lives in memory; objects that were not added to it are refused."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("trainyard").add_dataframe_asset("dataset")
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name="expectations", expectations=list(built)))
    definition = gx.ValidationDefinition(name="expectations", data=batch, suite=suite)
    added = context.validation_definitions.add(definition)
    return added.run(batch_parameters={"dataframe": frame}, result_format="SUMMARY").results


def _in_pandas_3(expected: Expected, frame: Any) -> tuple[str, dict[str, Any]]:
    """The type and the arguments to check: a column of texts, once of dtype `object`, now has the dtype `str`.

    Great Expectations knows `str` in `…_of_type`, and under no name in `…_in_type_list`.
    """
    kwargs = dict(expected.kwargs)
    column, listed = kwargs.get("column"), kwargs.get("type_list")
    if not isinstance(column, str) or column not in frame.columns or str(frame[column].dtype) != "str":
        return expected.type, kwargs
    if kwargs.get("type_") in TEXT_TYPES:
        return expected.type, kwargs | {"type_": "str"}
    if expected.type == IN_TYPE_LIST and isinstance(listed, list) and TEXT_TYPES.intersection(map(str, listed)):
        del kwargs["type_list"]
        return OF_TYPE, kwargs | {"type_": "str"}
    return expected.type, kwargs


def _case(expected: Expected, result: Any, where: Callable[[int], str]) -> TestCase:
    raised = _raised(result.exception_info)
    if raised:
        return TestCase(expected.name, "error", message=f"could not be checked: {raised}")
    if result.success:
        return TestCase(expected.name, "passed")
    found = _describe(result.result, where)
    if expected.severity != "critical":
        return TestCase(expected.name, "skipped", message=f"not met, {expected.severity} only: {found}")
    return TestCase(expected.name, "failed", message=found)


def _raised(info: Mapping[str, Any] | None) -> str:
    """The message of an exception: given flat, or per metric that could not be computed."""
    for each in (info or {}, *(info or {}).values()):
        if isinstance(each, dict) and each.get("raised_exception"):
            return str(each.get("exception_message") or "it raised an exception")
    return ""


def _describe(result: Mapping[str, Any], where: Callable[[int], str]) -> str:
    if "unexpected_count" in result:
        some = ", ".join(map(str, result.get("partial_unexpected_list", [])[:10]))
        of = f"{result['unexpected_count']} of {result.get('element_count', '?')} values"
        places = [row for row in result.get("partial_unexpected_index_list") or [] if isinstance(row, int)]
        first = f" (the first: {where(places[0])})" if places else ""
        return f"{of} are unexpected{first}: {some}"
    details = f", {result['details']}" if result.get("details") else ""
    return f"observed {result.get('observed_value', 'something else')}{details}"


if __name__ == "__main__":
    sys.exit(work(main))
