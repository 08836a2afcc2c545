"""`trainyard registry copy FROM TO`: a whole registry to another folder or bucket, and verified there."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.key_folder import KeyFolder
from pipelines.trust import open_registry, open_unsigned
from registry.copying import Copied, copy
from registry.errors import ConfigError, Corrupt
from registry.stores import url_of
from registry.verify import inspect

EVERY_SECONDS = 5.0
STORE_SETTINGS = ("endpoint", "region", "profile")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to reach the two ends, where that is not as [registry] says."""
    for side in ("from", "to"):
        for name in STORE_SETTINGS:
            parser.add_argument(
                f"--{side}-{name}",
                metavar="TEXT",
                help=f"for copy: the {name} of that bucket; default: [registry] {name}",
            )


def main(args: argparse.Namespace, config: Config) -> int:
    """Copy and verify; 2 when the copy is not as it was written."""
    if not (args.model and args.version):
        raise ConfigError(
            "registry copy: names the registry to copy, and where to",
            hint="`trainyard registry copy file:///srv/registry s3://bucket/prefix`",
        )
    source, target = (_config(config, url, side, args) for url, side in ((args.model, "from"), (args.version, "to")))
    if source.registry.url == target.registry.url and source.registry.endpoint == target.registry.endpoint:
        raise ConfigError("registry copy: source and target are the same", hint="name another folder or bucket")
    done = copy(open_unsigned(source), open_unsigned(target), _Progress().report)
    _hand_on_what_is_known(source, target)
    report = inspect(open_registry(target, only_look=True))
    if args.json:
        print(json.dumps({**asdict(done), "url": target.registry.url, **asdict(report)}))
    else:
        _print(done, config, target, report.problems)
    return Corrupt.exit_code if report.problems else 0


def _print(done: Copied, config: Config, target: Config, problems: tuple[str, ...]) -> None:
    for each in problems:
        print(each)
    was = f", {done.there} were there" if done.there else ""
    print(f"{done.copied} files and records copied{was}; {target.registry.url} was read again and verified")
    if problems:
        print(
            f"{len(problems)} problems: `trainyard registry verify` says whether the registry that was copied has them, too"
        )
        return
    print("to work on there, set on every machine (the registry that was copied stays as it is):")
    print("[registry]")
    print(f'url = "{target.registry.url}"')
    for name in STORE_SETTINGS if target.registry.url.startswith("s3://") else ():
        if value := getattr(target.registry, name):
            print(f'{name} = "{value}"')
    if config.registry.endpoint and not target.registry.url.startswith("s3://"):
        print("and remove there what is for buckets only (endpoint, region, profile, sse, kms_key, storage_class)")


def _config(config: Config, text: str, side: str, args: argparse.Namespace) -> Config:
    """The config of a controller whose registry is there."""
    url = url_of(text)
    if not url.startswith("s3://"):
        return replace(config, registry=replace(config.registry, url=url))
    given = {name: getattr(args, f"{side}_{name}") for name in STORE_SETTINGS}
    return replace(
        config, registry=replace(config.registry, url=url, **{name: value for name, value in given.items() if value})
    )


def _hand_on_what_is_known(source: Config, target: Config) -> None:
    """What this machine knows of a registry, by which it verifies it, it knows of the copy."""
    keys = KeyFolder(Path(source.home))
    known, other = keys.memory(source.registry.url).read(), keys.memory(target.registry.url)
    if known and other.read() is None:
        other.write(known)


class _Progress:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def report(self, done: int, of: int) -> None:
        if time.monotonic() - self._last > EVERY_SECONDS:
            self._last = time.monotonic()
            print(f"{done} of {of} files and records", file=sys.stderr)
