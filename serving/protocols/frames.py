"""Tables that come as a file in the body: CSV, Parquet, an Arrow stream; arrays: `.npy`.

What is in a file is bounded before it is read: by the limit of rows, and by what it says it holds unpacked.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.records import TensorSpec
from serving.engines.base import Array
from serving.errors import Refused, bad_request
from serving.protocols import csv_text
from serving.protocols.large import one_at_a_time
from serving.protocols.named_inputs import NamedInputs
from serving.protocols.read_instances import Reader

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CSV, PARQUET, ARROW, NPY = (
    "text/csv",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
    "application/x-npy",
)
KINDS = (CSV, PARQUET, ARROW, NPY)
MAX_UNPACKED = 64 << 20
"""Bytes of a file's columns once they are unpacked."""
LARGE = 1 << 20


def content_type(environ: WSGIEnvironment) -> tuple[str, dict[str, str]]:
    """The media type in small letters, and its parameters."""
    return _media_type(environ.get("CONTENT_TYPE", ""))


@functools.lru_cache(maxsize=64)
def _media_type(text: str) -> tuple[str, dict[str, str]]:
    kind, *rest = text.split(";")
    pairs = (each.partition("=") for each in rest)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


class FrameReader:
    """For one model; raises Refused."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._inputs = reader, NamedInputs(reader)
        self._fields = {each.name: each for each in reader.fields}

    def read(self, kind: str, body: bytes, limit: int) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows; `kind` is one of KINDS."""
        if not body:
            raise bad_request("the body is empty")
        readers: dict[str, Callable[[bytes, int], tuple[dict[str, Array], int]]] = {
            CSV: self._csv,
            PARQUET: self._parquet,
            ARROW: self._arrow,
            NPY: self._npy,
        }
        with one_at_a_time(len(body) > LARGE):
            return readers[kind](body, limit)

    def _csv(self, body: bytes, limit: int) -> tuple[dict[str, Array], int]:
        """A first line with names; a model with one input without columns takes none, and one sample per line."""
        if not self._reader.named:
            raise Refused(415, "this model does not take columns, which CSV has", hint="send JSON, or .npy")
        found = csv_text.read(body, self._reader.signature.text, self._fields.keys())
        names, rows = found.names, found.rows
        if len(rows) > limit:
            raise Refused(413, f"{len(rows)} rows, {limit} are allowed in one request", hint="send them in parts")
        if len(set(names)) < len(names):
            raise bad_request("the CSV's first line has a name twice")
        for i, row in enumerate(rows):
            if len(row) != len(names):
                hint = "each row has as many as the first line has names; a value that has a comma in it is put between quotes"
                raise bad_request(f"row {i}: {len(row)} values, {len(names)} are expected", hint=hint)
        arrays = {}
        for at, name in enumerate(names):
            spec = self._inputs.spec(name, "the CSV's first line")
            field = self._fields[spec.name]
            arrays[spec.name] = self._inputs.from_list(spec, found.column(field, at), f"column {name}")
        return self._inputs.joined(arrays, limit, "columns")

    def _parquet(self, body: bytes, limit: int) -> tuple[dict[str, Array], int]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(pa.BufferReader(body), memory_map=False)
            about = file.metadata
            _check(about.num_rows, limit)
            unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            if unpacked > MAX_UNPACKED:
                raise Refused(413, f"{unpacked} bytes unpacked, {MAX_UNPACKED} are allowed", hint="send it in parts")
            table = file.read(columns=self._columns(file.schema_arrow.names), use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise bad_request(f"the Parquet file cannot be read: {str(error)[:200]}") from None
        return self._table(table, limit)

    def _arrow(self, body: bytes, limit: int) -> tuple[dict[str, Array], int]:
        import pyarrow as pa

        try:
            batches, rows = [], 0
            with pa.ipc.open_stream(pa.BufferReader(body)) as stream:
                self._columns(stream.schema.names)
                for batch in stream:
                    rows += batch.num_rows
                    _check(rows, limit)
                    batches.append(batch)
                table = pa.Table.from_batches(batches, stream.schema)
            table.validate(full=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise bad_request(f"the Arrow stream cannot be read: {str(error)[:200]}") from None
        return self._table(table, limit)

    def _columns(self, names: list[str]) -> list[str]:
        """All that the file has, but an index that pandas has written."""
        wanted = [each for each in names if not each.startswith("__index_level_")]
        if len(set(wanted)) < len(wanted):
            raise bad_request("the file has a column twice")
        for each in wanted:
            self._inputs.spec(each, "columns")
        return wanted

    def _table(self, table: Any, limit: int) -> tuple[dict[str, Array], int]:
        if not table.num_rows:
            raise bad_request("the file has no row")
        arrays = {}
        for name in self._columns(table.column_names):
            spec = self._inputs.spec(name, "columns")
            arrays[spec.name] = self._column(spec, table.column(name), f"column {name}")
        return self._inputs.joined(arrays, limit, "columns")

    def _column(self, spec: TensorSpec, column: Any, path: str) -> Array:
        import pyarrow as pa

        kind = column.type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if number and not column.null_count and spec.dtype != "string":
            return self._inputs.from_array(spec, column.to_numpy(), path)
        return self._inputs.from_list(spec, column.to_pylist(), path)

    def _npy(self, body: bytes, limit: int) -> tuple[dict[str, Array], int]:
        """The array of a model with one input; its header is checked before anything is taken from it."""
        if len(self._inputs.names) > 1:
            raise Refused(415, "this model takes several inputs, and .npy holds one array", hint="send JSON, or Arrow")
        array = _npy_array(body)
        _check(len(array), limit)
        if not len(array):
            raise bad_request("the array has no row")
        spec = self._inputs.spec(self._inputs.names[0], "npy")
        if array.dtype.kind in "SU":
            texts = [
                each.decode(errors="replace") if isinstance(each, bytes) else each for each in array.ravel().tolist()
            ]
            if spec.dtype == "string":
                return self._inputs.joined({spec.name: self._inputs.from_texts(spec, texts, array.shape, "npy")}, limit)
        if array.dtype.kind not in "biuf" or spec.dtype == "string":
            raise bad_request(f"npy: {array.dtype.name[:40]}, the model takes {spec.dtype}")
        return self._inputs.joined({spec.name: self._inputs.from_array(spec, array, "npy")}, limit)


def _npy_array(body: bytes) -> Array:
    """The array in an .npy file, in the body's own memory: NumPy's reader would take what the header says at once."""
    file = io.BytesIO(body)
    try:
        major, _ = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = header(file, max_header_size=10_000)
    except Exception as error:  # noqa: BLE001  (it evaluates Python's literals, and their errors are many)
        raise bad_request(f"the body is not an .npy file: {str(error)[:200]}") from None
    if dtype.hasobject or not dtype.itemsize or not shape:
        raise bad_request(
            f"npy: an array of {dtype.name[:40]} with shape {list(shape)}", hint="send numbers, a row each"
        )
    size = math.prod(shape) * dtype.itemsize
    if size != len(body) - file.tell():
        raise bad_request(f"npy: {len(body) - file.tell()} bytes behind the header, which says {size}")
    flat: Array = np.frombuffer(body, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if by_column else "C").astype(dtype.newbyteorder("="), copy=False)


def _check(rows: int, limit: int) -> None:
    if rows > limit:
        raise Refused(413, f"{rows} rows, {limit} are allowed in one request", hint="send them in parts")
