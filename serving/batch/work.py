"""The worker's work: blocks are read in one thread, predicted in as many as there are cores, and written in order."""

from __future__ import annotations

import resource
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from registry import codec
from registry.errors import ConfigError, WorkerFailed
from registry.records import Candidate
from serving.batch import explanations
from serving.batch.answers import KEY, Answers, check_names, lines, table_of, with_predictions
from serving.batch.block import ROWS, Block, Rejected, Source, Wants
from serving.batch.explanations import Explanations
from serving.batch.job import BatchJob, BatchResult, PartRecord, makes, part_id, reads
from serving.batch.progress import Progress
from serving.batch.run_rows import predict
from serving.batch.sources import named, open_source
from serving.batch.write_parts import PartWriter, csv_bytes
from serving.engines.base import CHUNK, EngineError, cores
from serving.model import Model, load
from serving.protocols.read_instances import Reader
from serving.version_files import check_folder
from training.data.dataset_toml import Table
from training.data.table.csv_file import COMMAS, header_text

CALL_BYTES, CALL_ROWS = 1 << 18, 4096
"""Of inputs that the engine gets in one call: enough that the call itself costs little. What a model makes of an image
inside is many times as large as the image, so that the first of the two bounds the memory."""
AHEAD = 2
"""Blocks that wait, beside those that are being predicted."""


@dataclass(frozen=True, slots=True)
class Done:
    """A block with its predictions."""

    block: Block
    written: Any
    """pyarrow.Table for Parquet, else bytes."""
    predicted: int
    rejected: Rejected
    head: bytes = b""
    """What the part's file begins with: the header of a CSV file."""


def main(folder: Path) -> BatchResult:
    """Make all parts of this shard that are not there yet. Raises ConfigError for an input that cannot be read, and
    WorkerFailed when the model does not run."""
    job = codec.read(BatchJob, folder / "job.json")
    version, outputs = folder / "inputs" / "model", folder / "outputs"
    check_folder(version)
    threads = cores()
    model = load_for(version, job.release, threads, folder / "scratch" / "models")
    reader = Reader(model.signature, model.data)
    answers = Answers(model.signature, model.warm_outputs)
    explain = Explanations(model, job.explain_ms) if job.explain_ms else None
    wants = Wants(job.rows_per_part, job.columns, rules_of(job), explanations.ROWS if explain else ROWS)
    mine = [i for i in range(len(job.files)) if reads(i, len(job.files), job.shard, job.shards)]
    sources = {i: open_source(folder / "inputs" / f"file-{i:05d}", job.files[i], reader, wants) for i in mine}
    for i, source in sources.items():
        check_output(job, i, source, answers, explain)
    files = [FileWork(job, i, source, model, answers, explain) for i, source in sources.items()]
    progress = Progress(files)
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as read_ahead:
        for each in files:
            each.run(pool, read_ahead, threads, outputs, progress)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 10 if sys.platform == "linux" else 1 << 20)
    rows = {str(i): source.rows_read() for i, source in sources.items()}
    return BatchResult(rows, progress.seconds, progress.predicted, peak)


def load_for(version: Path, release: int | None, threads: int, copies: Path) -> Model:
    """The model, with as many rows per call of its engine as pay off."""
    inputs = codec.read(Candidate, version / "card.json").signature.inputs
    sizes = [prod(side or 1 for side in each.shape[1:]) for each in inputs]
    most = CALL_ROWS if max(sizes) == 1 else CALL_BYTES // (4 * sum(sizes))
    try:
        return load(version, release, threads, copies, max(CHUNK, min(CALL_ROWS, most)))
    except EngineError as error:
        raise WorkerFailed(f"the model does not run: {error}", hint="`trainyard reproduce` trains it again") from None


def rules_of(job: BatchJob) -> Table:
    """How text files are read, as `dataset.toml` would say it."""
    text = job.text
    return Table(
        file=(),
        target="",
        delimiter=text.delimiter,
        decimal=text.decimal,
        thousands=text.thousands,
        encoding=text.encoding,
        na=text.na,
        quote=text.quote,
        comment=text.comment,
        skip_rows=text.skip_rows,
    )


def check_output(job: BatchJob, number: int, source: Source, answers: Answers, explain: Explanations | None) -> None:
    """Raise ConfigError when what is kept of a file cannot be written beside the predictions."""
    keep = kept_names(job, source)
    try:
        if job.format == "jsonl":
            check_names(keep, [KEY, explanations.KEY] if explain else [KEY])
        else:
            check_names(keep, [*answers.names, *(explain.names if explain else ())])
        schema = getattr(source, "schema", None)
        if job.format == "csv" and schema is not None:
            for each in schema:
                if each.type.num_fields or str(each.type).startswith(("binary", "large_binary")):
                    hint = "write Parquet (--format parquet), or name the columns to keep with --columns"
                    raise ConfigError(f"column {each.name!r} holds {each.type}, which CSV cannot", hint=hint)
    except ConfigError as error:
        raise named(error, job.files[number]) from None


def kept_names(job: BatchJob, source: Source) -> list[str]:
    """The names of the columns that are kept; of JSON Lines those of the first line."""
    if hasattr(source, "keep"):
        return list(source.keep)
    first = getattr(source, "first", {})
    return [each for each in first if job.columns is None or each in job.columns]


