"""`trainyard export version|prometheus|grafana`: for somebody who has no Trainyard, and for what watches the API."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.exports import grafana, prometheus
from pipelines.exports.destination import write_bucket, write_folder
from pipelines.exports.version_export import SUMS, gather
from pipelines.trust import open_registry, store_options
from registry.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "what",
        choices=("version", "prometheus", "grafana"),
        help="version: one version, with all that is known of it; prometheus: scrape config, recording rules and alerts for"
        " this model's API; grafana: a dashboard",
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="version: as in the registry")
    parser.add_argument("version", metavar="N", type=int, nargs="?", help="version: its number")
    parser.add_argument("--to", metavar="FOLDER|s3://BUCKET/PREFIX", required=True, help="empty, or not there yet")


def main(args: argparse.Namespace, config: Config) -> int:
    """Write it; of a version, print by which keys it can be checked."""
    if args.what == "version":
        if args.model is None or args.version is None:
            raise ConfigError(
                "export version: MODEL and N are missing", hint="trainyard export version MODEL N --to FOLDER"
            )
        return _version(args, config)
    if args.model is not None:
        raise ConfigError(
            f"export {args.what}: {args.model} is one argument too many",
            hint=f"trainyard export {args.what} --to FOLDER",
        )
    if args.to.startswith("s3://"):
        raise ConfigError(f"export {args.what}: --to {args.to} is not a folder", hint="name a folder of this machine")
    made = prometheus.files(config.serving, config.model) if args.what == "prometheus" else grafana.files()
    target = Path(args.to).absolute()
    write_folder(target, made, {})
    if args.json:
        print(json.dumps({"folder": str(target), "files": sorted(made)}))
        return 0
    print(f"{', '.join(sorted(made))} in {target}")
    return 0


def _version(args: argparse.Namespace, config: Config) -> int:
    store = open_registry(config, only_look=True)
    export = gather(store, args.model, args.version)
    made = export.checked
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
    print(f"{args.model} version {args.version}: {len(made) + len(export.model)} files in {target}")
    for each in export.notes:
        print(f"  note: {each}")
    if key := export.signer or export.first_key:
        print("  who receives it checks it with this; send the fingerprint on another way than the files:")
        print(f"    python verify.py --key {key}")
    return 0
