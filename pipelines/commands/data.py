"""`trainyard data`: files of a dataset that do not lie in git, in the clone of a dataset repository."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipelines.repositories.outside import cleaning, place
from pipelines.repositories.outside.exchange import Exchange, Outcome, Show
from pipelines.repositories.outside.fetch import SETTINGS, store_of
from pipelines.repositories.outside.manifest import NAME
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.working_tree import WorkingTree, known_files
from pipelines.text.clean import clean
from pipelines.text.sizes import bytes_text
from registry.errors import ConfigError

NEEDS_CONFIG = False
SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    actions = ("add", "push", "pull", "status", "gc")
    parser.add_argument("action", choices=actions, help="what to do, in the clone of a dataset repository")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="for add: files and folders")
    parser.add_argument("--all", action="store_true", help="for push: ask the store also for what was pushed before")
    parser.add_argument("--force", action="store_true", help="for pull: discard changes that are nowhere else")
    parser.add_argument(
        "--commits", metavar="REV", action="append", default=[],
        help="for gc: what these commits name is kept; by default what any commit of a branch or tag names",
    )  # fmt: skip
    parser.add_argument("--store", action="store_true", help="for gc: remove from the store, not only from this clone")
    parser.add_argument("--days", type=float, default=14.0, help="for gc --store: what is younger is kept (14)")
    parser.add_argument("--dry-run", action="store_true", help="for gc: only show what would be removed")
    parser.add_argument("--yes", action="store_true", help="for gc --store: do not ask")


def main(args: argparse.Namespace) -> int:
    """Do it in the working tree around the current folder; raises ConfigError, Corrupt or TryAgain."""
    if args.action != "add" and args.paths:
        raise ConfigError(f"data {args.action} takes no path", hint=f"it is about all that {NAME} names")
    tree = WorkingTree(Path.cwd())
    if args.action == "add":
        return _add(tree, args)
    if args.action == "status":
        return _status(tree, args)
    exchange = Exchange(tree, _place(tree, args))
    if args.action == "gc":
        return _gc(exchange, args)
    if args.action == "push":
        if args.all:
            exchange.forget_pushed()
        return _report("sent", exchange.push(_show(args)), exchange.place, args)
    return _report("brought", exchange.pull(_show(args), force=args.force), exchange.place, args)


def _place(tree: WorkingTree, args: argparse.Namespace) -> Place:
    """Where the store is: what a trainyard.toml here or above says, else the repository's own dataset.toml."""
    from pipelines.commands.of_models import chosen_by, load_all, must_name
    from pipelines.config.load import find_config

    try:
        find_config(args.config, os.environ)
    except ConfigError:
        if args.config:
            raise
        return store_of(tree.root / SETTINGS, f"{SETTINGS} [data] store")
    configs = load_all(chosen_by(args).files, args.set)
    stores = {each.repositories.data_store for each in configs}
    if store := stores.pop() if len(stores) == 1 else must_name(configs).repositories.data_store:
        return place.parse(store, {}, "[repositories] data_store")
    return store_of(tree.root / SETTINGS, f"{SETTINGS} [data] store")


def _add(tree: WorkingTree, args: argparse.Namespace) -> int:
    if not args.paths:
        raise ConfigError("data add: no path is given", hint="name files and folders: `trainyard data add images`")
    before, after = tree.add(args.paths)
    new, changed, gone = known_files(before.files, after.files)
    if args.json:
        print(
            json.dumps({"new": new, "changed": changed, "gone": gone, "files": len(after.files), "bytes": after.size})
        )
        return 0
    print(f"{NAME}: {new} new, {changed} changed, {gone} gone; {len(after.files)} files, {bytes_text(after.size)}")
    print("  `trainyard data push` sends them; then commit dataset.lock and .gitignore, and push")
    return 0


def _status(tree: WorkingTree, args: argparse.Namespace) -> int:
    found = tree.status()
    tree.cache.save()
    try:
        unpushed = Exchange(tree, _place(tree, args)).unpushed()
    except ConfigError as error:  # without a store there is a status, too
        unpushed, problem = sorted(tree.manifest.files), f"{error} ({error.hint})"
    else:
        problem = ""
    if args.json:
        print(json.dumps({**asdict(found), "unchanged": len(found.unchanged), "unpushed": unpushed}))
        return 0
    for title, names in (("changed", found.changed), ("missing", found.missing), ("new", found.new)):
        _list(title, names)
    print(f"{len(found.unchanged)} files as in {NAME}, {len(unpushed)} not known to be in the store")
    if problem:
        print(f"  {problem}")
        return 0
    here = set(unpushed) - set(found.missing)
    if here:
        print("  `trainyard data push` sends what the store does not have")
    if found.missing:
        print("  `trainyard data pull` brings what is missing")
    if found.changed or found.new:
        print(f"  `trainyard data add PATH` lists in {NAME} what is changed or new")
    return 0


def _list(title: str, names: Sequence[str]) -> None:
    for each in names[:SHOWN]:
        print(f"{title:<8} {clean(each, 200)}")
    if len(names) > SHOWN:
        print(f"{title:<8} and {len(names) - SHOWN} more: --json has all")


def _gc(exchange: Exchange, args: argparse.Namespace) -> int:
    plan = cleaning.plan(exchange, args.commits, in_store=args.store, days=args.days)
    if args.json:
        print(json.dumps({"dry_run": args.dry_run, **plan.facts}))
    else:
        print(plan.in_words)
    if args.dry_run or not plan.keys:
        return 0
    if args.store and not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError(
                "nobody is here to confirm it", hint="check what is listed with --dry-run, then add --yes"
            )
        if input("Type yes to remove this from the store: ").strip() != "yes":
            print("nothing was removed")
            return 0
    cleaning.remove(exchange, plan)
    if not args.json:
        print(f"removed {len(plan.keys)} objects, {bytes_text(plan.bytes)}")
    return 0


def _report(done: str, outcome: Outcome, where: Place, args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps({**asdict(outcome), "store": str(where)}))
        return 0
    rest = f"; {outcome.files} files are in {NAME}"
    print(f"{done} {outcome.moved} objects, {bytes_text(outcome.bytes)} ({where}){rest}")
    return 0


def _show(args: argparse.Namespace) -> Show:
    def show(done: int, total: int) -> None:
        if not args.json and sys.stderr.isatty():
            print(f"\r{done:,} of {total:,} files", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show
