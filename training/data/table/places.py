"""What rows are called that have no key of their own: `data.csv line 17`. Written when they are asked for: there may be millions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
from pyarrow import compute

from training.data.table.suspect import texts
from training.data.table.typed import of_numpy

TOGETHER = 1 << 20
"""Names that are written at a time."""


class Places(Sequence[str]):
    """One text per row: its file, and what is counted there, then the number."""

    def __init__(self, called: Sequence[str], files: Any, numbers: Any) -> None:
        """`called`: file → what precedes the number, e.g. `data.csv line`. `files`, `numbers`: NumPy arrays with one entry per row,
        the place of its file in `called`, and its number."""
        self._called, self._files, self._numbers = called, files, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return list(self.chosen(index))
        return f"{self._called[self._files[index]]} {self._numbers[index]}"

    def __iter__(self) -> Iterator[str]:
        for file, number in zip(self._files.tolist(), self._numbers.tolist(), strict=True):
            yield f"{self._called[file]} {number}"

    def chosen(self, rows: Any) -> Places:
        """Those of some rows (NumPy array of indices, or a slice)."""
        return Places(self._called, self._files[rows], self._numbers[rows])

    def as_json(self) -> bytes:
        """All of them, as `json.dumps` writes a list."""
        begin = texts(*(json.dumps(f"{each} ")[:-1] for each in self._called))
        parts = [self._as_json(begin, slice(start, start + TOGETHER)) for start in range(0, len(self), TOGETHER)]
        return b"[" + b"".join(parts).removesuffix(b", ") + b"]"

    def _as_json(self, begin: Any, rows: slice) -> bytes:
        files = begin.take(of_numpy(self._files[rows]))
        numbers = of_numpy(self._numbers[rows]).cast(pa.string())
        written = compute.binary_join_element_wise(files, numbers, texts('", ')[0], texts("")[0])
        return bytes(
            memoryview(written.buffers()[2])[: int(np.frombuffer(written.buffers()[1], np.int32)[len(written)])]
        )


def chosen(names: Sequence[str], rows: Any) -> Sequence[str]:
    """Those of some rows (NumPy array of indices)."""
    return names.chosen(rows) if isinstance(names, Places) else [names[row] for row in rows.tolist()]


def as_json(names: Sequence[str]) -> bytes:
    """A list of names."""
    return names.as_json() if isinstance(names, Places) else json.dumps(list(names)).encode()
