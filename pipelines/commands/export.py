"""`trainyard export version MODEL N --to FOLDER|s3://…`: a version for somebody who has no Trainyard."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.exports.destination import write_bucket, write_folder
from pipelines.exports.version_export import SUMS, gather
from pipelines.trust import open_registry, store_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("what", choices=("version",), help="one version, with all that is known of it")
    parser.add_argument("model", metavar="MODEL", help="as in the registry")
    parser.add_argument("version", metavar="N", type=int, help="its number")
    parser.add_argument("--to", metavar="FOLDER|s3://BUCKET/PREFIX", required=True, help="empty, or not there yet")


def main(args: argparse.Namespace, config: Config) -> int:
    """Write it, and print by which keys it can be checked."""
    store = open_registry(config, only_look=True)
    export = gather(store, args.model, args.version)
    made = export.made | {SUMS: export.sums}
    if args.to.startswith("s3://"):
        target = args.to
        write_bucket(target, store_options(config.registry, Path(config.home)), made, export.model, SUMS)
    else:
        target = str(Path(args.to).absolute())
        write_folder(Path(target), made, export.model)
    if args.json:
        keys = {"signer": export.signer or None, "registry": export.first_key or None}
        print(json.dumps({"folder": target, "keys": keys, "notes": export.notes}))
        return 0
    print(f"{args.model} version {args.version}: {len(export.made) + len(export.model) + 1} files in {target}")
    for each in export.notes:
        print(f"  note: {each}")
    if key := export.signer or export.first_key:
        print("  who receives it checks it with this; send the fingerprint on another way than the files:")
        print(f"    python verify.py --key {key}")
    return 0
