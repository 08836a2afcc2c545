"""`trainyard lineage`: where a version comes from, and where a file or a sample went."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipelines.commands.of_models import must_name, of_one_registry
from pipelines.config.schema import Config
from pipelines.text.markup import Block, Paragraph, Section, Table, to_text
from pipelines.trust import open_registry
from registry import candidates, lineage
from registry.errors import ConfigError
from registry.files import sha256_file
from registry.lineage import Answer
from registry.stores import Store

OF_REGISTRY = True  # MODEL may be one that only the registry has
SHA256 = re.compile(r"[0-9a-f]{64}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", nargs="?", help="default: the model of trainyard.toml")
    parser.add_argument("version", nargs="?", type=int, help="default: the newest")
    backwards = parser.add_mutually_exclusive_group()
    backwards.add_argument("--file", metavar="PATH", type=Path, help="which versions this file of data went into")
    backwards.add_argument("--data", metavar="SHA256", help="the same, by its SHA-256")
    backwards.add_argument(
        "--row", metavar="KEY", help="which versions the sample, or the group, with this key went into"
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was asked for; raises ConfigError when there is no such model, version or file."""
    store = open_registry(config, only_look=True)
    model = args.model or config.model
    if model not in (known := candidates.models(store)):
        hint = f"it has: {', '.join(known)}" if known else "nothing was registered yet: run a pipeline first"
        raise ConfigError(f"the registry has no model {model!r}", hint=hint)
    if args.file is None and args.data is None and args.row is None:
        _forwards(store, config, model, args)
        return 0
    if args.version is not None:
        raise ConfigError("--file, --data and --row ask about all versions", hint=f"leave out {args.version}")
    if args.row is not None:
        key = sys.stdin.readline().rstrip("\r\n") if args.row == "-" else args.row
        asked, answer = f"row or group {key!r}", lineage.uses_of_key(store, model, key)
    else:
        sha256 = _digest(args)
        asked, answer = f"file {sha256}", lineage.uses_of_file(store, model, sha256)
    _backwards(model, asked, answer, as_json=args.json)
    return 0


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """A model that is named need be known to the registry only."""
    return main(args, of_one_registry(configs) if args.model else must_name(configs))


def _forwards(store: Store, config: Config, model: str, args: argparse.Namespace) -> None:
    from pipelines.lineage import as_json, sections, trace

    version = args.version or candidates.newest(store, model)
    if version is None:
        raise ConfigError(f"{model} has no version yet", hint="run a pipeline first: `trainyard run code`")
    found = trace(store, config, model, version)
    if args.json:
        print(json.dumps(as_json(found), ensure_ascii=False, indent=1))
    else:
        print(to_text(f"{model} version {version}: where it comes from", sections(found)), end="")


def _digest(args: argparse.Namespace) -> str:
    if args.file is None:
        if not SHA256.fullmatch(digest := args.data.lower()):
            raise ConfigError(
                f"--data {args.data!r:.80} is not a SHA-256", hint="64 hexadecimal digits, as `sha256sum FILE` shows"
            )
        return str(digest)
    if not args.file.is_file():
        raise ConfigError(f"{args.file}: there is no such file", hint="name a file of data, or use --data SHA256")
    return sha256_file(args.file)


def _backwards(model: str, asked: str, answer: Answer, *, as_json: bool) -> None:
    if as_json:
        facts = {"model": model, "uses": [asdict(each) for each in answer.uses], "unknown": answer.unknown}
        print(json.dumps(facts, ensure_ascii=False))
        return
    rows = [
        (str(each.version), ", ".join(each.places) or "no", ", ".join(f"version {one}" for one in each.earlier) or "no")
        for each in answer.uses
    ]
    head = ("version", "in its own dataset", "through what it began with")
    blocks: list[Block] = [Table(head, tuple(rows)) if rows else Paragraph("no version is known to have it")]
    if answer.unknown:
        listed = ", ".join(map(str, answer.unknown))
        blocks.append(
            Paragraph(
                f"not known of version {listed}: made before versions kept such lists, or with more samples than "
                "[lineage] row_keys"
            )
        )
    print(to_text(f"{model}: {asked}", [Section("", tuple(blocks))]), end="")
