"""`trainyard runs list|show|log|prune`: what earlier runs did, and what they have left on the disk."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.commands.of_models import for_each, must_name
from pipelines.config.schema import Config
from pipelines.mail.statements import started_by
from pipelines.old_runs import Known, Removal, known, removals, remove, size
from pipelines.text.duration import duration
from pipelines.text.markup import Block, Paragraph, Section, Table, to_text
from pipelines.text.sizes import bytes_text
from registry.errors import ConfigError

NEWEST = 20  # runs that `list` shows without --all
LOG = "worker.log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=("list", "show", "log", "prune"),
        help="the runs; the steps of one; what a worker of one has printed; remove what [keep] does not keep",
    )
    parser.add_argument(
        "run", nargs="?", default="", help="for show and log: its id, or the first characters; default: the newest"
    )
    parser.add_argument("step", nargs="?", default="", help="for log: which step; default: the one that ran last")
    parser.add_argument("--all", action="store_true", help=f"for list: all runs, not only the newest {NEWEST}")
    parser.add_argument("--dry-run", action="store_true", help="for prune: only show what would be removed")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was asked for."""
    if args.action == "prune":
        show_removed(list(_carried_out(config, dry_run=args.dry_run)), dry_run=args.dry_run, as_json=args.json)
        return 0
    found = known(config.runs)
    if args.action == "list":
        _list(config.model, found if args.all else found[:NEWEST], len(found), as_json=args.json)
        return 0
    one = _one(found, args.run)
    if args.action == "show":
        _show(one, as_json=args.json)
    else:
        _log(one, args.step)
    return 0


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """List or prune those of one model after the other."""
    if args.action in {"show", "log"}:
        must_name(configs)
    return for_each(main, args, configs)


def _carried_out(config: Config, *, dry_run: bool) -> Iterator[Removal]:
    for each in removals(config.runs, config.keep):
        if not dry_run:
            remove(each)
        yield each


def show_removed(gone: list[Removal], *, dry_run: bool, as_json: bool) -> None:
    """What was removed, or would be."""
    freed = sum(each.bytes for each in gone)
    if as_json:
        facts = [{"run": each.run, "whole": each.whole, "bytes": each.bytes} for each in gone]
        print(json.dumps({"dry_run": dry_run, "bytes": freed, "runs": facts}))
        return
    rows = [
        (each.run, "all of it" if each.whole else "checkouts, data, weights", bytes_text(each.bytes)) for each in gone
    ]
    if rows:
        print(to_text("runs", [Section("", (Table(("run", "what", "size"), tuple(rows)),))]), end="")
    print(f"{'would free' if dry_run else 'freed'} {bytes_text(freed)}")


def _one(found: list[Known], name: str) -> Known:
    chosen = [each for each in found if each.run.id.startswith(name)]
    if not found:
        raise ConfigError("there is no run yet", hint="a push starts one, or `trainyard run code`")
    if not chosen:
        raise ConfigError(f"there is no run {name!r}", hint="`trainyard runs list --all` shows them")
    if name and len(chosen) > 1 and chosen[0].run.id != name:
        raise ConfigError(
            f"{name!r} begins {len(chosen)} runs: {', '.join(each.run.id for each in chosen[:5])}",
            hint="write more of it",
        )
    return chosen[0]


def _list(model: str, chosen: list[Known], of: int, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_facts(each) for each in chosen]))
        return
    rows = []
    for each in chosen:
        note = f"{each.last.step}: {each.last.note}" if each.last else ""
        rows.append(
            (
                each.run.id,
                each.run.created_at,
                each.run.trigger,
                each.state,
                bytes_text(size(each.folder.root)),
                note[:70],
            )
        )
    table = Table(("run", "began", "push to", "ended", "size", "decided by"), tuple(rows))
    blocks: tuple[Block, ...] = (table,) if rows else (Paragraph("no run yet"),)
    if len(chosen) < of:
        blocks += (Paragraph(f"the newest {len(chosen)} of {of}; --all shows all"),)
    print(to_text(model, [Section("", blocks)]), end="")


def _facts(one: Known) -> dict[str, object]:
    run = one.run
    return {
        "run": run.id, "folder": str(one.folder.root), "began": run.created_at, "trigger": run.trigger, "state": one.state,
        "commits": {name: getattr(run.sources, name) for name in ("code", "dataset", "tests")},
        "bytes": size(one.folder.root),
        "steps": [
            {"step": each.step, "outcome": each.outcome, "seconds": each.seconds, "note": each.note, "hint": each.hint}
            for each in one.folder.records()
        ],
        "report": _report(one),
    }  # fmt: skip


def _report(one: Known) -> str | None:
    page = one.folder.root / "report" / "index.html"
    return str(page) if page.exists() else None


def _show(one: Known, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_facts(one)))
        return
    run, records = one.run, one.folder.records()
    about = [("began", run.created_at), ("started by", started_by(run)), ("state", one.state)]
    about += [(name, getattr(run.sources, name)) for name in ("code", "dataset", "tests")]
    about += [("folder", str(one.folder.root)), *(("report", page) for page in (_report(one),) if page)]
    steps = tuple((each.step, each.outcome, duration(each.seconds), each.note) for each in records)
    sections = [
        Section("", (Table(("what", "value"), tuple(about)),)),
        Section("Steps", (Table(("step", "ended", "time", "note"), steps),)),
    ]
    if one.last and one.last.hint:
        sections.append(Section("", (Paragraph(f"hint: {one.last.hint}"),)))
    print(to_text(f"run {run.id}", sections), end="")


def _log(one: Known, step: str) -> None:
    """The log as the worker wrote it, without what could move a terminal's cursor."""
    logs = {
        str(path.parent.relative_to(one.folder.root)): path
        for path in one.folder.root.rglob(LOG)
        if path.is_file() and not path.is_symlink()
    }
    if not logs:
        raise ConfigError(
            f"run {one.run.id} has no log: no worker was started",
            hint=f"`trainyard runs show {one.run.id}` shows its steps",
        )
    newest: Path = max(logs.values(), key=lambda path: path.stat().st_mtime)
    chosen = logs.get(step) if step else newest
    if chosen is None:
        raise ConfigError(f"run {one.run.id} has no log of {step!r}", hint=f"it has: {', '.join(sorted(logs))}")
    with chosen.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            sys.stdout.write("".join(each for each in line.rstrip("\r\n") if each == "\t" or each.isprintable()) + "\n")
