"""The job of the batch worker, and what it reports. Light: the controller writes the one and reads the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from registry.records import TextRules

Kind = Literal["csv", "parquet", "jsonl", "npz", "folder", "zip", "tar"]
Format = Literal["parquet", "csv", "jsonl"]
IMAGES: tuple[Kind, ...] = ("folder", "zip", "tar")


@dataclass(frozen=True, slots=True)
class BatchFile:
    """One file of the input; a folder of images counts as one."""

    name: str
    """As a person knows it, for messages and records."""
    kind: Kind
    bytes: int
    mark: str
    """Changes when the file does: a digest of size, time and some of its bytes."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The job of `serving.batch`; its result is a BatchResult, and each part is reported as a PartRecord meanwhile.

    Inputs: `model`, the folder of a version, and `file-00000` …, one for each file that this shard reads.
    """

    release: int | None
    files: tuple[BatchFile, ...]
    """All files of the input, also those of other shards."""
    format: Format
    rows_per_part: int
    columns: tuple[str, ...] | None = None
    """Those of the input that are kept beside the predictions; null: all."""
    text: TextRules = field(default_factory=TextRules)
    shard: int = 1
    shards: int = 1
    done: tuple[str, ...] = ()
    """The ids of the parts that are there already."""
    explain_ms: int = 0
    """How long each row may be explained; 0: no row is."""


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One part that is complete: rows of one file that follow each other, in one file of predictions."""

    file: int
    """The number of the input file, from 0."""
    part: int
    """The number of the part within that file, from 0."""
    rows: int
    """Of the input; each is predicted or rejected."""
    predicted: int
    rejected: int
    name: str
    """The file with the predictions, named by index and SHA-256; empty: no row was predicted."""
    sha256: str
    bytes: int
    rejects: str
    """The file with the rejected rows; empty: there are none."""
    rejects_sha256: str

    @property
    def id(self) -> str:
        """`00000-00012`: file and part."""
        return part_id(self.file, self.part)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What the worker of one shard has done, with what earlier tries had left to do."""

    rows: dict[str, int]
    """The number of an input file that this shard reads → its rows."""
    seconds: float
    """Of predicting and writing, without the start."""
    predicted: int
    """In this try."""
    peak_mb: int
    """The most memory that the worker has had resident."""
    notes: tuple[str, ...] = ()


def part_id(file: int, part: int) -> str:
    """The name of a part, which sorts like its rows."""
    return f"{file:05d}-{part:05d}"


def reads(file: int, files: int, shard: int, shards: int) -> bool:
    """Whether a shard (from 1) reads an input file: with enough files each has its own, else all read them all."""
    return files < shards or file % shards == shard - 1


def makes(file: int, part: int, files: int, shard: int, shards: int) -> bool:
    """Whether a shard makes a part of a file that it reads; every part has one shard."""
    return files >= shards or (file + part) % shards == shard - 1
