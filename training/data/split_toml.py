"""The part of `[split]` in `dataset.toml` that says by what a dataset is split, and what must hold for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

CSV = ".csv"
NO_CLASS = {
    "regression": "there are none in regression",
    "multi-label": "a sample of multi-label has any number of them",
    "anomaly": "there are none of anomalies",
}


@dataclass(frozen=True, slots=True)
class SplitRule:
    """By what samples are split. The fractions are beside it."""

    by: Literal["hash", "time", "given"] = "hash"
    column: str = ""
    """With `given`: the column, or the array, that says each sample's split."""
    file: str = ""
    """With `given`: the CSV file that says it, by name."""
    time: str = ""
    """When each sample was made: a column, an array, or for images a CSV file."""
    stratify: bool | str = False
    """With `hash`: every class, or every value of this column, is in every split."""
    leakage: Literal["", "refuse", "report"] = ""
    """What to do about samples of one split that another one gives away. Empty: refuse, but near-duplicate images are not
    looked for."""

    @property
    def columns(self) -> frozenset[str]:
        """Those that say the split; the model does not see them, unless they are declared as inputs."""
        return frozenset({self.column, self.time} - {""})

    @property
    def moves(self) -> bool:
        """Whether a sample may come into another split when the dataset changes."""
        return self.by != "hash" or bool(self.stratify)

    @property
    def in_words(self) -> str:
        """How one rule differs from another, without the fractions; empty for a hash of each sample alone."""
        if self.by == "given":
            return f"given by {self.column or self.file}"
        if self.by == "time":
            return f"the newest by {self.time}"
        strata = self.stratify if isinstance(self.stratify, str) else "class"
        return f"every {strata} in every split" if self.stratify else ""


def errors_of(kind: str, section: Mapping[str, Any], split: Mapping[str, Any]) -> Iterator[str]:
    """What does not go together in `[split]`; `section` is that of the format `kind`. Both hold good values only."""
    rule = SplitRule(**{key: value for key, value in split.items() if key not in {"validation", "holdout"}})
    yield from _misplaced(rule, split)
    if rule.by == "given" and bool(rule.column) == bool(rule.file):
        needs = "one of `column` and `file`" if rule.column else "`column` or `file`"
        yield f'[split] by = "given" needs {needs}, which says each sample\'s split'
    if rule.by == "time" and not rule.time:
        yield '[split] by = "time" needs `time`, which says when each sample was made'
    if kind == "images":
        if rule.column:
            yield f"[split] column: {rule.column!r}: images have no columns; name a CSV file under `file`"
        if rule.time and not rule.time.endswith(CSV):
            yield f"[split] time: {rule.time!r}: for images it is a CSV file with the columns name and time"
        if isinstance(rule.stratify, str):
            yield f"[split] stratify: {rule.stratify!r}: images have no columns; true goes by the class"
    elif rule.file and not (kind == "table" and section.get("key")):
        instead = "set [table] key, or name a `column`" if kind == "table" else "name an array under `column`"
        yield f"[split] file: {rule.file!r} goes by the samples' names, and they have none: {instead}"
    if rule.stratify is True and (why := NO_CLASS.get(section.get("task", ""))):
        yield f"[split] stratify: true goes by the class, and {why}: name a column"
    if kind == "table":
        yield from _roles(rule, section)
    if kind == "npz":
        inputs = {"y": section.get("y", "y"), "x": section.get("x", ("x",))}
        for role, names in inputs.items():
            yield from (
                f"[split]: array {name!r} already is {role}" for name in sorted(rule.columns) if name in _set(names)
            )


def _misplaced(rule: SplitRule, split: Mapping[str, Any]) -> Iterator[str]:
    for key in ("column", "file"):
        if getattr(rule, key) and rule.by != "given":
            other = "; with `time` it is `time` that names the column" if rule.by == "time" else ""
            yield f'[split] {key}: is for by = "given", but by is "{rule.by}"{other}'
    if rule.time and rule.by == "hash":
        yield '[split] time: is for by = "time" or "given": a hash does not go by the time'
    if rule.stratify and rule.by != "hash":
        yield f'[split] stratify: is for by = "hash", but by is "{rule.by}"'
    if rule.by == "given":
        yield from (
            f'[split] {key}: with by = "given" every sample says its split'
            for key in ("validation", "holdout")
            if key in split
        )


def _roles(rule: SplitRule, table: Mapping[str, Any]) -> Iterator[str]:
    if rule.column and rule.column == rule.time:
        yield f"[split] time: {rule.time!r} already is `column`"
    for name in sorted(rule.columns):
        for role in ("target", "targets", "key", "group"):
            if name in _set(table.get(role, ())):
                yield f"[split]: column {name!r} already is [table] {role}"


def _set(names: str | Collection[str]) -> set[str]:
    return {names} if isinstance(names, str) else set(names)
