"""`trainyard registry list|show|history|verify`: what the registry knows, and whether it is as it was written."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pipelines.config.schema import Config
from pipelines.text import metrics
from pipelines.text.markup import Block, Bullets, Paragraph, Section, Table, to_text
from registry import candidates, codec, releases
from registry.errors import ConfigError, Corrupt
from registry.records import Acceptance, Candidate, TensorSpec
from registry.stores import Store, open_store
from registry.verify import inspect

NEWEST = 20  # versions that `list` shows without --all
KINDS = {"revert": "automatic revert"}
"""Kinds of release that people call otherwise than the record."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=("list", "show", "history", "verify"),
        help="the versions; one version; the releases; whether every byte is as it was written",
    )
    parser.add_argument("model", nargs="?", help="default: the model of trainyard.toml; for verify: all models")
    parser.add_argument("version", nargs="?", type=int, help="for show; default: the newest")
    parser.add_argument("--all", action="store_true", help=f"for list: all versions, not only the newest {NEWEST}")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was asked for; `verify` ends with 2 when something was altered."""
    store = open_store(config.registry.url)
    known = candidates.models(store)
    if args.model is not None and args.model not in known:
        hint = f"it has: {', '.join(known)}" if known else "nothing was registered yet: run a pipeline first"
        raise ConfigError(f"the registry has no model {args.model!r}", hint=hint)
    if args.action == "verify":
        return _verify(store, args.model, as_json=args.json)
    model = args.model or config.model
    if args.action == "list":
        _list(store, model, None if args.all else NEWEST, as_json=args.json)
    elif args.action == "show":
        version = args.version or candidates.newest(store, model)
        if version is None:
            raise ConfigError(f"{model} has no version yet", hint="run a pipeline first: `trainyard run code`")
        _show(store, model, version, as_json=args.json)
    else:
        _history(store, model, as_json=args.json)
    return 0


def _list(store: Store, model: str, limit: int | None, *, as_json: bool) -> None:
    release = releases.live(store, model)
    chosen = list(islice(candidates.newest_first(store, model), limit))
    rows = [_summary(store, model, version, release.version if release else None) for version in chosen]
    if as_json:
        _print_json(rows)
        return
    head = ("version", "registered", "how", "measured", "tried", "live")
    cells = ([str(row[key]) for key in head[:-1]] for row in rows)
    table = Table(head, tuple((*each, "*" * row["live"]) for each, row in zip(cells, rows, strict=True)))
    blocks: list[Block] = [table] if rows else [Paragraph("no version yet")]
    if len(rows) == limit:
        blocks.append(Paragraph(f"the newest {limit} versions; --all shows all"))
    print(to_text(model, _one(*blocks)), end="")


def _summary(store: Store, model: str, version: int, live: int | None) -> dict[str, Any]:
    card = candidates.manifest(store, model, version)
    trials = candidates.acceptances(store, model, version)
    return {
        "version": version,
        "registered": card.created_at,
        "how": card.how,
        "measured": metrics.short(card.evaluation, card.verdict.policy.metric),
        "tried": "no" if not trials else "accepted" if trials[-1].accepted else "refused",
        "live": version == live,
    }


def _show(store: Store, model: str, version: int, *, as_json: bool) -> None:
    card, digest = candidates.read_manifest(store, model, version)
    trials = candidates.acceptances(store, model, version)
    if as_json:
        tried = [json.loads(codec.to_json(each)) for each in trials]
        _print_json({"card": json.loads(codec.to_json(card)), "sha256": digest, "acceptances": tried})
    else:
        print(to_text(f"{model} version {version}", _sections(card, digest, trials)), end="")


def _sections(card: Candidate, digest: str, trials: Sequence[Acceptance]) -> Iterator[Section]:
    made = [
        ("made", f"{card.how}, {card.created_at}, by run {card.run}"),
        ("from", f"version {card.parent}" if card.parent else "nothing"),
        ("why", card.note),
        *((f"{name} commit", getattr(card.sources, name)) for name in ("code", "dataset", "tests")),
        ("seed", str(card.seed)),
        ("image", card.image or ""),
        ("served", f"{card.served.path}, by {card.served.engine}: {card.served.reason}"),
        ("card", f"SHA-256 {digest}"),
    ]
    head, *rows = (each for each in made if each[1])
    yield Section("", (Table(head, tuple(rows)),))
    metric = card.verdict.policy.metric
    yield Section("Measured", tuple(metrics.blocks(card.evaluation, metric, f"version {card.version}", "release")))
    reasons = card.verdict.reasons or (f"accepted: {metric}, threshold {card.verdict.policy.threshold}",)
    yield Section("Gate", (Bullets(reasons),))
    if trials:
        yield Section(
            "Tried", (Bullets(tuple(f"{each.at} with tests {each.tests[:7]}: {_outcome(each)}" for each in trials)),)
        )
    tensors = [("in", *_tensor(each)) for each in card.signature.inputs]
    tensors += [("out", *_tensor(each)) for each in card.signature.outputs]
    classes = [Paragraph("classes: " + ", ".join(card.signature.classes))] if card.signature.classes else []
    yield Section("Signature", (Table(("", "name", "shape", "dtype"), tuple(tensors)), *classes))
    yield Section(
        "Files", (Table(("SHA-256", "file"), tuple((sha[:12], name) for name, sha in sorted(card.files.items()))),)
    )
    if card.packages:
        yield Section("Packages", (Table(("package", "version"), tuple(sorted(card.packages.items()))),))


def _outcome(trial: Acceptance) -> str:
    return "accepted" if trial.accepted else "refused: " + "; ".join(trial.reasons)


def _tensor(spec: TensorSpec) -> tuple[str, str, str]:
    return spec.name, " x ".join("any" if each is None else str(each) for each in spec.shape), spec.dtype


def _history(store: Store, model: str, *, as_json: bool) -> None:
    approvers = {each.number: each.by for each in releases.approvals(store, model)}
    rows = [
        json.loads(codec.to_json(each)) | {"approved_by": approvers.get(each.approval) if each.approval else None}
        for each in reversed(releases.releases(store, model))
    ]
    if as_json:
        _print_json(rows)
        return
    lines = tuple(
        (
            str(row["number"]),
            KINDS.get(row["kind"], row["kind"]),
            str(row["version"] or "none"),
            row["at"],
            row["by"],
            row["approved_by"] or "",
            row["reason"],
        )
        for row in rows
    )
    table = Table(("release", "kind", "version", "at", "by", "approved by", "reason"), lines)
    print(to_text(f"{model}, the newest release first", _one(table if rows else Paragraph("no release yet"))), end="")


def _verify(store: Store, model: str | None, *, as_json: bool) -> int:
    report = inspect(store, model)
    if as_json:
        _print_json(dataclasses.asdict(report))
    else:
        for each in report.problems:
            print(each)
        for each in report.notes:
            print(f"note: {each}")
        if report.problems:
            print(f"{len(report.problems)} problems: restore these files from a backup; nothing else was harmed")
        elif chosen := [model] if model else candidates.models(store):
            count = sum(len(candidates.versions(store, each)) for each in chosen)
            print(f"every file is as it was written, {count} versions of {', '.join(chosen)}")
        else:
            print("the registry is empty: is it the right one, and is its disk there?")
    return Corrupt.exit_code if report.problems else 0


def _one(*blocks: Block) -> list[Section]:
    return [Section("", blocks)]


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))