class FileWork:
    """All parts of one file."""

    def __init__(
        self, job: BatchJob, number: int, source: Source, model: Model, answers: Answers, explain: Explanations | None
    ) -> None:
        self._job, self._number, self.source, self._model, self._answers = job, number, source, model, answers
        self._explain = explain
        self._names = kept_names(job, source)
        self._done = frozenset(job.done)

    def wanted(self, part: int) -> bool:
        """Whether a part is this shard's, and not there yet."""
        job = self._job
        mine = makes(self._number, part, len(job.files), job.shard, job.shards)
        return mine and part_id(self._number, part) not in self._done

    def rows_to_do(self) -> int | None:
        """The rows of wanted parts, where that is known."""
        if self.source.total is None:
            return None
        size, total = self._job.rows_per_part, self.source.total
        parts = range(-(-total // size))
        return sum(min(total, (part + 1) * size) - part * size for part in parts if self.wanted(part))

    def run(
        self, pool: ThreadPoolExecutor, read_ahead: ThreadPoolExecutor, threads: int, outputs: Path, progress: Progress
    ) -> None:
        """Write them, in order."""
        parts = Parts(self, outputs, progress)
        pending: deque[Future[Done]] = deque()
        blocks = self.source.blocks(self.wanted)
        try:
            following = read_ahead.submit(next, blocks, None)
            while (block := following.result()) is not None:
                following = read_ahead.submit(next, blocks, None)
                pending.append(pool.submit(self.process, block))
                while len(pending) >= threads + AHEAD or (pending and pending[0].done()):
                    parts.take(pending.popleft().result())
            while pending:
                parts.take(pending.popleft().result())
        except ConfigError as error:  # what was read before is good; the part that was begun stays unfinished
            while pending:
                parts.take(pending.popleft().result())
            raise named(error, self._job.files[self._number]) from None
        except EngineError as error:
            raise WorkerFailed(
                f"the model does not run: {error}", hint="the registry may hold a better version"
            ) from None
        finally:
            for each in pending:
                each.cancel()
            if sys.exc_info()[0]:
                parts.abandon()
        parts.complete()

    def process(self, block: Block) -> Done:
        """Predict a block; in one of several threads."""
        inputs = self.source.inputs(block)
        (rows, outputs), rejected = predict(self._model, inputs)
        if not len(rows):
            return Done(block, b"", 0, rejected)
        kept, explain = self.source.kept(block, rows), self._explain
        why = explain.of(inputs, rows) if explain else []
        if self._job.format == "jsonl":
            entries = [{KEY: each} for each in self._answers.entries(outputs)]
            if explain:
                entries = [{**a, explanations.KEY: b} for a, b in zip(entries, explain.entries(why), strict=True)]
            return Done(block, lines(kept, entries), len(rows), rejected)
        kept = table_of(kept, self._names) if isinstance(kept, list) else kept
        flat = self._job.format == "csv"
        predicted = self._answers.columns(outputs, flat=flat)
        table = with_predictions(kept, predicted, explain.columns(why) if explain else [])
        if not flat:
            return Done(block, table, len(rows), rejected)
        return Done(block, csv_bytes(table), len(rows), rejected, header_text(table.column_names, COMMAS).encode())

    def begin(self, part: int, outputs: Path) -> PartWriter:
        """A writer for one part."""
        return PartWriter(outputs, self._number, part, self._job.format)

    @property
    def name(self) -> str:
        """The file's."""
        return self._job.files[self._number].name


class Parts:
    """Takes blocks in order. A part is finished, which waits for the disk, while the next one is written."""

    def __init__(self, work: FileWork, outputs: Path, progress: Progress) -> None:
        self._work, self._outputs, self._progress = work, outputs, progress
        self._part, self._writer, self._finishing = -1, None, None
        self._finisher = ThreadPoolExecutor(1)

    _writer: PartWriter | None
    _finishing: Future[PartRecord] | None

    def take(self, done: Done) -> None:
        """Write a block."""
        block = done.block
        if self._finishing and self._finishing.done():
            self._settle()
        if block.part != self._part or self._writer is None:
            self._finish()
            self._part, self._writer = block.part, self._work.begin(block.part, self._outputs)
        self._writer.add(block.rows, done.written, done.predicted, done.head)
        self._writer.reject(self._work.name, block.first, done.rejected)
        self._progress.add(block.rows, done.predicted, len(done.rejected))

    def complete(self) -> None:
        """Finish the part that was begun, and wait until all are there."""
        self._finish()
        self._settle()
        self._finisher.shutdown()

    def abandon(self) -> None:
        """Leave the part that was begun; the one before it still becomes complete."""
        if self._writer:
            self._writer.abandon()
        self._finisher.shutdown()

    def _finish(self) -> None:
        """Begin to finish the part that was begun; one at a time."""
        self._settle()
        if self._writer:
            self._finishing, self._writer = self._finisher.submit(self._writer.finish), None

    def _settle(self) -> None:
        """Wait until the part before is complete, and report it."""
        if self._finishing:
            finishing, self._finishing = self._finishing, None
            self._progress.part(finishing.result())
