"""What is odd about the columns of a table that was split, and no reason to stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from training.data.checks import HANDFUL
from training.data.spec import Column, DataSpec, SplitName
from training.data.table.columns import Feature
from training.data.table.parallel import in_threads

FLOAT32_WHOLE = 1 << 24  # from here on float32 does not hold every whole number


def oddities(spec: DataSpec, features: Sequence[Feature], members: Mapping[SplitName, Any]) -> Iterator[str]:
    """Notes, column by column. `members`: split → its rows, as a NumPy array of indices."""
    everywhere = np.concatenate(list(members.values()))
    elsewhere = np.concatenate([members["validation"], members["holdout"]])

    def look(pair: tuple[Column, Feature]) -> list[str]:
        column, feature = pair
        if column.kind == "numeric":
            return list(_of_numbers(column, feature, everywhere, members["train"]))
        return list(_of_categories(column, feature, elsewhere, spec.train_samples))

    for notes in in_threads(look, zip(spec.columns, features, strict=True)):
        yield from notes


def is_free_text(different: int, rows: int) -> bool:
    """Whether a column holds too many different texts to be categories."""
    return different > 20 and different > rows / 2


def _of_numbers(column: Column, feature: Feature, everywhere: Any, train: Any) -> Iterator[str]:
    if not column.variance:
        yield f"column {column.name!r} is {column.mean:g} in every row of the train split"
    values = _there(feature, everywhere)
    if _numbers_rows(values):
        yield (
            f"column {column.name!r} holds consecutive whole numbers, each once: if it numbers the rows, list it under "
            "[table] ignore, as rows that are sorted by label are numbered by it"
        )
    if np.abs(values).max() > FLOAT32_WHOLE:
        values = _there(feature, train)
        if np.abs(values).max() > FLOAT32_WHOLE and (values == np.floor(values)).all():
            yield f"column {column.name!r} holds whole numbers that float32 rounds: is it a name, not a number?"


def _of_categories(column: Column, feature: Feature, elsewhere: Any, train_samples: int) -> Iterator[str]:
    known = set(column.vocabulary)
    if is_free_text(len(known), train_samples):
        yield f"column {column.name!r} has {len(known)} values in {train_samples} rows: is it a name?"
    elif new := {each: count for each, count in feature.counts(elsewhere).items() if each not in known}:
        common = sorted(each for each, count in new.items() if count >= HANDFUL)[:5]
        some = f" ({', '.join(common)})" if common else ""
        yield f"column {column.name!r}: {len(new)} values are not in the train split{some}"


def _numbers_rows(values: Any) -> bool:
    whole = np.ptp(values) + 1 == len(values) and (values == np.floor(values)).all()
    return bool(whole) and len(np.unique(values)) == len(values)


def _there(feature: Feature, rows: Any) -> Any:
    """The numbers of some rows, without those that are missing."""
    values = feature.values[rows]
    return values[~np.isnan(values)]
