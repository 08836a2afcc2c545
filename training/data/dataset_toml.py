"""`dataset.toml`: what a dataset repository holds and how it is split. All errors are reported together."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from registry import toml
from registry.errors import ConfigError, Corrupt
from registry.records import Convertible, ImageFormat, ImagePreparation, Task
from training.data.spec import Missing
from training.data.split_toml import SplitRule, errors_of
from training.worker.protocol import read_foreign

NAME = "dataset.toml"
MAX_BYTES = 4 << 20
MOST_SKIPPED = 1000
LONGEST = 4096
"""Pixels of a side of an image that others are resized to."""
COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}


@dataclass(frozen=True, slots=True)
class Fractions:
    """How much of the data the models never train on; the rest is the train split."""

    validation: float = 0.15
    holdout: float = 0.15


@dataclass(frozen=True, slots=True)
class Images:
    """Images in one folder per class."""

    folder: str = "."
    size: tuple[int, int] | None = None
    """(height, width) in pixels; null: that of the images, which must agree."""
    mode: Literal["", "L", "RGB"] = ""
    """Empty: that of the images, which must agree."""
    group: str = ""
    """A regular expression with one group, applied to the file name: what it finds stays in one split."""
    how: ImagePreparation = field(default_factory=ImagePreparation)
    """The other settings of the section."""

    @property
    def preparation(self) -> ImagePreparation | None:
        """What is done to the files; None: they are taken as they are."""
        return None if self.how == ImagePreparation() else self.how


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of CSV or Parquet files with the same columns."""

    file: tuple[str, ...]
    target: str
    task: Task = "classification"
    key: str = ""
    group: str = ""
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    missing: Missing = "refuse"
    """Of features. `keep`: NaN and the empty text reach the model; `impute`: what the train split measured is in their place."""
    duplicates: Literal["refuse", "allow"] = "refuse"
    """`allow`: rows with equal features are different things that happen to look the same."""
    spellings: Literal["refuse", "distinct"] = "refuse"
    """`distinct`: `1` and `01`, `yes` and `yes `, are different values."""
    delimiter: str = ""
    """Between the columns of a text file; empty: a comma, in a `.tsv` a tab."""
    decimal: Literal[".", ","] = "."
    thousands: str = ""
    """Between groups of digits; empty: numbers have none. A blank means every kind of blank."""
    skip_rows: int = 0
    """Lines of a text file before the one with the names of the columns, which mean nothing."""
    encoding: str = ""
    """A codec's name in Python; empty: UTF-8, or what a byte order mark says."""
    na: tuple[str, ...] | None = None
    """The texts that mean missing, beside the empty field; null: see `MARKS`, and only where a column is not declared."""
    split: tuple[str, ...] = ()
    """The columns that `[split]` names: the model does not see them, unless they are declared as inputs."""

    @property
    def texts(self) -> frozenset[str]:
        """The columns that are declared to be text, so that `007` and `NA` are values."""
        target = self.target if self.task == "classification" else ""
        return frozenset({target, self.key, self.group, *self.ignore, *self.categorical} - {""})

    @property
    def used(self) -> frozenset[str]:
        """The columns that are named here for what they mean."""
        return frozenset({self.target, self.key, self.group, *self.numeric, *self.categorical, *self.split} - {""})

    @property
    def hidden(self) -> frozenset[str]:
        """The columns that say something about a row, and are not shown to the model."""
        splits = set(self.split) - {*self.numeric, *self.categorical}
        return frozenset({self.target, self.key, self.group, *self.ignore, *splits} - {""})


@dataclass(frozen=True, slots=True)
class Npz:
    """NumPy archives; the first axis of each array is the sample."""

    files: tuple[str, ...] = ("*.npz",)
    x: tuple[str, ...] = ("x",)
    y: str = "y"
    task: Task = "classification"
    group: str = ""
    duplicates: Literal["refuse", "allow"] = "refuse"
    """`allow`: samples with equal arrays are different things that happen to look the same."""


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """`dataset.toml` with defaults filled in; `source` is the section that `format` names."""

    format: Literal["images", "table", "npz"]
    source: Images | Table | Npz
    classes: tuple[str, ...] = ()
    split: Fractions = field(default_factory=Fractions)
    rule: SplitRule = field(default_factory=SplitRule)


