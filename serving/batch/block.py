"""Some rows of an input on their way: as read, as inputs of the model, and what is rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.engines.base import Array
from training.data.dataset_toml import Table

BYTES = 4 << 20
"""Of one block, about: a handful of blocks is in memory at a time."""
ROWS = 16_384
"""Of one block, at most."""
Wanted = Callable[[int], bool]
"""Whether the part with this number is to be made."""
Rejected = dict[int, str]
"""Row of a block, from 0 → why it has no prediction."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a job asks of every source."""

    rows_per_part: int
    columns: tuple[str, ...] | None
    """Those that are kept; None: all."""
    rules: Table
    """How texts are read."""
    rows: int = ROWS
    """Of one block, at most."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one part that follow each other."""

    part: int
    first: int
    """The first row, from 0 in its file."""
    rows: int
    body: Any
    """What its source makes of them: a pyarrow.Table, lines, arrays, files."""
    rejected: Rejected = field(default_factory=dict)
    """What could not even be read; `body` has no place for them where `numbers` says so."""
    numbers: Array | None = None
    """The rows of the block that `body` holds; None: all."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The rows of a block that can be given to the model, in groups of the same shape."""

    groups: list[tuple[Array, dict[str, Array]]]
    """Rows of the block, from 0, and the inputs for them."""
    rejected: Rejected


class Source(Protocol):
    """One file of the input, opened: what it holds is known, nothing is read yet."""

    total: int | None
    """Rows; None where only reading all of it would say."""

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """The blocks of the wanted parts, in order. Other parts are passed over, as cheaply as the format allows."""

    def inputs(self, block: Block) -> Inputs:
        """What the model is given; called from several threads."""

    def kept(self, block: Block, rows: Array) -> Any:
        """The columns to keep, of these rows of the block: a pyarrow.Table, or a list of dicts."""

    def rows_read(self) -> int:
        """The rows of the file, once `blocks` has ended."""

    def far(self) -> float:
        """How much of the file was read, 0 to 1, where `total` is not known."""
