"""Prepares NumPy archives (`.npz`): one input per array. Needs NumPy alone, and memory for one archive at a time."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.records import TensorSpec
from training.data import said
from training.data.arrays import create_npy, write_description, write_labels
from training.data.assign import assign
from training.data.checks import Checks, SampleList, TwinHints, check_classes, check_samples, check_spellings, in_order
from training.data.dataset_toml import DatasetFile, Npz
from training.data.files import CORRECT, FILES, find_files
from training.data.label_matrix import put_labels, read_matrix
from training.data.marks import read_marks, that_stay
from training.data.npz_labels import FINITE, LABELS, USABLE, names_of_targets, read_labels
from training.data.spec import SPLITS, DataSpec, PrepareJob, SplitName
from training.data.split import apart, hashes, labelled, shuffled, split_rule
from training.data.targets import with_targets

ARRAYS = "every file has the arrays that dataset.toml names"
SHAPES = "every array has the same shape in all files"
ALLOW = 'if they are different things that look the same, set [npz] duplicates = "allow"'
TWINS = TwinHints(
    splits=f"{ALLOW}; if they are the same thing, keep them in one split with [npz] group, or keep one of them",
    labels=f"{ALLOW}, or add an array that distinguishes them; if they are the same thing, correct its label",
    allow=ALLOW,
)
LARGE = "split the file into smaller ones, or raise [runner] memory_mb"
DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Archive:
    """What is kept of one file after it was read; its x arrays are not."""

    name: str
    inputs: tuple[TensorSpec, ...]
    dtypes: tuple[Any, ...]
    """What each input's array is stored as; for texts as wide as this file needs."""
    labels: Any
    """NumPy array, one entry per sample: text, or float64 for regression, of shape (samples, targets) where there are several;
    of multi-label uint8, shape (samples, labels); of anomalies 1, 0 or NaN."""
    digests: list[bytes]
    groups: list[str]
    said: list[str]
    """What `[split] column` says of each."""
    times: list[str]
    """When each was made."""
    strata: list[str]


def prepare(repository: Path, settings: DatasetFile, output: Path, checks: Checks, job: PrepareJob) -> SampleList:
    """Check all archives and write the three splits to `output`; what is wrong goes to `checks`."""
    npz = settings.source
    assert isinstance(npz, Npz)
    files = find_files(repository, npz.files, "[npz] files", checks)
    checks.make(ARRAYS, USABLE, SHAPES, LABELS, FINITE)
    archives = [each for name in files if (each := _inspect(repository, name, settings, checks))]
    _check_shapes(archives, checks)
    if checks.failed:
        return SampleList(classes=settings.classes)
    samples, keys = _samples(archives, settings, checks)
    if npz.task == "classification":
        samples.labels = [label for each in archives for label in each.labels.tolist()]
        counts = Counter(samples.labels)
        found = {name: counts[name] for name in in_order(samples.labels)}
        check_spellings(checks, f"array {npz.y!r}", found, samples.first_of, "store each label in one spelling")
        samples.classes = check_classes(checks, settings.classes, found, "label")
    if settings.rule.time:
        texts = [text for each in archives for text in each.times]
        samples.times = said.read_times(texts, settings.rule.time, samples.called, checks)
    assign(samples, hashes(keys), settings, checks)
    everything, stay = samples, range(len(samples.names))
    if npz.task == "anomaly":
        stay = that_stay(samples, settings, checks).tolist()
        samples = samples.only(stay)
    check_samples(checks, samples if npz.duplicates == "refuse" else replace(samples, digests=[]), TWINS)
    if not checks.failed:
        train = samples.per_split()["train"]
        spec = DataSpec("npz", npz.task, archives[0].inputs, samples.classes, target=npz.y, train_samples=train)
        spec = replace(spec, split=split_rule(settings), threshold=npz.threshold, quantile=npz.quantile)
        spec = replace(spec, moving=settings.rule.moves, boundaries=samples.boundaries, ordered=settings.ordered)
        if npz.task == "regression":
            labels = np.concatenate([archive.labels for archive in archives])
            of_train = labels[[split == "train" for split in samples.splits]]
            spec = with_targets(spec, names_of_targets(npz, labels), of_train)
        for split, members in _write_y(output, archives, (everything, stay), spec).items():
            _write_x(repository, npz, output / split, archives, members, files=job.files)
    return samples


