"""`trainyard labels import|export|show`: labels from files and into files, and how many there are."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipelines.commands.promote import who
from pipelines.config.schema import Config
from pipelines.text.clean import clean
from pipelines.text.markup import Paragraph, Section, Table, to_text
from registry.errors import ConfigError
from registry.label_manifest import TWIN
from registry.label_store import label_file

SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What these actions take, beside `--to`."""
    parser.add_argument("--partial", action="store_true", help="import: leave out what cannot be taken, and say it")
    parser.add_argument("--history", action="store_true", help="export: also labels that later ones overrule")
    parser.add_argument(
        "--since",
        metavar="TIME",
        default="",
        help="export: of answers that were labelled then or later, e.g. 2026-11-30",
    )


def import_file(args: argparse.Namespace, config: Config) -> int:
    """From a file into the store."""
    from pipelines.labels.imports import import_labels

    if not args.given:
        raise ConfigError("labels import: no file", hint="`trainyard labels import FILE`, a .csv, .jsonl or .json file")
    found = import_labels(config, Path(args.given), args.by or who(), partial=args.partial)
    if args.json:
        print(json.dumps(dataclasses.asdict(found)))
        return 0
    refused = f"; {found.refused} could not be taken" if found.refused else ""
    print(f"{config.model}: {found.added} labels added, {found.same} were there already{refused}")
    for each in found.problems:
        print(f"  {clean(each, 300)}")
    return 0


def export(args: argparse.Namespace, config: Config) -> int:
    """From the store into a file."""
    from pipelines.labels.exports import export_labels

    store = label_file(Path(config.home).absolute(), config.model)
    if args.history and args.since:
        raise ConfigError("labels export: --since with --history", hint="one of the two")
    count = export_labels(store, Path(args.to), history=args.history, since=_since(args.since))
    print(
        json.dumps({"labels": count, "file": args.to}) if args.json else f"{config.model}: {count} labels in {args.to}"
    )
    return 0


def show(args: argparse.Namespace, config: Config) -> int:
    """How many there are, of whom, until when, and how often the model was right."""
    from pipelines.labels.summary import summary

    found = summary(config)
    if args.json:
        print(json.dumps(dataclasses.asdict(found)))
        return 0
    counts = found.counts
    if not counts.labels:  # then nothing was left out, either
        print(f"{config.model}: no labels for any of {found.answers} answers")
        return 0
    said = [f"Labels for {counts.rows} answers, until {counts.newest}; the prediction log has {found.answers}."]
    if counts.labels > counts.rows:
        said.append(f"With those that later ones overrule: {counts.labels}.")
    if found.compared and found.error is None:
        said.append(f"The model was right in {found.right} of {found.compared} ({found.right / found.compared:.1%}).")
    elif found.error is not None:
        said.append(f"Answer and label differ by {found.error:.4g} on average, in {found.compared} answers.")
    people = [(clean(name, 60), str(count)) for name, count in counts.by[:SHOWN]]
    if rest := counts.by[SHOWN:]:
        people.append((f"{len(rest)} more", str(sum(count for _, count in rest))))
    table = Table(("by", "labels"), tuple(people))
    sources = Table(("from", "labels"), tuple((name, str(count)) for name, count in counts.sources))
    left_out = [
        Paragraph(f"No sample of the dataset: {each}.") for each in by_reason([each.reason for each in found.unusable])
    ]
    paragraphs = [Paragraph(each) for each in said]
    print(to_text(f"{config.model}: labels", [Section("", (*paragraphs, *left_out, table, sources))]), end="")
    return 0


def by_reason(reasons: Sequence[str]) -> Iterator[str]:
    """How many for which reason, the most first; of what the dataset has already, one place is named for all."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        groups.setdefault(next((each for each in TWIN if reason.startswith(each)), reason), []).append(reason)
    found = sorted(groups.values(), key=lambda each: -len(each))
    for same in found[:SHOWN]:
        yield f"{len(same)}, {clean(same[0], 200)}{', and others' if len({*same}) > 1 else ''}"
    if rest := found[SHOWN:]:
        yield f"{sum(map(len, rest))} more, for other reasons: --json has all of them"


def _since(text: str) -> str:
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
        return f"{(found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError):
        raise ConfigError(f"--since: {text!r} is not a time", hint="e.g. 2026-11-30T12:00+01:00") from None
