"""`trainyard clean`: remove what `[keep]` and `[cache]` do not keep, of every kind: runs, mails, shared data."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.old_runs import removals, remove, size
from pipelines.reproduction.scratch import abandoned
from pipelines.reuse.bound import over_bound, remove_entry
from pipelines.text.markup import Section, Table, to_text
from pipelines.text.sizes import bytes_text

DAY = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--dry-run", action="store_true", help="only show what would be removed")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was removed of each kind, or would be."""
    rows = [each(config, dry_run=args.dry_run) for each in (_runs, _mails, _shared, _reproductions)]
    freed = sum(each[2] for each in rows)
    if args.json:
        kinds = [{"kind": kind, "count": count, "bytes": each} for kind, count, each in rows]
        print(json.dumps({"dry_run": args.dry_run, "bytes": freed, "kinds": kinds}))
        return 0
    lines = tuple((kind, str(count), bytes_text(each)) for kind, count, each in rows)
    title = "would be removed" if args.dry_run else "removed"
    print(to_text(title, [Section("", (Table(("what", "how many", "size"), lines, numbers=True),))]), end="")
    print(
        f"{'would free' if args.dry_run else 'freed'} {bytes_text(freed)}; container images: `trainyard images prune`"
    )
    return 0


def _runs(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    found = list(removals(config.runs, config.keep))
    for each in () if dry_run else found:
        remove(each)
    return "runs, or their data and weights", len(found), sum(each.bytes for each in found)


def _mails(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    found = dict(_old_mails(Path(config.home) / "outbox" / "sent", config.keep.mail_days))
    for each in () if dry_run else found:
        each.unlink(missing_ok=True)
    return "mails that were sent", len(found), sum(found.values())


def _shared(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    found = over_bound(config.cache)
    for each in () if dry_run else found:
        remove_entry(each)
    return "prepared data shared with other machines", len(found), sum(each.bytes for each in found)


def _reproductions(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    found = {each: size(each) for each in abandoned(Path(config.home))}
    for each in () if dry_run else found:
        shutil.rmtree(each, ignore_errors=True)
    return "reproductions that were killed", len(found), sum(found.values())


def _old_mails(folder: Path, days: int) -> Iterator[tuple[Path, int]]:
    """Each with its size in bytes; one that another process has just removed is left out."""
    for each in folder.glob("*.eml"):
        with contextlib.suppress(FileNotFoundError):
            info = each.stat()
            if info.st_mtime < time.time() - days * DAY:
                yield each, info.st_size
