"""Which source reads a file of the input."""

from __future__ import annotations

from pathlib import Path

from registry.errors import ConfigError, PipelineError
from serving.batch.arrays import ArraysSource
from serving.batch.block import Source, Wants
from serving.batch.images import ImagesSource
from serving.batch.job import IMAGES, BatchFile
from serving.batch.lines import LinesSource
from serving.batch.tables import CsvSource, ParquetSource
from serving.protocols.read_instances import Reader


def open_source(path: Path, file: BatchFile, reader: Reader, wants: Wants) -> Source:
    """The file as a source; raises ConfigError that names it when it cannot be read, or lacks something."""
    try:
        return _open(path, file, reader, wants)
    except PipelineError as error:
        raise named(error, file) from None


def named(error: PipelineError, file: BatchFile) -> PipelineError:
    """The error, which begins with the file's name."""
    return ConfigError(f"{file.name}: {error}", hint=error.hint) if isinstance(error, ConfigError) else error


def _open(path: Path, file: BatchFile, reader: Reader, wants: Wants) -> Source:
    if file.kind in IMAGES:
        return ImagesSource(path, file.kind, reader, wants)
    if file.kind == "parquet":
        return ParquetSource(path, reader, wants)
    if file.kind == "csv":
        return CsvSource(path, file.name, reader, wants)
    return LinesSource(path, reader, wants, file.name) if file.kind == "jsonl" else ArraysSource(path, reader, wants)
