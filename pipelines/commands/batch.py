"""`trainyard batch MODEL --input … --output …`: predictions for all rows of files."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pipelines.batch import records
from pipelines.batch.inputs import Found, find_bucket, find_local
from pipelines.batch.output import FolderOutput, open_output
from pipelines.batch.records import BatchSettings, Manifest, Shard
from pipelines.batch.run import Ask, run
from pipelines.commands.promote import check_model
from pipelines.config.schema import Config
from pipelines.config.serving_sections import Batch
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.text.duration import duration
from pipelines.trust import open_registry, store_options
from registry import candidates, heads, releases
from registry.errors import ConfigError
from registry.records import Release, TextRules
from registry.stores import Store, signatures_of
from registry.trusted import Trusted
from serving.batch.job import IMAGES, BatchFile, Format

ROWS_PER_PART, SLOW_ROWS_PER_PART = 50_000, 1_000
"""The second: of images, and of rows that are explained."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", help="the model of trainyard.toml")
    parser.add_argument("--input", metavar="PATH|s3://…", help="a file, a folder, a prefix; default: [batch] input")
    parser.add_argument("--output", metavar="PATH|s3://…", help="a new folder or prefix; default: [batch] output")
    parser.add_argument("--version", type=int, metavar="N", help="one that was released; default: what is live")
    parser.add_argument(
        "--format",
        choices=("parquet", "csv", "jsonl"),
        help="of the predictions; default: by --output, or that of the input",
    )
    parser.add_argument(
        "--columns", metavar="NAME,…", help='columns of the input to keep; "": none; default: all, see [batch] columns'
    )
    parser.add_argument(
        "--explain", action="store_true", help="explain each prediction, too; see [batch] explain and explain_ms"
    )
    parser.add_argument(
        "--shard", metavar="I/N", default="1/1", help="do one of N shares; the last one completes the whole"
    )
    parser.add_argument(
        "--below", metavar="NAME", help="write below the output, under this name; what Jenkins' job does"
    )
    parser.add_argument("--resume", action="store_true", help="do what an earlier run has left to do")
    parser.add_argument(
        "--max-rejected", type=int, metavar="N", help="rows without a prediction; default: [batch] max_rejected"
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Predict, and print what came of it."""
    check_model(args.model, config)
    given, target = args.input or config.batch.input, args.output or config.batch.output
    for name, value in (("input", given), ("output", target)):
        if not value:
            raise ConfigError(f"--{name} is missing", hint=f"name it, or set {name} under [batch] in trainyard.toml")
    if args.below:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", args.below):
            raise ConfigError(f"--below {args.below!r}: not a plain name", hint="letters, digits, . _ -")
        target = f"{target.rstrip('/')}/{args.below}"
    shard, shards = records.parse_shard(args.shard)
    options = store_options(config.registry, Path(config.home))
    found = find_bucket(given, options) if given.startswith("s3://") else find_local(given, alone=shards == 1)
    output = open_output(target, options)
    if isinstance(output, FolderOutput) and not given.startswith("s3://"):
        _must_be_apart(found, Path(output.where))
    store = open_registry(config, only_look=True)
    release = released(store, args.model, args.version)
    assert release.version is not None
    text = text_rules(
        candidates.manifest(store, args.model, release.version, "production").signature.text, config.batch
    )
    explain = args.explain or config.batch.explain
    settings = BatchSettings(
        model=args.model,
        version=release.version,
        card=release.card,
        files=found.files,
        format=format_of(args.format or config.batch.format, target, found.files),
        rows_per_part=config.batch.rows_per_part or _rows_per_part(found.files, explain=explain),
        columns=_columns(args.columns, config),
        text=text,
        shards=shards,
        explain_ms=config.batch.explain_ms if explain else 0,
    )
    most = config.batch.max_rejected if args.max_rejected is None else args.max_rejected
    version = candidates.local_folder(store, "production", args.model, release.version, release.card)
    what = f"{args.model} version {release.version}"
    ask = Ask(settings, release.number, shard, args.resume, most, version, what)
    done, manifest = run(Context(config, open_progress()), ask, found, output)
    _print(args, what, output.where, done, manifest)
    if text != TextRules() and not args.json and any(each.kind == "csv" for each in found.files):
        print(f"  text files were read with {in_words(text)}")
    return 0


def released(store: Store, model: str, version: int | None) -> Release:
    """The release that makes `version` live, or what is live now; verified as the prediction API does.

    Raises ConfigError when there is none, Corrupt for a record that was altered.
    """
    heads.must_be_whole(store, model)
    if version is None:
        release = releases.live(store, model)
        if release is None:
            raise ConfigError(
                f"{model}: nothing is live", hint="`trainyard promote` releases a version; or name --version"
            )
    else:
        made = [each for each in releases.releases(store, model) if each.version == version]
        if not made:
            hint = f"`trainyard registry show {model}` lists the versions and their releases"
            raise ConfigError(f"{model} version {version} was never released", hint=hint)
        release = made[-1]
    trusted = signatures_of(store)
    if isinstance(trusted, Trusted) and trusted.begun:
        releases.must_be_approved(store, release)
    return release


def format_of(asked: str, target: str, files: Sequence[BatchFile]) -> Format:
    """The format of the predictions: as asked for, by the ending of the output's name, or that of the input."""
    formats: dict[str, Format] = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl"}
    if asked:
        return formats[asked]
    ending = target.rstrip("/").rpartition(".")[2].lower()
    if ending in formats:
        return formats[ending]
    kinds = {each.kind for each in files}
    return formats.get(next(iter(kinds)), "parquet") if len(kinds) == 1 else "parquet"


def _rows_per_part(files: Sequence[BatchFile], *, explain: bool) -> int:
    return SLOW_ROWS_PER_PART if explain or all(each.kind in IMAGES for each in files) else ROWS_PER_PART


def _columns(given: str | None, config: Config) -> tuple[str, ...] | None:
    if given is not None:
        return tuple(each.strip() for each in given.split(",") if each.strip())
    return None if config.batch.columns == ("*",) else config.batch.columns


def text_rules(of_version: TextRules | None, given: Batch) -> TextRules:
    """How text files are read: as `[batch]` sets it, else as the files of the version's dataset.

    Raises ConfigError for what does not go together."""
    said = {each.name: getattr(given, each.name) for each in fields(TextRules)}
    rules = replace(of_version or TextRules(), **{name: value for name, value in said.items() if value is not None})
    hint = "correct one of them; what [batch] does not name is as in the version's dataset"
    if rules.thousands == rules.decimal:
        raise ConfigError(f"[batch] thousands: {rules.thousands!r} is [batch] decimal, too", hint=hint)
    if len(rules.quote) > 1 or not rules.quote.isascii():
        raise ConfigError(f"[batch] quote: {rules.quote!r} is not one character", hint='leave it out, or "" for none')
    if rules.comment and rules.comment.startswith((rules.delimiter or ",", rules.quote or ",")):
        raise ConfigError(f"[batch] comment: a row, too, may begin with {rules.comment!r}", hint='write e.g. "#"')
    return rules


def in_words(rules: TextRules) -> str:
    """What differs from a plain CSV, as `[batch]` has it."""
    plain = TextRules()
    return ", ".join(
        f"{each.name} = {json.dumps(value, ensure_ascii=False)}"
        for each in fields(TextRules)
        if (value := getattr(rules, each.name)) != getattr(plain, each.name)
    )


def _must_be_apart(found: Found, target: Path) -> None:
    """Predictions inside the input would be input of the next run."""
    for each in found.paths:
        path = Path(each)
        root = path if path.is_dir() else path.parent
        if target == path or (target.is_relative_to(root) and (path.is_dir() or len(found.paths) > 1)):
            raise ConfigError(f"--output {target} is inside --input", hint="name a folder elsewhere")


def _print(args: argparse.Namespace, what: str, where: str, shard: Shard, manifest: Manifest | None) -> None:
    rows = sum(each.rows for each in shard.parts)
    predicted, rejected = (sum(getattr(each, name) for each in shard.parts) for name in ("predicted", "rejected"))
    facts: dict[str, Any] = {
        "output": where, "shard": shard.shard, "rows": rows, "predicted": predicted, "rejected": rejected,
        "seconds": shard.seconds, "peak_mb": shard.peak_mb, "complete": manifest is not None,
    }  # fmt: skip
    if args.json:
        print(json.dumps(facts))
        return
    mine = f"shard {args.shard}: " if args.shard != "1/1" else ""
    print(f"{mine}{what}: {rows:,} rows, {predicted:,} predicted, {rejected:,} rejected, in {duration(shard.seconds)}")
    if rejected:
        print(f"  {where}/{records.REJECTS if manifest is None else records.REJECTED} says which rows, and why")
    if manifest is None:
        print("  other shards are not complete; the last one completes the whole")
        return
    count = len([each for each in manifest.parts if each.name])
    print(f"  {where}/{records.PREDICTIONS}: {count} file{'' if count == 1 else 's'}")
    if args.shard != "1/1":
        print(f"  all shards are complete: {manifest.rows:,} rows, {manifest.rejected:,} rejected")
