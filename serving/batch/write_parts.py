"""Part files: written under a hidden name, then named by index and SHA-256, and at last listed in a record of their own."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from pyarrow import csv, parquet

from registry import codec
from serving.batch.block import Rejected
from serving.batch.job import Format, PartRecord, part_id
from training.data.table import csv_file

RECORD = ".part.json"
"""The end of a record's name."""
REJECTS = ".rejected.jsonl"
LONGEST_REASON = 500


class PartWriter:
    """Writes one part. Nothing that has its final name is unfinished; `finish` writes the record last."""

    def __init__(self, folder: Path, file: int, part: int, form: Format) -> None:
        self._folder, self._file, self._part, self._format = folder, file, part, form
        self._id = part_id(file, part)
        self._out: PartFile | None = None
        self._parquet: Any = None
        self._rejects: PartFile | None = None
        self.rows = self.predicted = self.rejected = 0

    def add(self, rows: int, table: Any, count: int, head: bytes) -> None:
        """The predictions for `count` of the next `rows` rows: a pyarrow.Table for Parquet, else bytes; `head` comes first."""
        self.rows, self.predicted = self.rows + rows, self.predicted + count
        if not count:
            return
        first = self._out is None
        out = self._out = self._out or PartFile(self._folder, f"part-{self._id}")
        if self._format != "parquet":
            out.file.write(head if first else b"")
            out.file.write(table)
            return
        if first:
            self._parquet = parquet.ParquetWriter(out.file, table.schema, **parquet_options(table.schema))
        self._parquet.write_table(table)

    def reject(self, name: str, first: int, rejected: Rejected) -> None:
        """Rows that have no prediction; `first` is the number of the block's first row, from 0 in its file `name`."""
        self.rejected += len(rejected)
        if rejected:
            self._rejects = self._rejects or PartFile(self._folder, f"part-{self._id}{REJECTS}")
            self._rejects.file.write(
                b"".join(
                    orjson.dumps({"file": name, "row": first + row + 1, "reason": why[:LONGEST_REASON]}) + b"\n"
                    for row, why in sorted(rejected.items())
                )
            )
            self._rejects.file.flush()  # a person may look at it already

    def finish(self) -> PartRecord:
        """Name the files and write the record."""
        if self._parquet:
            self._parquet.close()
        suffix = f".{self._format}"
        name, sha256, size = self._out.publish(f"part-{self._id}-", suffix) if self._out else ("", "", 0)
        rejects, rejects_sha256, _ = (
            self._rejects.publish(f"part-{self._id}-", REJECTS) if self._rejects else ("", "", 0)
        )
        record = PartRecord(
            self._file,
            self._part,
            self.rows,
            self.predicted,
            self.rejected,
            name,
            sha256,
            size,
            rejects,
            rejects_sha256,
        )
        codec.save(record, self._folder / f"{self._id}{RECORD}")
        return record

    def abandon(self) -> None:
        """Leave the part unfinished."""
        if self._parquet and self._out:
            self._parquet.close()
        for each in (self._out, self._rejects):
            if each:
                each.file.close()


class Hashed(io.FileIO):
    """A file that is only appended to, with the SHA-256 of all that was written: to read it again would cost as much."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Write all of `data`; pyarrow does not look at how much was written."""
        view = memoryview(data)
        self.digest.update(view)
        left = view
        while len(left):
            left = left[super().write(left) :]
        return len(view)


class PartFile:
    """A file under a hidden name, which gets its own one when it is complete."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._path = folder, folder / f".{name}.tmp"
        self.file = Hashed(self._path)

    def publish(self, prefix: str, suffix: str) -> tuple[str, str, int]:
        """Have it on the disk, give it its name, and return that, SHA-256 and size."""
        self.file.flush()
        os.fsync(self.file.fileno())
        size = self.file.tell()
        self.file.close()
        sha256 = self.file.digest.hexdigest()
        name = f"{prefix}{sha256[:16]}{suffix}"
        os.replace(self._path, self._folder / name)
        return name, sha256, size


def parquet_options(schema: Any) -> Mapping[str, Any]:
    """Quick to write: texts are worth a dictionary and compression, measured numbers are not."""
    texts = [each.name for each in schema if pa.types.is_string(each.type) or pa.types.is_large_string(each.type)]
    compression = dict.fromkeys(texts, "lz4") or "none"
    return {"use_dictionary": texts or False, "compression": compression, "write_statistics": texts or False}


def csv_bytes(table: Any) -> bytes:
    """A table as text without a header; texts have quotation marks when some of the block needs them."""
    if (text := csv_file.unquoted(table, csv_file.COMMAS)) is not None:
        return text
    out = pa.BufferOutputStream()
    csv.write_csv(table, out, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return bytes(out.getvalue().to_pybytes())
