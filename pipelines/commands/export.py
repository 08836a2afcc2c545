"""`trainyard export version MODEL N --to FOLDER`: a version for somebody who has no Trainyard."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.exports.destination import write_folder
from pipelines.exports.version_export import gather
from pipelines.trust import open_registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("what", choices=("version",), help="one version, with all that is known of it")
    parser.add_argument("model", metavar="MODEL", help="as in the registry")
    parser.add_argument("version", metavar="N", type=int, help="its number")
    parser.add_argument("--to", metavar="FOLDER", required=True, help="empty, or not there yet")


def main(args: argparse.Namespace, config: Config) -> int:
    """Write it, and print by which keys it can be checked."""
    store = open_registry(config, only_look=True)
    export = gather(store, args.model, args.version)
    target = Path(args.to)
    write_folder(target, export.made | {"SHA256SUMS": export.sums}, export.model)
    if args.json:
        keys = {"signer": export.signer or None, "registry": export.first_key or None}
        print(json.dumps({"folder": str(target.absolute()), "keys": keys, "notes": export.notes}))
        return 0
    print(
        f"{args.model} version {args.version}: {len(export.made) + len(export.model) + 1} files in {target.absolute()}"
    )
    for each in export.notes:
        print(f"  note: {each}")
    if key := export.signer or export.first_key:
        print("  who receives it checks it with this; send the fingerprint on another way than the files:")
        print(f"    python verify.py --key {key}")
    return 0
