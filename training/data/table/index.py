"""The index of a pandas DataFrame, which comes along as a column: it says where a row was, and nothing about it.

A frame that was filtered or sorted keeps its old row numbers, and rows that were sorted by label are numbered by it: a model
that sees them knows the label.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
from pyarrow import compute

NAMES = re.compile(r"__index_level_\d+__|Unnamed: \d+(_level_\d+)?(\.\d+)*")
"""What pandas calls an index without a name in Parquet, and a column without one that it reads from CSV."""


def index_columns(rows: Any) -> set[str]:
    """The columns of a pyarrow.Table that are the index of a DataFrame: by its own metadata, by name, or because
    the first column has no name and numbers the rows, as `DataFrame.to_csv` writes it."""
    names = rows.column_names
    found = {name for name in names if NAMES.fullmatch(name)} | _in_metadata(rows).intersection(names)
    if names[:1] == [""] and numbers_rows(rows.column(0)):
        found.add("")
    return found


def numbers_rows(column: Any) -> bool:
    """Whether a column holds whole numbers, each once, without a gap."""
    texts = column.cast(pa.string())
    whole = compute.all(compute.match_substring_regex(texts, r"^-?\d{1,15}$")).as_py()
    if not whole:  # also without rows
        return False
    ends = compute.min_max(texts.cast(pa.int64()))
    count = len(texts)
    return bool(
        ends["max"].as_py() - ends["min"].as_py() == count - 1 and compute.count_distinct(texts).as_py() == count
    )


def _in_metadata(rows: Any) -> set[str]:
    """The index columns that pandas lists in a Parquet file; those of a RangeIndex are objects, and no columns."""
    try:
        listed = json.loads((rows.schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, KeyError, TypeError):
        return set()
    return {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
