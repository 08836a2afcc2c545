"""What loads pyarrow for `trainyard log`: `python -P -m pipelines.workers.prediction_log`, with its job as JSON on stdin.

The result is JSON on stdout; for `read`, lines of the log, or nothing when they go into a file. An error with an exit code is the last
line, as `{"error": …, "hint": …, "exit_code": …}`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import heapq
import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from registry.errors import ConfigError, PipelineError, from_os_error
from registry.files import new_file
from registry.label_store import LabelStore
from serving.prediction_log.compact import compact
from serving.prediction_log.key import make_key, read_key
from serving.prediction_log.purge import Purge, purge
from serving.prediction_log.tables import Wanted, read

Job = dict[str, Any]


def main() -> int:
    """Do what the job says; an exit code as `trainyard` has it."""
    job = json.load(sys.stdin)
    try:
        try:
            found = ACTIONS[job["action"]](Path(job["folder"]), job)
        except OSError as error:
            raise from_os_error(error, job["folder"]) or error from None
    except PipelineError as error:
        _say({"error": str(error), "hint": error.hint, "exit_code": error.exit_code})
        return error.exit_code
    if found is not None:
        _say(found)
    return 0


def _say(result: Any) -> None:
    sys.stdout.write(json.dumps(result) + "\n")


def _compact(folder: Path, job: Job) -> Any:
    return dataclasses.asdict(compact(folder, job["keep_days"], job["max_mb"]))


def _purge(folder: Path, job: Job) -> Any:
    make_key(Path(job["key"]))
    wanted = Purge(job["kind"], job["value"], job["who"])
    labels = LabelStore.existing(Path(job["labels"]))
    with labels or contextlib.nullcontext():
        return dataclasses.asdict(purge(folder, wanted, read_key(Path(job["key"])), labels))


def _read(folder: Path, job: Job) -> Any:
    """The newest lines, for people; oldest of them first."""
    newest: list[dict[str, Any]] = []
    for table in _wanted(folder, job):
        chosen = pc.select_k_unstable(table, k=job["last"], sort_keys=[("time", "descending")])
        newest = heapq.nlargest(job["last"], [*newest, *table.take(chosen).to_pylist()], key=_order)
    for row in reversed(newest):
        sys.stdout.write(_line(row))


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["time"], row["id"], row["row"] or 0


def _export(folder: Path, job: Job) -> Any:
    target = Path(job["to"])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _whole(target) as file:
            if target.suffix == ".parquet":
                lines = _export_parquet(_wanted(folder, job), file)
            else:
                lines = _export_lines(_wanted(folder, job), file, packed=target.suffix == ".gz")
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError) as error:
        raise ConfigError(f"{target}: {error.strerror}", hint="name a file that can be written") from None
    return {"lines": lines, "file": str(target)}


def _export_lines(tables: Iterator[pa.Table], file: IO[bytes], *, packed: bool) -> int:
    lines = 0
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) if packed else contextlib.nullcontext(file) as out:
        for table in tables:
            for row in table.to_pylist():
                out.write(_line(row).encode())
            lines += table.num_rows
    return lines


def _export_parquet(tables: Iterator[pa.Table], file: IO[bytes]) -> int:
    """One file has one schema: that of one release, with one set of rules."""
    writer, lines = None, 0
    for table in tables:
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        if not table.schema.equals(writer.schema):
            raise ConfigError(
                "lines of several releases, or kept by different rules, do not fit into one Parquet file",
                hint="--release N, --since and --until choose; or export to a .jsonl file",
            )
        writer.write_table(table)
        lines += table.num_rows
    if writer is None:
        raise ConfigError("there is no such line", hint="`trainyard log show` shows what there is")
    writer.close()
    return lines


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    fd, tmp = new_file(target.parent)
    try:
        with open(fd, "wb") as file:
            yield file
        Path(tmp).replace(target)
    finally:
        Path(tmp).unlink(missing_ok=True)


def _wanted(folder: Path, job: Job) -> Iterator[pa.Table]:
    since, until = (datetime.fromisoformat(job[name]) if job[name] else None for name in ("since", "until"))
    for table in read(folder, Wanted(since, until, job["release"], live=True)):
        found = table
        for field, value in (("id", job["request"]), ("caller", job["caller"])):
            if value:
                found = found.filter(pc.fill_null(pc.equal(found[field], value), fill_value=False))
        if found.num_rows:
            yield found


def _line(row: dict[str, Any]) -> str:
    row["time"] = row["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE).decode()


ACTIONS: dict[str, Callable[[Path, Job], Any]] = {
    "compact": _compact,
    "purge": _purge,
    "read": _read,
    "export": _export,
}

if __name__ == "__main__":
    sys.exit(main())
