"""`trainyard registry archive|restore MODEL VERSION`: the bytes of a version go to another store, and come back."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime

from pipelines.commands.promote import who
from pipelines.config.schema import Config
from pipelines.trust import open_registry, open_unsigned
from registry import candidates, releases
from registry.archived import archived
from registry.archiving import Who, archive, restore, why_protected
from registry.errors import ConfigError
from registry.records import utc_now
from registry.stores import Store, url_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the archive is, if not where the settings, or the record, say."""
    parser.add_argument(
        "--archive",
        metavar="URL",
        default="",
        help="for archive and restore: a folder, file://… or s3://bucket/prefix; default: [registry] archive, for restore "
        "where the version was moved to",
    )
    parser.add_argument("--dry-run", action="store_true", help="for archive: only say whether the version may be moved")


def main(args: argparse.Namespace, config: Config, version: int | None) -> int:
    """Print what was done."""
    if not args.model or version is None:
        raise ConfigError(f"registry {args.action}: names a model and the number of a version", hint=EXAMPLE)
    store = open_registry(config, only_look=args.dry_run)
    given = url_of(args.archive)
    known = archived(store, args.model).get(version)
    if args.action == "restore":
        url = given or (known.url if known else config.registry.archive or config.registry.url)
        made = restore(store, _open(config, url), url, (args.model, version), _who(args))
    else:
        url = given or (known.url if known else config.registry.archive)
        _must_be_apart(config, url)
        if args.dry_run:
            return _dry_run(args, config, store, version)
        wanted = (args.model, version)
        made = archive(store, _open(config, url), url, wanted, _who(args), lambda: _protected(store, config, *wanted))
    if args.json:
        said = {"model": made.model, "version": made.version, "kind": made.kind, "url": url, "files": made.files}
        print(json.dumps(said))
    elif made.kind == "archived":
        print(
            f"{made.model} version {made.version}: {len(made.files)} files are in {url}, and no longer in the registry"
        )
        print(f"  `trainyard registry restore {made.model} {made.version}` brings them back")
    else:
        print(
            f"{made.model} version {made.version}: {len(made.files)} files are in the registry again, and stay in {url}, too"
        )
    return 0


EXAMPLE = "`trainyard registry archive digits 3`; `trainyard registry list` shows the versions"


def _dry_run(args: argparse.Namespace, config: Config, store: Store, version: int) -> int:
    reasons = list(_protected(store, config, args.model, version))
    if args.json:
        print(json.dumps({"model": args.model, "version": version, "stays": reasons}))
    else:
        print(f"{args.model} version {version}: {'stays: ' + '; '.join(reasons) if reasons else 'may be archived'}")
    return 0


def _protected(store: Store, config: Config, model: str, version: int) -> list[str]:
    manifest = candidates.manifest(store, model, version)
    history = releases.releases(store, model)
    return list(why_protected(manifest, history, datetime.now(UTC), config.registry.archive_days))


def _who(args: argparse.Namespace) -> Who:
    return Who(args.by or who(), utc_now(), args.reason)


def _must_be_apart(config: Config, url: str) -> None:
    registry = config.registry.url.rstrip("/")
    if not url:
        raise ConfigError("it is not known where to", hint="set [registry] archive, or add --archive URL")
    inside = f"{url.rstrip('/')}/".startswith(f"{registry}/") or f"{registry}/".startswith(f"{url.rstrip('/')}/")
    if inside:
        raise ConfigError(
            f"{url} and the registry, {registry}, are in each other", hint="name another folder or prefix"
        )


def _open(config: Config, url: str) -> Store:
    return open_unsigned(replace(config, registry=replace(config.registry, url=url)))
