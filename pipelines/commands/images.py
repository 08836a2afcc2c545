"""`trainyard images build|list|prune`: the container images that workers and the API run in. Needs no trainyard.toml."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from pipelines.container_images import catalog, prune
from pipelines.docker_engine import open_engine
from pipelines.text.markup import Paragraph, Section, Table, to_text
from training.worker.protocol import one_line

NEEDS_CONFIG = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=("build", "list", "prune"),
        help="make what is missing for this version of Trainyard; list what is there; remove Trainyard's own that nothing needs any more",
    )
    parser.add_argument(
        "--base",
        metavar="IMAGE",
        default="",
        help=f"build: on this image with Python and venv; default {catalog.PUBLIC_BASE}, else {catalog.OWN_BASE}",
    )
    parser.add_argument(
        "--ca",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="build: trust these certificates while downloading, beside docker/certs/*.crt and PIP_CERT",
    )
    parser.add_argument("--only", choices=catalog.KINDS, help="build: workers' image or the API's, not both")
    parser.add_argument("--dry-run", action="store_true", help="prune: only show what would be removed")


def main(args: argparse.Namespace) -> int:
    """Do what was asked for; progress goes to stderr."""
    engine = open_engine()
    try:
        if args.action == "build":
            kinds = (args.only,) if args.only else catalog.KINDS
            made = catalog.build(engine, kinds, args.base, args.ca, _log)
            found = [each for each in prune.own_images(engine) if each.id in made.values()]
            _show("built", found, as_json=args.json)
        elif args.action == "list":
            _show("images", prune.own_images(engine), as_json=args.json)
        else:
            gone = prune.prune(engine, _log, dry_run=args.dry_run)
            _show("would be removed" if args.dry_run else "removed", gone, as_json=args.json)
    finally:
        engine.close()
    return 0


def _log(line: str) -> None:
    print(one_line(line), file=sys.stderr, flush=True)


def _show(title: str, found: list[prune.Image], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in found], indent=1))
        return
    rows = tuple(
        (each.kind, ", ".join(each.names) or "-", f"{each.size / 1e6:,.0f} MB", each.made, each.id, "*" * each.current)
        for each in found
    )
    table = Table(("what", "name", "size", "made", "digest", "current"), rows)
    print(to_text(title, [Section("", (table if rows else Paragraph("none"),))]), end="")