class _Wrong(ValueError):
    """What a value should have been."""


Check = Callable[[Any], Any]


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
    errors += errors_of(kind, sections, split)
    if not both.validation + both.holdout < 1:
        errors.append(
            f"[split] validation + holdout is {both.validation + both.holdout:g}, nothing is left to train on"
        )
    classes = top.get("classes", ())
    if classes and sections.get("task") == "regression":
        errors.append('classes: a task of "regression" has none')
    if kind == "images":
        sections = _image_settings(sections, errors)
    if kind == "table":
        errors += _roles(sections)
        if sections.get("thousands") == sections.get("decimal", "."):
            errors.append(f"[table] thousands: {sections['thousands']!r} is [table] decimal, too")
        sections["split"] = tuple(sorted(rule.columns))
    return None if errors else DatasetFile(kind, KINDS[kind][0](**sections), classes, both, rule)


def _section(raw: dict[str, Any], checks: dict[str, Check], prefix: str, errors: list[str]) -> dict[str, Any]:
    good: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in checks:
            near = difflib.get_close_matches(key, checks, n=1)
            errors.append(f"{prefix}{key}: unknown setting" + (f", did you mean {near[0]!r}?" if near else ""))
            continue
        try:
            good[key] = checks[key](value)
        except _Wrong as wrong:
            errors.append(f"{prefix}{key}: {value!r:.80} is not {wrong}")
    if not prefix and "format" not in raw:
        errors.append(f"format: missing; it is one of {', '.join(map(repr, KINDS))}")
    return good


def _roles(table: dict[str, Any]) -> list[str]:
    """A column of a table has one role."""
    roles: dict[str, str] = {}
    errors = []
    for role in ("target", "key", "group", "numeric", "categorical", "ignore"):
        value = table.get(role, ())
        for column in (value,) if isinstance(value, str) else value:
            if not column:
                continue
            if column in roles:
                errors.append(f"[table] {role}: {column!r} already is {roles[column]}")
            roles.setdefault(column, role)
    return errors


def _image_settings(found: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    """Those of `Images`, with those that are about the preparation together."""
    if "resize" in found and "size" in found:
        errors.append("[images] size: is that of images that are not resized; leave it out")
    if "fit" in found and "resize" not in found:
        errors.append("[images] fit: says how to resize, and there is no resize = [height, width]")
    if found.get("convert") and "mode" not in found:
        errors.append('[images] convert: into what? Write mode = "L" (grey) or mode = "RGB"')
    how = {each.name: found[each.name] for each in fields(ImagePreparation) if each.name in found}
    return {name: value for name, value in found.items() if name not in how} | {"how": ImagePreparation(**how)}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise _Wrong("a list of texts")
    if len(set(value)) < len(value):
        raise _Wrong("a list without repetitions")
    return tuple(value)


def _classes(value: Any) -> tuple[str, ...]:
    names = _texts(value)
    if len(names) < 2:
        raise _Wrong("a list of at least two classes")
    return names


def _path(value: Any) -> str:
    text = _text(value)
    if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts or "\\" in text:
        raise _Wrong("a path inside the repository")
    return text


def _paths(value: Any) -> tuple[str, ...]:
    paths = tuple(_path(each) for each in ([value] if isinstance(value, str) else _texts(value)))
    if not paths:
        raise _Wrong("a file, or a list of files")
    return paths


def _names(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) and value else _texts(value)
    if not names:
        raise _Wrong("a list of at least one name")
    return names


def _size(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(type(each) is int and each > 0 for each in value)):
        raise _Wrong("[height, width] in pixels")
    return value[0], value[1]


def _resize(value: Any) -> tuple[int, int]:
    size = _size(value)
    if max(size) > LONGEST:
        raise _Wrong(f"[height, width] of at most {LONGEST} pixels each")
    return size


def _formats(value: Any) -> tuple[str, ...]:
    formats = _some_of(*get_args(ImageFormat))(value)
    if "png" not in formats:
        raise _Wrong('a list with "png", which is what labelled answers and examples are kept as')
    return formats


def _some_of(*choices: str) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        found = _texts(value)
        if not set(found) <= set(choices):
            raise _Wrong(f"a list of some of {', '.join(map(repr, choices))}")
        return tuple(each for each in choices if each in found)

    return check


def _colour(value: Any) -> tuple[int, int, int]:
    if isinstance(value, str) and value in COLOURS:
        return COLOURS[value]
    if isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each <= 255 for each in value):
        return value[0], value[1], value[2]
    raise _Wrong(f"[red, green, blue] with 0 to 255 each, or one of {', '.join(map(repr, COLOURS))}")


