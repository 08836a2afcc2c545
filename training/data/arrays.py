"""Prepared splits on disk: `.npy` files that are allocated first and filled in any order, and the files beside them."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from registry import codec
from registry.files import write_whole
from training.data.spec import DataSpec

ORDER = "<" if sys.byteorder == "little" else ">"


def create_npy(path: Path, descr: str, shape: tuple[int, ...], item_bytes: int) -> int:
    """Create a `.npy` file of zeros and reserve its space on the disk. Returns where the data begin, in bytes.

    Without NumPy, which takes longer to import than a small dataset takes to read. `descr` is NumPy's type string
    (`|u1`, `<i8`) and `item_bytes` the size of one value. Raises OSError when the disk is full: now, rather than when
    a process writes.
    """
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    length = math.ceil((10 + len(header) + 1) / 64) * 64  # data are aligned to 64 bytes, as NumPy does it
    raw = b"\x93NUMPY\x01\x00" + (length - 10).to_bytes(2, "little") + header.ljust(length - 11).encode() + b"\n"
    size = math.prod(shape) * item_bytes
    with path.open("xb") as file:
        file.write(raw)
        file.flush()
        if size:
            os.posix_fallocate(file.fileno(), length, size)
    return length


def write_labels(path: Path, labels: Sequence[int]) -> None:
    """Write class indices as an int64 `.npy`."""
    from array import array

    start = create_npy(path, f"{ORDER}i8", (len(labels),), 8)
    with path.open("r+b") as file:
        file.seek(start)
        array("q", labels).tofile(file)


def write_description(folder: Path, spec: DataSpec, names: Sequence[str]) -> None:
    """Write `data.json` and `names.json` of one prepared split."""
    codec.save(spec, folder / "data.json")
    write_whole(folder / "names.json", json.dumps(list(names)).encode())


def link_or_copy(source: str, target: str) -> None:
    """The same file under a second name, without a second copy where the disk can do that."""
    with contextlib.suppress(OSError):  # another disk, no hard links, too many of them, or another owner
        os.link(source, target)
        return
    shutil.copyfile(source, target)
