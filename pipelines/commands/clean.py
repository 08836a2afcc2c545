"""`trainyard clean`: remove what `[keep]`, `[cache]`, `[runner]`, `[repositories]`, `[prediction_log]`, `[labels]` and `[monitoring]` do not keep,
of every kind: runs, mails, fetched and shared data, predictions and their labels, windows that were checked."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipelines.commands.of_models import for_each
from pipelines.config.schema import Config
from pipelines.deploy.serve_job import log_folder
from pipelines.monitor.store import MonitorStore
from pipelines.old_runs import removals, remove, size
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.reproduction.scratch import abandoned
from pipelines.reuse.bound import over_bound, remove_entry
from pipelines.runners.process.packages import FOLDER, Packages
from pipelines.runners.process.packages import remove as remove_packages
from pipelines.text.markup import Section, Table, to_text
from pipelines.text.sizes import bytes_text
from registry.label_store import LabelStore, label_file
from serving.prediction_log import bounds

DAY = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--dry-run", action="store_true", help="only show what would be removed")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was removed of each kind, or would be."""
    removing = (_runs, _mails, _fetched, _packages, _shared, _reproductions, _predictions, _labels, _windows)
    rows = [each(config, dry_run=args.dry_run) for each in removing]
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


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """The same for one model after the other."""
    return for_each(main, args, configs)


def _runs(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    found = list(removals(config.runs, config.keep))
    for each in () if dry_run else found:
        remove(each)
    return "runs, or their data and weights", len(found), sum(each.bytes for each in found)


def _mails(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    found = dict(_old_mails(config.own_folder / "outbox" / "sent", config.keep.mail_days))
    for each in () if dry_run else found:
        each.unlink(missing_ok=True)
    return "mails that were sent", len(found), sum(found.values())


def _fetched(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    home, bounds = Path(config.home), config.repositories
    stores = {ObjectStore(home / "lfs"): bounds.lfs_mb << 20, ObjectStore(home / "data"): bounds.data_mb << 20}
    found = [each for store, most in stores.items() for each in store.over(most)]
    for path, _size in () if dry_run else found:
        path.unlink(missing_ok=True)
    return "fetched files of datasets that are not in git", len(found), sum(size for _path, size in found)


def _packages(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    found = Packages(Path(config.home) / "cache" / FOLDER, config.runner.packages_mb, 0.0).over()
    for each in () if dry_run else found:
        remove_packages(each)
    return "packages of requirements.txt", len(found), sum(each.bytes for each in found)


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


def _predictions(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    log, folder = config.prediction_log, log_folder(config)
    found = bounds.to_remove(list(bounds.files(folder)), log.keep_days, log.max_mb << 20, datetime.now(UTC))
    for each in () if dry_run else found:
        bounds.remove(each.path)
    return "files of the prediction log", len(found), sum(each.bytes for each in found)


def _windows(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    store = MonitorStore(config)
    found = {each: each.stat().st_size for each in store.over_bound()}
    for each in () if dry_run else found:
        each.unlink(missing_ok=True)
    return "windows and alarms of the monitor", len(found), sum(found.values())


def _labels(config: Config, *, dry_run: bool) -> tuple[str, int, int]:
    """They leave no smaller file behind: others take their place."""
    store, days = LabelStore.existing(label_file(Path(config.home), config.model)), config.labels.keep_days
    if store is None:
        return "labels", 0, 0
    with store:
        return "labels", store.old(days) if dry_run else store.remove_old(days, "trainyard clean"), 0


def _old_mails(folder: Path, days: int) -> Iterator[tuple[Path, int]]:
    """Each with its size in bytes; one that another process has just removed is left out."""
    for each in folder.glob("*.eml"):
        with contextlib.suppress(FileNotFoundError):
            info = each.stat()
            if info.st_mtime < time.time() - days * DAY:
                yield each, info.st_size