def _samples(archives: Sequence[Archive], settings: DatasetFile, checks: Checks) -> tuple[SampleList, Sequence[bytes]]:
    """The samples, and what each is known by, unless it has a group."""
    samples = SampleList([f"{each.name} row index {row}" for each in archives for row in range(len(each.digests))])
    samples.digests = [digest for each in archives for digest in each.digests]
    npz = settings.source
    assert isinstance(npz, Npz)
    if npz.task == "anomaly":
        samples.marked = np.concatenate([each.labels for each in archives])
    known = [np.nan_to_num(each.labels, nan=-1.0) if npz.task == "anomaly" else each.labels for each in archives]
    labels: Sequence[object] = [labelled(label) for each in known for label in each.tolist()]
    if npz.task == "multi-label":
        put_labels(samples, np.concatenate([each.labels for each in archives]), settings.classes, checks)
        labels = samples.labels
    keys = apart(samples.digests, labels) if npz.duplicates == "allow" else samples.digests
    samples.groups = [group for each in archives for group in each.groups]
    samples.said = [text for each in archives for text in each.said]
    samples.strata = [text for each in archives for text in each.strata]
    samples.contents = samples.digests
    return samples, keys


def _inspect(repository: Path, name: str, settings: DatasetFile, checks: Checks) -> Archive | None:
    npz, rule = settings.source, settings.rule
    assert isinstance(npz, Npz)
    stratum = rule.stratify if isinstance(rule.stratify, str) else ""
    beside = [each for each in (npz.group, rule.column, rule.time, stratum) if each]
    wanted = list(dict.fromkeys([*npz.x, *filter(None, [npz.y]), *beside]))
    try:
        arrays = _load(repository / name, wanted)
    except MemoryError:
        checks.fail(FILES, f"{name} cannot be read: its arrays need more memory than there is", LARGE)
        return None
    except DAMAGE as error:
        objects = "allow_pickle" in str(error)
        said = "it holds Python objects, which are never unpickled" if objects else str(error).partition("\n")[0]
        hint = "store plain numbers or texts, with one dtype per array" if objects else CORRECT
        checks.fail(FILES, f"{name} cannot be read: {said}", hint)
        return None
    for missing in (each for each in wanted if each not in arrays):
        checks.fail(ARRAYS, f"{name} has no array {missing!r}", "add it, or correct [npz] in dataset.toml")
    lengths = {each: len(array) if array.ndim else 0 for each, array in arrays.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        shown = ", ".join(f"{each}: {length}" for each, length in lengths.items())
        checks.fail(ARRAYS, f"{name}: the arrays hold different or no numbers of samples ({shown})", CORRECT)
    if len(arrays) < len(wanted) or len(set(lengths.values())) > 1 or 0 in lengths.values():
        return None
    inputs = [(each, spec) for each in npz.x if (spec := _input(name, each, arrays[each], checks))]
    labels = _read_y(name, arrays, settings, checks)
    if labels is None or len(inputs) < len(npz.x):
        return None
    texts = {each: _texts(name, each, arrays[each], "UiufM" if each == rule.time else "Uiu", checks) for each in beside}
    dtypes = tuple(
        arrays[each].dtype if arrays[each].dtype.kind == "U" else np.dtype(spec.dtype) for each, spec in inputs
    )
    with np.errstate(over="ignore"):  # reported above
        given = [arrays[each].astype(dtype, copy=False) for each, dtype in zip(npz.x, dtypes, strict=True)]
    extra = [texts.get(each, []) for each in (npz.group, rule.column, rule.time, stratum)]
    return Archive(name, tuple(spec for _, spec in inputs), dtypes, labels, _digests(given), *extra)


def _read_y(file: str, arrays: Mapping[str, Any], settings: DatasetFile, checks: Checks) -> Any:
    """What is said of each sample; None when it cannot be used."""
    npz = settings.source
    assert isinstance(npz, Npz)
    if not npz.y:
        return np.full(len(arrays[npz.x[0]]), np.nan)
    if npz.task == "anomaly":
        return read_marks(file, arrays[npz.y], settings, checks)
    return (read_matrix if npz.task == "multi-label" else read_labels)(file, arrays[npz.y], settings, checks)


def _texts(file: str, name: str, array: Any, kinds: str, checks: Checks) -> list[str]:
    """What an array beside the inputs says of each sample, as text; `kinds`: of dtypes that it may have."""
    if array.size != len(array) or array.dtype.kind not in kinds:
        message = f"{file}: {name!r} has shape {array.shape} and dtype {array.dtype}"
        moment = ", or as a time a number or datetime64" if "M" in kinds else ""
        checks.fail(USABLE, message, f"store one whole number or text per sample{moment}")
        return []
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]")
        return [str(each) for each in np.datetime_as_string(array.reshape(len(array)))]
    return [str(each) for each in array.reshape(len(array)).tolist()]


def _load(path: Path, wanted: Sequence[str]) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("it is not an .npz archive, or truncated")
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in wanted if name in archive.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy gives the bytes of a member that is not its own
            raise zipfile.BadZipFile(f"{name!r} is not an array")
    return arrays


