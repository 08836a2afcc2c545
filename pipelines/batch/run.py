"""One shard of a batch, from the check of everything that can be known before the first row to the manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.batch import records
from pipelines.batch.inputs import Found
from pipelines.batch.output import WORK, FolderOutput, Output
from pipelines.batch.records import BatchSettings, Manifest, Shard
from pipelines.context import Context
from pipelines.runners import Job, Limits
from pipelines.runs import Stopwatch
from registry import codec
from registry.errors import ConfigError, Corrupt, Rejected, TryAgain
from registry.files import try_lock
from registry.records import utc_now
from serving.batch.job import BatchJob, BatchResult, PartRecord, reads
from training.worker.protocol import parse_event, read_foreign

MOST_RECORD = 1 << 16
RECORD = ".part.json"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person wants of this shard."""

    settings: BatchSettings
    release: int
    shard: int
    resume: bool
    max_rejected: int
    version: Path
    """The folder of the version's files, which were checked."""
    what: str
    """For messages: `digits version 3`."""


def run(context: Context, ask: Ask, found: Found, output: Output) -> tuple[Shard, Manifest | None]:
    """Predict what is not there yet. No manifest (None) while other shards are not complete.

    Raises ConfigError, Rejected when more rows than allowed are rejected, TryAgain, WorkerFailed.
    """
    work = work_folder(context, ask, output)
    begin(ask, output)
    work.mkdir(parents=True, exist_ok=True)
    with locked(work, ask):
        if not ask.resume:
            shutil.rmtree(work / "job", ignore_errors=True)
        batch = Batch(context, ask, found, output, work)
        shard = batch.complete()
        manifest = batch.merge()
    shutil.rmtree(work, ignore_errors=True)
    return shard, manifest


def begin(ask: Ask, output: Output) -> None:
    """Write the settings, or compare them with those that are there. Raises ConfigError for an output that is taken."""
    there, free = output.read(records.SETTINGS), False
    if there is None:
        free = output.is_empty()
        if not free:
            hint = "name a folder or prefix that is empty, or not there yet"
            raise ConfigError(f"--output {output.where}: there is something already, and not of a batch", hint=hint)
        if output.create(records.SETTINGS, codec.to_json(ask.settings)):
            return
        there = output.read(records.SETTINGS) or b""  # another shard was first
    known = codec.from_json(BatchSettings, there, f"{output.where}/{records.SETTINGS}")
    if wrong := records.differences(known, ask.settings):
        hint = "resume with what it was begun with, or name another --output"
        if not output.names(records.STATE):
            hint = "nothing was predicted there: delete it, or name another --output"
        raise ConfigError(f"--output {output.where}: was begun with other settings: {'; '.join(wrong)}", hint=hint)
    if not ask.resume and (ask.settings.shards == 1 or _has_begun(ask, output)):
        hint = "--resume does what is left; or name another --output"
        raise ConfigError(f"--output {output.where}: there is something already", hint=hint)


def _has_begun(ask: Ask, output: Output) -> bool:
    if output.read(f"{records.SHARDS}/{ask.shard}-of-{ask.settings.shards}.json") is not None:
        return True
    ids = [name.removesuffix(".json").split("-") for name in output.names(records.STATE)]
    return any(records.belongs(ask.settings, ask.shard, int(file), int(part)) for file, part in ids)


def work_folder(context: Context, ask: Ask, output: Output) -> Path:
    """Where the worker of this shard writes: beside the predictions, so that parts are moved and not copied."""
    name = f"{ask.shard}-of-{ask.settings.shards}"
    if isinstance(output, FolderOutput):
        return Path(output.where) / f"{WORK}{name}"
    return context.home / "batch" / f"{hashlib.sha256(output.where.encode()).hexdigest()[:16]}-{name}"


@contextlib.contextmanager
def locked(work: Path, ask: Ask) -> Iterator[None]:
    """Only one process at a time works on a shard; raises TryAgain."""
    with (work / ".lock").open("w", encoding="utf-8") as lock:
        if not try_lock(lock):
            raise TryAgain(f"shard {ask.shard} is in use by another process", hint=f"wait for it, or end it: {work}")
        yield