def _regex(value: Any) -> str:
    try:
        groups = re.compile(_text(value)).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise _Wrong(f"a regular expression ({error})") from None
    if groups != 1:
        raise _Wrong("a regular expression with exactly one (group)")
    return str(value)


def _delimiter(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in '"\r\n\0':
        raise _Wrong('one character, such as ";", "|" or "\\t" (in double quotes)')
    return value


def _thousands(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value.isalnum() or value in '+-"\r\n\0':
        raise _Wrong('one character between groups of digits, such as ".", "," or " "')
    return value


def _lines(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_SKIPPED:
        raise _Wrong(f"a whole number of lines, up to {MOST_SKIPPED:,}")
    return value


def _encoding(value: Any) -> str:
    try:
        "a".encode(_text(value))
        return codecs.lookup(value).name
    except (LookupError, ValueError):
        raise _Wrong('an encoding, such as "utf-8", "cp1252" or "utf-16"') from None


def _marks(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _Wrong('a list of the texts that mean missing, such as ["?", "-"]')
    return tuple(dict.fromkeys(each.strip() for each in value))


def _fraction(value: Any) -> float:
    if type(value) is not float or not 0 < value < 1:
        raise _Wrong("a fraction between 0 and 1")
    return value


def _stratify(value: Any) -> bool | str:
    if not isinstance(value, bool | str) or value == "":
        raise _Wrong("true, or the name of a column")
    return value


def _one_of(*choices: str) -> Check:
    def check(value: Any) -> Any:
        if value not in choices:
            raise _Wrong(f"one of {', '.join(map(repr, choices))}")
        return value

    return check


def _subsection(value: Any) -> Any:
    if not isinstance(value, dict):
        raise _Wrong("a [section]")
    return value


_task = _one_of("classification", "regression")
IMAGES: dict[str, Check] = {
    "folder": _path,
    "size": _size,
    "mode": _one_of("L", "RGB"),
    "group": _regex,
    "formats": _formats,
    "convert": _some_of(*get_args(Convertible)),
    "background": _colour,
    "exif": _one_of("ignore", "turn"),
    "frames": _one_of("refuse", "first"),
    "resize": _resize,
    "fit": _one_of("stretch", "pad", "crop"),
}
TABLE: dict[str, Check] = {
    "file": _paths,
    "target": _text,
    "task": _task,
    "key": _text,
    "group": _text,
    "numeric": _texts,
    "categorical": _texts,
    "ignore": _texts,
    "missing": _one_of("refuse", "drop", "keep", "impute"),
    "duplicates": _one_of("refuse", "allow"),
    "spellings": _one_of("refuse", "distinct"),
    "delimiter": _delimiter,
    "decimal": _one_of(".", ","),
    "thousands": _thousands,
    "skip_rows": _lines,
    "encoding": _encoding,
    "na": _marks,
}
NPZ: dict[str, Check] = {
    "files": _paths,
    "x": _names,
    "y": _text,
    "task": _task,
    "group": _text,
    "duplicates": _one_of("refuse", "allow"),
}
DATA: dict[str, Check] = {"store": _text, "endpoint": _text, "region": _text, "profile": _text}
SPLIT: dict[str, Check] = {
    "validation": _fraction,
    "holdout": _fraction,
    "by": _one_of("hash", "time", "given"),
    "column": _text,
    "file": _path,
    "time": _text,
    "stratify": _stratify,
    "leakage": _one_of("refuse", "report"),
}
KINDS: dict[str, tuple[Any, dict[str, Check], tuple[str, ...]]] = {
    "images": (Images, IMAGES, ()),
    "table": (Table, TABLE, ("file", "target")),
    "npz": (Npz, NPZ, ()),
}
TOP: dict[str, Check] = {
    "format": _one_of(*KINDS),
    "classes": _classes,
    **dict.fromkeys((*KINDS, "split", "data"), _subsection),
}