def _input(file: str, name: str, array: Any, checks: Checks) -> TensorSpec | None:
    """The model's input for an array; None when it cannot be used."""
    shape = (None, *(array.shape[1:] or (1,)))
    if not array.size:
        checks.fail(
            USABLE, f"{file}: a sample of {name!r} has shape {array.shape[1:]}: nothing", "store at least one value"
        )
        return None
    if array.dtype.kind == "U":
        return TensorSpec(name, shape, "string")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(array.astype(np.float32, copy=False)).reshape(len(array), -1).all(axis=1)
        if bad.any():
            message = (
                f"{file}: {name!r} holds NaN or infinity in {bad.sum()} samples, the first: row index {bad.argmax()}"
            )
            checks.fail(FINITE, message, "replace such values, or delete the samples", int(bad.sum()))
        return TensorSpec(name, shape, "float32")
    if array.dtype.kind == "b":
        return TensorSpec(name, shape, "uint8", 0, 1)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        return TensorSpec(name, shape, array.dtype.name, limits.min, limits.max)
    checks.fail(USABLE, f"{file}: {name!r} has dtype {array.dtype}", "store numbers, booleans or texts")
    return None


def _digests(arrays: Sequence[Any]) -> list[bytes]:
    """SHA-256 of each sample's inputs as a model gets them; a text counts without the padding that its file gave it."""
    digests = []
    for row in range(len(arrays[0])):
        digest = hashlib.sha256()
        for array in arrays:
            sample = array[row]
            digest.update(repr(sample.tolist()).encode() if array.dtype.kind == "U" else sample.tobytes())
            digest.update(b"\x1f")
        digests.append(digest.digest())
    return digests


def _check_shapes(archives: Sequence[Archive], checks: Checks) -> None:
    for archive in archives[1:]:
        for mine, first in zip(archive.inputs, archives[0].inputs, strict=True):
            if (mine.shape, mine.dtype) != (first.shape, first.dtype):
                found = f"{_shape(mine)}, in {archives[0].name} {_shape(first)}"
                checks.fail(
                    SHAPES, f"{archive.name}: a sample of {mine.name!r} is {found}", "give all files the same arrays"
                )
        mine_has, first_has = (each.labels.size // len(each.labels) for each in (archive, archives[0]))
        if mine_has != first_has:
            message = f"{archive.name}: y has {mine_has} numbers per sample, in {archives[0].name} {first_has}"
            checks.fail(SHAPES, message, "give all files the same arrays")


def _shape(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} {tensor.shape[1:]}"


def _write_y(
    output: Path, archives: Sequence[Archive], of: tuple[SampleList, Sequence[int]], spec: DataSpec
) -> dict[SplitName, list[int]]:
    """Write what is known of each sample; gives the samples of each split, in the order of its rows. `of`: all samples, and the
    positions of those that are used."""
    samples, used = of[0], set(of[1])
    order = [i for i in shuffled(hashes(samples.digests)) if i in used]
    rows = {split: [i for i in order if samples.splits[i] == split] for split in SPLITS}
    labels = np.concatenate([archive.labels for archive in archives])
    number = {name: i for i, name in enumerate(spec.classes)}
    for split, members in rows.items():
        (output / split).mkdir()
        write_description(output / split, spec, [samples.names[i] for i in members])
        if spec.task == "classification":
            write_labels(output / split / "y.npy", [number[samples.labels[i]] for i in members])
        else:
            y = labels[members].astype(np.float32)
            np.save(output / split / "y.npy", np.zeros_like(y) if spec.task == "anomaly" and split != "holdout" else y)
    return rows


def _write_x(
    repository: Path, npz: Npz, folder: Path, archives: Sequence[Archive], members: Sequence[int], *, files: bool
) -> None:
    """Copy the samples of one split from all archives, one archive at a time, to their rows."""
    wanted = [*npz.x, *filter(None, [npz.y, npz.group])]
    row_of = {index: row for row, index in enumerate(members)}
    targets: list[Any] = []
    for i, tensor in enumerate(archives[0].inputs):
        kind = np.result_type(*(archive.dtypes[i] for archive in archives))
        shape = (len(members), *(each or 0 for each in tensor.shape[1:]))
        create_npy(folder / f"x{i}.npy", kind.str, shape, kind.itemsize)
        targets.append(np.load(folder / f"x{i}.npy", mmap_mode="r+"))
    start = 0
    for archive in archives:
        arrays = _load(repository / archive.name, wanted)
        inside = [i for i in range(len(archive.digests)) if start + i in row_of]
        rows = [row_of[start + i] for i in inside]
        start += len(archive.digests)
        for target, tensor in zip(targets, archive.inputs, strict=True):
            target[rows] = arrays[tensor.name][inside].reshape(-1, *target.shape[1:])
        if files:
            path = folder / "files" / archive.name
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(path, {name: array[inside] for name, array in arrays.items()})


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an archive; `np.savez` takes names as arguments, and has some of its own (`file`)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