class Batch:
    """The parts of one shard on their way from its worker to the output."""

    def __init__(self, context: Context, ask: Ask, found: Found, output: Output, work: Path) -> None:
        self._context, self._ask, self._found, self._output, self._work = context, ask, found, output, work
        self._settings, self._job = ask.settings, work / "job"
        self._parts: dict[str, PartRecord] = {}

    def complete(self) -> Shard:
        """Do what is left of this shard."""
        name = f"{records.SHARDS}/{self._ask.shard}-of-{self._settings.shards}.json"
        if data := self._output.read(name):
            return codec.from_json(Shard, data, name)
        self._recover()
        self._check_rejected(0)
        result = self._run()
        parts = records.must_be_complete(self._settings, self._ask.shard, result.rows, self._parts.values())
        shard = Shard(self._ask.shard, result.rows, parts, result.seconds, result.peak_mb, result.notes)
        self._output.save(name, codec.to_json(shard))
        return shard

    def merge(self) -> Manifest | None:
        """The manifest, once all shards are complete."""
        output, settings = self._output, self._settings
        if data := output.read(records.MANIFEST):
            return codec.from_json(Manifest, data, records.MANIFEST)
        shards = []
        for number in range(1, settings.shards + 1):
            name = f"{records.SHARDS}/{number}-of-{settings.shards}.json"
            data = output.read(name)
            if data is None:
                return None
            shards.append(codec.from_json(Shard, data, name))
        rows, parts = records.merged(settings, shards)
        for folder, wanted in (
            (records.PREDICTIONS, {each.name for each in parts} - {""}),
            (records.REJECTS, {each.rejects for each in parts} - {""}),
        ):
            if other := set(output.names(folder)) ^ wanted:
                raise Corrupt(
                    f"{output.where}/{folder}/{min(other)}: missing, or not of this batch", hint="see batch.json"
                )
        output.join(
            [f"{records.REJECTS}/{each.rejects}" for each in parts if each.rejects], records.REJECTED, self._work
        )
        predicted, rejected = (sum(getattr(each, what) for each in parts) for what in ("predicted", "rejected"))
        notes = tuple(dict.fromkeys(note for each in shards for note in each.notes))
        made = Manifest(settings, self._ask.release, rows, predicted, rejected, parts, utc_now(), notes)
        output.create(records.MANIFEST, codec.to_json(made))
        return made

    def _recover(self) -> None:
        """Take over what earlier tries have left complete, and remove the rest."""
        output = self._output
        for name in output.names(records.STATE):
            data = output.read(f"{records.STATE}/{name}")
            record = codec.from_json(PartRecord, data or b"", f"{output.where}/{records.STATE}/{name}")
            if not records.belongs(self._settings, self._ask.shard, record.file, record.part):
                continue
            if record.name and not output.holds(f"{records.PREDICTIONS}/{record.name}", record.bytes, record.sha256):
                output.remove(f"{records.STATE}/{name}")  # it is made again
                continue
            self._parts[record.id] = record
        self._publish()
        kept = {each.name for each in self._parts.values()} | {each.rejects for each in self._parts.values()}
        for folder in (records.PREDICTIONS, records.REJECTS):
            for name in output.names(folder):
                where = records.owner(name)
                if where and name not in kept and records.belongs(self._settings, self._ask.shard, *where):
                    output.remove(f"{folder}/{name}")

    def _run(self) -> BatchResult:
        context, ask, settings = self._context, self._ask, self._settings
        mine = [i for i in range(len(settings.files)) if reads(i, len(settings.files), ask.shard, settings.shards)]
        context.progress.start(
            f"batch: {ask.what}, {len(mine)} file{'' if len(mine) == 1 else 's'}, to {self._output.where}",
            ["fetch", "predict"],
        )
        watch = Stopwatch()
        try:
            context.progress.step("fetch")
            inputs = {f"file-{i:05d}": self._found.local(i, self._work / "spool") for i in mine}
            context.progress.done("fetch", "done", watch.seconds)
            context.progress.step("predict")
            watch = Stopwatch()
            job = BatchJob(
                ask.release, settings.files, settings.format, settings.rows_per_part, settings.columns, settings.text,
                ask.shard, settings.shards, tuple(sorted(self._parts)), settings.explain_ms,
            )  # fmt: skip
            for left in (self._job / "outputs").glob("*"):  # parts that no record names
                left.unlink()
            codec.save(job, self._job / "job.json")
            most = context.limits()
            limits = Limits(0.0, most.memory_mb, most.disk_mb)  # it takes as long as there are rows
            module = ("serving.batch",)
            context.runner.run(Job("batch", module, self._job, limits, {"model": ask.version, **inputs}), self._line)
            self._publish()
            context.progress.done("predict", "done", watch.seconds)
        finally:
            context.progress.stop()
        self._check_rejected(0)
        return codec.from_json(BatchResult, read_foreign(self._job / "result.json", 32 << 20), "result.json")

    def _line(self, line: str) -> None:
        event = parse_event(line)
        if event and event["event"] == "part":
            self._publish()
            self._check_rejected(0)
            return
        if event and event["event"] == "progress" and isinstance(event.get("rejected"), int):
            self._check_rejected(event["rejected"])
        self._context.show(line)

    def _publish(self) -> None:
        """Move all parts that the worker has completed to the output: rejected rows, predictions, and their record last."""
        folder = self._job / "outputs"
        for path in sorted(folder.glob(f"*{RECORD}")):
            record = codec.from_json(PartRecord, read_foreign(path, MOST_RECORD), str(path))
            records.check_record(record, self._settings, self._ask.shard)
            if record.rejects:
                self._output.take(folder / record.rejects, f"{records.REJECTS}/{record.rejects}", record.rejects_sha256)
            if record.name:
                self._output.take(folder / record.name, f"{records.PREDICTIONS}/{record.name}", record.sha256)
            self._output.save(f"{records.STATE}/{record.id}.json", codec.to_json(record))
            self._parts[record.id] = record
            path.unlink(missing_ok=True)

    def _check_rejected(self, in_this_try: int) -> None:
        """Raise Rejected when there are more than allowed: in all parts, or by what the worker says of this try."""
        count = max(in_this_try, sum(each.rejected for each in self._parts.values()))
        if count > self._ask.max_rejected:
            raise Rejected(
                f"{count} rows are rejected, {self._ask.max_rejected} are allowed{self._first_rejected()}",
                hint=f"correct the input; or continue all the same: --resume --max-rejected {count * 10}",
            )

    def _first_rejected(self) -> str:
        """The first rejected row that is known, in words."""
        for each in sorted(self._parts.values(), key=lambda part: part.id):
            if each.rejects and isinstance(self._output, FolderOutput):
                return _first(Path(self._output.where) / records.REJECTS / each.rejects)
        for path in sorted((self._job / "outputs").glob(".part-*.rejected.jsonl.tmp")):
            return _first(path)
        return ""


def _first(path: Path) -> str:
    """What the first line of a file of rejected rows says."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline(1 << 16))
        return f", the first: {found['file']} row {found['row']}: {found['reason']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
