"""`dataset.toml`: what a dataset repository holds and how it is split. All errors are reported together.

Each format has a section, and a module: `table_toml`, `images_toml`, `npz_toml`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from registry import toml
from registry.errors import ConfigError, Corrupt
from training.data import npz_toml, split_toml, table_toml
from training.data.images_toml import IMAGES, Images, image_settings
from training.data.npz_toml import NPZ, Npz
from training.data.split_toml import SplitRule
from training.data.table_toml import TABLE, Table
from training.data.toml_values import Check, Wrong, flag, fraction, one_of, path, subsection, text, texts
from training.worker.protocol import read_foreign

__all__ = ["DatasetFile", "Fractions", "Images", "Npz", "Table", "load_dataset_file"]

NAME = "dataset.toml"
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Fractions:
    """How much of the data the models never train on; the rest is the train split."""

    validation: float = 0.15
    holdout: float = 0.15


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """`dataset.toml` with defaults filled in; `source` is the section that `format` names."""

    format: Literal["images", "table", "npz"]
    source: Images | Table | Npz
    classes: tuple[str, ...] = ()
    split: Fractions = field(default_factory=Fractions)
    rule: SplitRule = field(default_factory=SplitRule)
    ordered: bool = False
    """Whether the classes have an order, the one in which they are listed."""


def load_dataset_file(repository: Path) -> DatasetFile:
    """Read `dataset.toml` of the dataset repository's files in `repository`; raises ConfigError with every error."""
    try:
        raw = toml.parse(read_foreign(repository / NAME, MAX_BYTES))
    except FileNotFoundError:
        hint = f'add {NAME} with at least: format = "images" (or "table", "npz")'
        raise ConfigError(f"{NAME} is missing in the dataset repository", hint=hint) from None
    except Corrupt as error:
        raise ConfigError(str(error), hint=f"{NAME} is a text file of at most {MAX_BYTES >> 20} MiB") from None
    except ValueError as error:
        raise ConfigError(f"{NAME}: not TOML: {error!s:.500}", hint="correct the file, commit and push") from None
    errors: list[str] = []
    parsed = _parse(raw, errors)
    if errors or parsed is None:
        raise ConfigError(f"{NAME}: " + "; ".join(errors), hint="correct the file, commit and push")
    return parsed


def _parse(raw: dict[str, Any], errors: list[str]) -> DatasetFile | None:
    top = _section(raw, TOP, "", errors)
    kind = top.get("format")
    if kind not in KINDS:
        return None
    sections: dict[str, Any] = {}
    for name, (_, checks, required) in KINDS.items():
        if name == kind:
            given = top.get(name, {})
            sections = _section(given, checks, f"[{name}] ", errors)
            errors += [f"[{name}] {key}: missing" for key in required if key not in given]
        elif name in top:
            errors.append(f'[{name}]: is for format = "{name}", but format is "{kind}"')
    _section(top.get("data", {}), DATA, "[data] ", errors)  # where its files are: the controller has fetched them
    split = _section(top.get("split", {}), SPLIT, "[split] ", errors)
    both = Fractions(**{name: split[name] for name in ("validation", "holdout") if name in split})
    rule = SplitRule(**{name: value for name, value in split.items() if name not in {"validation", "holdout"}})
    errors += split_toml.errors_of(kind, sections, split)
    if not both.validation + both.holdout < 1:
        errors.append(
            f"[split] validation + holdout is {both.validation + both.holdout:g}, nothing is left to train on"
        )
    classes, ordered = top.get("classes", ()), top.get("ordered", False)
    errors += _task_errors(kind, sections, classes, ordered=ordered)
    if kind == "npz":
        errors += npz_toml.errors_of(sections, classes)
        if sections.get("task") == "anomaly":
            sections.setdefault("y", "")
    if kind == "images":
        sections = image_settings(sections, errors)
    if kind == "table":
        errors += table_toml.errors_of(sections)
        given = top.get("table", {}).keys() & {"target", "targets"}
        if len(given) != 1 and (given or sections.get("task") != "anomaly"):
            found = "is given beside targets" if given else "missing"
            errors.append(f"[table] target: {found}; name one column under `target`, or several under `targets`")
        sections["split"] = tuple(sorted(rule.columns))
    return None if errors else DatasetFile(kind, KINDS[kind][0](**sections), classes, both, rule, ordered)


def _task_errors(kind: str, section: dict[str, Any], classes: tuple[str, ...], *, ordered: bool) -> Iterator[str]:
    """What does not go together with the task."""
    task = section.get("task")
    if ordered and len(classes) < 3:
        yield 'ordered: list the classes in their order, three or more: classes = ["low", "medium", "high"]'
    if ordered and task == "multi-label":
        yield "ordered: is about classes of which a sample has one"
    if classes and task in {"regression", "anomaly"}:
        yield f'classes: a task of "{task}" has none'
    if classes and kind == "table" and task == "multi-label":
        yield "classes: the labels are called as their columns under [table] targets; leave it out"
    if section.get("targets") and task != "regression" and (kind, task) != ("table", "multi-label"):
        instead = "; name the column that marks anomalies under `target`" if task == "anomaly" else ""
        yield f'[{kind}] targets: are numbers: set task = "regression"{instead}'


def _section(raw: dict[str, Any], checks: dict[str, Check], prefix: str, errors: list[str]) -> dict[str, Any]:
    good: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in checks:
            near = difflib.get_close_matches(key, checks, n=1)
            errors.append(f"{prefix}{key}: unknown setting" + (f", did you mean {near[0]!r}?" if near else ""))
            continue
        try:
            good[key] = checks[key](value)
        except Wrong as wrong:
            errors.append(f"{prefix}{key}: {value!r:.80} is not {wrong}")
    if not prefix and "format" not in raw:
        errors.append(f"format: missing; it is one of {', '.join(map(repr, KINDS))}")
    return good


def _classes(value: Any) -> tuple[str, ...]:
    names = texts(value)
    if len(names) < 2:
        raise Wrong("a list of at least two classes")
    return names


MEANT = {
    **dict.fromkeys(("csv", "tsv", "parquet", "jsonl", "ndjson", "json", "xlsx", "excel", "tables"), "table"),
    **dict.fromkeys(("image", "png", "jpeg", "jpg", "webp", "folder", "folders"), "images"),
    **dict.fromkeys(("npy", "numpy", "array", "arrays"), "npz"),
}
"""What people write for `format` who think of their files."""


def _format(value: Any) -> Any:
    try:
        return one_of(*KINDS)(value)
    except Wrong as wrong:
        if meant := MEANT.get(str(value).lower().lstrip(".")):
            raise Wrong(f"{wrong}: for these files write {meant!r}") from None
        raise


def _stratify(value: Any) -> bool | str:
    if not isinstance(value, bool | str) or value == "":
        raise Wrong("true, or the name of a column")
    return value


DATA: dict[str, Check] = {"store": text, "endpoint": text, "region": text, "profile": text}
SPLIT: dict[str, Check] = {
    "validation": fraction,
    "holdout": fraction,
    "by": one_of("hash", "time", "given"),
    "column": text,
    "file": path,
    "time": text,
    "stratify": _stratify,
    "leakage": one_of("refuse", "report"),
}
KINDS: dict[str, tuple[Any, dict[str, Check], tuple[str, ...]]] = {
    "images": (Images, IMAGES, ()),
    "table": (Table, TABLE, ("file",)),
    "npz": (Npz, NPZ, ()),
}
TOP: dict[str, Check] = {
    "format": _format,
    "classes": _classes,
    "ordered": flag,
    **dict.fromkeys((*KINDS, "split", "data"), subsection),
}
