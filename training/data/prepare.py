"""The prepare worker (`python -P -m training.data.prepare`): finds what is wrong with a dataset and writes its splits.

In its folder: `job.json` (PrepareJob) and `inputs/dataset`. It leaves `outputs/validation.json`, `outputs/junit.xml`,
`outputs/data/{train,validation,holdout}` and the lists of `registry.dataset_lists` when all is well, and for images with an
`expectations.json` `outputs/index.parquet`. Bad data are a result (`ok` is false), not a failure.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from registry import codec
from registry import dataset_lists as lists
from registry.errors import FREE_SPACE, TryAgain
from registry.files import sha256_bytes, write_whole
from registry.records import DatasetTree
from training.data.checks import Checks, SampleList
from training.data.dataset_toml import DatasetFile, load_dataset_file
from training.data.learned import write_lists
from training.data.spec import SPLITS, PrepareJob, Validation
from training.junit import write_junit
from training.worker.protocol import work

FORMATS = {"images": "training.data.images", "table": "training.data.table.prepare", "npz": "training.data.npz"}
Prepare = Callable[[Path, DatasetFile, Path, Checks, PrepareJob], SampleList]


def main(folder: Path) -> Validation:
    """Check the dataset and prepare its splits; raises ConfigError for dataset.toml, TryAgain when the disk is full."""
    job = codec.read(PrepareJob, folder / "job.json")
    repository, outputs = folder / "inputs" / "dataset", folder / "outputs"
    settings = load_dataset_file(repository)
    checks = Checks()
    prepare = cast("Prepare", import_module(FORMATS[settings.format]).prepare)
    with fresh_folder(outputs / "data") as data:
        samples = prepare(repository, settings, data, checks, job)
    if checks.failed:
        shutil.rmtree(outputs / "data")
        tree = None
    else:
        if settings.rule.moves and len(samples.names) <= job.row_keys:
            write_lists(outputs / "data", samples)
        tree = _write_lists(repository, samples, job.row_keys, outputs)
    validation = Validation(
        ok=not checks.failed,
        dataset=job.dataset,
        format=settings.format,
        samples=samples.per_split(),
        classes=samples.per_class(),
        faults=checks.failed,
        notes=tuple(checks.notes),
        read_as=tuple(checks.read_as),
        tree=tree,
        task=getattr(settings.source, "task", "classification"),
    )
    write_junit(outputs / "junit.xml", [checks.report()])
    codec.save(validation, outputs / "validation.json")
    return validation


def _write_lists(repository: Path, samples: SampleList, most: int, outputs: Path) -> DatasetTree:
    """Write the lists of `registry.dataset_lists`: of the files, and of the keys of at most so many samples."""
    files = lists.list_files(repository, samples.files)
    text = lists.files_text(files)
    digest, count = sha256_bytes(text), None
    write_whole(outputs / lists.FILES, lists.pack(text))
    (outputs / lists.KEYS).unlink(missing_ok=True)
    if len(samples.names) <= most:
        keys: dict[str, dict[lists.KeyKind, set[str]]] = {split: {"row": set(), "group": set()} for split in SPLITS}
        given: dict[lists.KeyKind, Sequence[str]] = {"row": samples.names, "group": samples.groups}
        for kind, names in given.items():
            for split, key in zip(samples.splits, names, strict=bool(names)):
                keys[split][kind].add(key)
        data, count = lists.keys_bytes(digest, keys)
        write_whole(outputs / lists.KEYS, data)
    return DatasetTree(digest, len(files), sum(each.bytes for each in files), count)


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """An empty folder: what a killed worker has left is removed. A full disk is reported as such."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        shutil.rmtree(folder, ignore_errors=True)
        raise TryAgain(f"no space left for the prepared splits in {folder}", hint=FREE_SPACE) from None


if __name__ == "__main__":
    sys.exit(work(main))
