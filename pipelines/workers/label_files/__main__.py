"""Makes files of a dataset repository from labelled answers: `python -P -m pipelines.workers.label_files`, its job as JSON on stdin.

The job: `log`, the prediction log's folder; `dataset`, the files of a dataset commit, which are changed here; `scratch`, an empty
folder; `stamp`, for the names of new files; `rows`, each with `request`, `row` and `label`. The result, JSON on stdout, is a `Result`.
An error with an exit code is the last line, as `{"error": …, "hint": …, "exit_code": …}`.

After that the whole dataset is checked as the step validate checks it, so that nothing is pushed that it would refuse.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.workers.label_files import arrays, images, table
from pipelines.workers.label_files.answers import answers
from pipelines.workers.label_files.sample import Labelled, Part, Parts, goes_by
from pipelines.workers.label_files.twins import twins_of
from pipelines.workers.question import answer
from registry.errors import ConfigError
from training.data.checks import Checks, SampleList, as_text
from training.data.dataset_toml import DatasetFile, Images, Table, load_dataset_file
from training.data.prepare import FORMATS, fresh_folder
from training.data.spec import PrepareJob


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What became of the answers."""

    files: list[str]
    """Files of the dataset that are new or changed."""
    changed: list[str]
    """Those of them that were there before."""
    taken: list[tuple[str, int, str, str]]
    """Request, row, label and the file that holds it."""
    left_out: list[tuple[str, int, str, str]]
    """Request, row, the reason, and what it goes by."""
    failed: list[str]
    """What the checks of the dataset found; nothing may be pushed then."""


def make(job: Mapping[str, Any]) -> Result:
    """Write the files into the dataset, and check it. Raises ConfigError, and OSError when a file cannot be written."""
    dataset, scratch = Path(job["dataset"]), Path(job["scratch"])
    settings = load_dataset_file(dataset)
    wanted = {(each["request"], each["row"]): str(each["label"]) for each in job["rows"]}
    rows, gone = answers(Path(job["log"]), wanted, with_images=isinstance(settings.source, Images))
    before = _Originals(dataset)
    left_out = _LeftOut(settings)
    for key, reason in gone.items():
        left_out.add(key, reason)
    made = Parts()
    while rows:
        made = _parts(dataset, settings, rows, job["stamp"])
        left_out.add_all(made.left_out)
        before.write(made.files)
        samples, checks = _check(dataset, settings, scratch / "data")
        found = twins_of(made.files, samples, settings, scratch / "data")
        if not found:
            failed = [as_text(each) for each in checks.failed]
            taken = [(each.request, each.row, each.label, part.file) for part in made.files for each in part.samples]
            files = sorted(part.file for part in made.files)
            return Result(files, before.changed(files), taken, left_out.rows, failed)
        before.restore()
        left_out.add_all(found)
        gone_now = {each.key for each, _ in found}
        rows = [each for part in made.files for each in part.samples if each.key not in gone_now]
    return Result([], [], [], left_out.rows, [])


class _LeftOut:
    """Answers that no sample can be made of."""

    def __init__(self, settings: DatasetFile) -> None:
        self.rows: list[tuple[str, int, str, str]] = []
        self._declared = bool(settings.classes)

    def add(self, key: tuple[str, int], reason: str) -> None:
        """One, by its request and row."""
        self.rows.append((*key, reason, goes_by(reason, declared=self._declared)))

    def add_all(self, found: Iterable[tuple[Labelled, str]]) -> None:
        """Some, with their reasons."""
        for each, reason in found:
            self.add((each.request, each.row), reason)


def _parts(dataset: Path, settings: DatasetFile, rows: Sequence[Labelled], stamp: str) -> Parts:
    made = Parts()
    task = getattr(settings.source, "task", "")
    if task in {"multi-label", "anomaly"}:
        raise ConfigError(
            f'task = "{task}": a label of an answer says one class or a number, and no sample can be made of it',
            hint="label such samples in the dataset repository",
        )
    if isinstance(settings.source, Images):
        images.add(dataset, settings, rows, made)
    elif isinstance(settings.source, Table):
        table.add(dataset, settings, rows, stamp, made)
    else:
        arrays.add(dataset, settings, rows, stamp, made)
    return made


class _Originals:
    """The dataset's files before they were changed."""

    def __init__(self, dataset: Path) -> None:
        self._dataset, self._were = dataset, dict[str, bytes | None]()

    def write(self, parts: Iterable[Part]) -> None:
        """Write files whole; a file that others share with us, as a link, stays as it is for them."""
        for part in parts:
            path = self._dataset / part.file
            if not path.resolve().is_relative_to(self._dataset.resolve()):
                raise ConfigError(f"{part.file} leads out of the dataset's folder", hint="correct dataset.toml")
            self._were.setdefault(part.file, path.read_bytes() if path.exists() else None)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(part.data)

    def changed(self, files: Sequence[str]) -> list[str]:
        """Those of the files that were there."""
        return [file for file in files if self._were[file] is not None]

    def restore(self) -> None:
        """Everything as it was."""
        for file, data in self._were.items():
            path = self._dataset / file
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)


def _check(dataset: Path, settings: DatasetFile, output: Path) -> tuple[SampleList, Checks]:
    prepare: Callable[..., SampleList] = import_module(FORMATS[settings.format]).prepare
    checks = Checks()
    with fresh_folder(output) as data:
        return prepare(dataset, settings, data, checks, PrepareJob(files=False)), checks


if __name__ == "__main__":
    sys.exit(answer(lambda job: dataclasses.asdict(make(job)), "scratch"))
