"""What lies beside the predictions, and when they are complete. Rules, no I/O.

batch.json                the settings: written first; whoever resumes, and every shard, must have the same
predictions/part-…        the parts, named by file, part and SHA-256
rejected/part-….jsonl     their rejected rows
state/00000-00012.json    a part is there: its PartRecord, written after it
shards/1-of-4.json        a shard is complete
rejected.jsonl            all rejected rows
manifest.json             everything is complete: written last
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from registry.errors import ConfigError, Corrupt
from registry.records import TextRules
from serving.batch.job import BatchFile, Format, PartRecord, makes, part_id, reads

SETTINGS, MANIFEST, REJECTED = "batch.json", "manifest.json", "rejected.jsonl"
PREDICTIONS, REJECTS, STATE, SHARDS = "predictions", "rejected", "state", "shards"
NAME = re.compile(r"part-(\d{5})-(\d{5})-[0-9a-f]{16}\.(parquet|csv|jsonl|rejected\.jsonl)")


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """What decides about every byte of the predictions."""

    model: str
    version: int
    card: str
    """SHA-256 of the version's manifest."""
    files: tuple[BatchFile, ...]
    format: Format
    rows_per_part: int
    columns: tuple[str, ...] | None
    text: TextRules
    shards: int
    explain_ms: int = 0
    """How long each row may be explained; 0: no row is."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard that is complete."""

    shard: int
    rows: dict[str, int]
    """The number of an input file that it has read → its rows."""
    parts: tuple[PartRecord, ...]
    seconds: float
    """Of its last try."""
    peak_mb: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All predictions of a batch are there: these files, and no other."""

    settings: BatchSettings
    release: int
    rows: int
    """Of the input: each is predicted or rejected."""
    predicted: int
    rejected: int
    parts: tuple[PartRecord, ...]
    finished_at: str
    notes: tuple[str, ...] = ()


def differences(there: BatchSettings, wanted: BatchSettings) -> list[str]:
    """In what the settings of a batch that was begun differ from those that are wanted, in words."""
    found = []
    for each in dataclasses.fields(BatchSettings):
        was, now = getattr(there, each.name), getattr(wanted, each.name)
        if was == now:
            continue
        if each.name == "text":
            old, new = dataclasses.asdict(was), dataclasses.asdict(now)
            named = [name for name in old if old[name] != new[name]]
            found += [f"[batch] {name}: {_in_toml(old[name])}, now {_in_toml(new[name])}" for name in named]
        elif each.name == "files":
            names = sorted({x.name for x in set(was) ^ set(now)})
            found.append(f"input: {', '.join(names[:3])}{' …' if len(names) > 3 else ''} differ")
        elif each.name != "card" or there.version == wanted.version:
            found.append(f"{each.name}: {shown(was)}, now {shown(now)}")
    return found


def _in_toml(value: str | tuple[str, ...] | None) -> str:
    return json.dumps(value if isinstance(value, str) else list(value or ()), ensure_ascii=False)[:60]


def shown(value: object) -> str:
    """A setting's value, short."""
    return "all" if value is None else f"{value!s:.60}"


def belongs(settings: BatchSettings, shard: int, file: int, part: int) -> bool:
    """Whether a part is this shard's."""
    count = len(settings.files)
    return (
        file < count and reads(file, count, shard, settings.shards) and makes(file, part, count, shard, settings.shards)
    )


def owner(name: str) -> tuple[int, int] | None:
    """File and part of a file's name; None for what is not a part."""
    found = NAME.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def check_record(record: PartRecord, settings: BatchSettings, shard: int) -> None:
    """Raise Corrupt for a record of a worker that cannot be true."""
    here = (record.file, record.part)
    names = [each for each in (record.name, record.rejects) if each]
    fits = all(owner(each) == here for each in names) and not record.name.endswith(".rejected.jsonl")
    fits &= not record.name or record.name.endswith(f".{settings.format}")
    fits &= not record.rejects or record.rejects.endswith(".rejected.jsonl")
    counts = (record.predicted, record.rejected)
    fits &= bool(record.name) == bool(record.predicted) and bool(record.rejects) == bool(record.rejected)
    if not fits or min(counts) < 0 or sum(counts) != record.rows or not 0 < record.rows <= settings.rows_per_part:
        raise Corrupt(f"part {record.id}: the worker's record contradicts itself", hint="start again without --resume")
    if not belongs(settings, shard, *here):
        raise Corrupt(f"part {record.id}: is another shard's", hint="start again without --resume")


def must_be_complete(
    settings: BatchSettings, shard: int, rows: Mapping[str, int], parts: Iterable[PartRecord]
) -> tuple[PartRecord, ...]:
    """The parts of a shard in order; raises Corrupt unless every row of its files is in exactly one part."""
    there = {each.id: each for each in parts}
    found: list[PartRecord] = []
    size = settings.rows_per_part
    for number in range(len(settings.files)):
        if not reads(number, len(settings.files), shard, settings.shards):
            continue
        total = rows.get(str(number))
        if total is None:
            raise Corrupt(f"{settings.files[number].name}: was not read to its end", hint="run it again with --resume")
        for part in range(-(-total // size)):
            if not belongs(settings, shard, number, part):
                continue
            record = there.pop(part_id(number, part), None)
            if record is None or record.rows != min(size, total - part * size):
                what = "is missing" if record is None else f"has {record.rows} rows"
                raise Corrupt(f"part {part_id(number, part)} {what}", hint="run it again with --resume")
            found.append(record)
    if there:
        raise Corrupt(f"part {min(there)} is behind the end of its file", hint="did the input change meanwhile?")
    return tuple(found)


def merged(settings: BatchSettings, shards: Sequence[Shard]) -> tuple[int, tuple[PartRecord, ...]]:
    """The rows of all files, and all parts in order; raises Corrupt when shards have read different files."""
    rows: dict[str, int] = {}
    for each in shards:
        for file, count in each.rows.items():
            if rows.setdefault(file, count) != count:
                name = settings.files[int(file)].name
                raise Corrupt(
                    f"{name}: shards have found {rows[file]} and {count} rows", hint="did it change meanwhile?"
                )
    for each in shards:
        must_be_complete(settings, each.shard, each.rows, each.parts)
    return sum(rows.values()), tuple(sorted((p for each in shards for p in each.parts), key=lambda each: each.id))


def parse_shard(text: str) -> tuple[int, int]:
    """`2/4` → (2, 4); raises ConfigError."""
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    shard, shards = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= shard <= shards:
        raise ConfigError(
            f"--shard {text!r}: not such as 1/4", hint="which one of how many, from 1: --shard 1/4 to 4/4"
        )
    return shard, shards
