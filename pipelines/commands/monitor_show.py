"""`trainyard monitor show`: the newest window in words, open alarms, silences."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from pipelines.command_line import command_line
from pipelines.config.schema import Config
from pipelines.monitor import words
from pipelines.monitor.state import Numbered
from pipelines.monitor.store import MonitorStore
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.text.markup import Block, Bullets, Code, Paragraph, Section, Table, to_text
from registry.errors import ConfigError
from registry.records.monitoring import Check, Health, Silence

CHECKS = 40
"""Lines of passed and unknown checks."""


def plain(record: object) -> Any:
    """A record as JSON has it; None stays."""
    from registry.codec import to_json

    return None if record is None else json.loads(to_json(record))


def show(args: argparse.Namespace, config: Config) -> int:
    """The newest window, or `--window`; open alarms, silences, the last windows."""
    if args.last < 1:
        raise ConfigError(f"--last: {args.last} is too few", hint="1 or more")
    store = MonitorStore(config)
    newest = store.find(args.window) if args.window else store.newest()
    state, silences = store.state(), store.silences()
    lasting = tuple(each for each in state.alarms if not each.alarm.over)
    if args.json:
        found = {
            "window": plain(newest),
            "open": [plain(each) for each in lasting],
            "silences": [plain(each) for each in silences],
            "looked": state.looked,
            "windows": store.health_ids()[-args.last :],
        }
        print(json.dumps(found))
        return 0
    if newest is None:
        print(f"{config.model}: no window was checked yet: {command_line(config, 'monitor', '--once')}")
        return 0
    sections = [
        Section("", tuple(_of_window(newest))),
        Section("Open alarms", tuple(_of_alarms(config, lasting, silences))),
    ]
    if not args.window:
        sections.append(Section("Windows, the newest first", (_windows(store, args.last),)))
    print(to_text(f"{config.model}: {_summary(newest, lasting)}", sections), end="")
    if (page := store.folder / "report" / "index.html").exists() and not args.window:
        print(f"\n  report: {page}")
    return 0


def _summary(newest: Health, lasting: tuple[Numbered, ...]) -> str:
    failed = len(newest.failed)
    said = (
        f"{failed} of {len(newest.checks)} checks of this window failed" if failed else "no check of this window failed"
    )
    return f"{said}, {len(lasting)} alarm{'' if len(lasting) == 1 else 's'} open"


def _of_window(health: Health) -> list[Block]:
    blocks: list[Block] = [Paragraph(words.window_text(health.window) + ".")]
    blocks += [Paragraph(f"FAILED {words.headline(each)}. {words.in_a_sentence(each)}") for each in health.failed]
    others = [each for each in health.checks if each.outcome != "failed"]
    if others:
        rows = tuple(_row(each) for each in others[:CHECKS])
        blocks.append(Table(("outcome", "check", "column", "reason"), rows))
    if len(others) > CHECKS:
        blocks.append(Paragraph(f"... and {len(others) - CHECKS} more; `--json` has all"))
    if health.notes:
        blocks.append(Bullets(health.notes))
    return blocks


def _row(check: Check) -> tuple[str, str, str, str]:
    return check.outcome, f"{check.kind} {check.what}", check.column, words.in_a_sentence(check)


def _of_alarms(config: Config, lasting: tuple[Numbered, ...], silences: list[Silence]) -> list[Block]:
    blocks: list[Block] = []
    for each in lasting:
        alarm = each.alarm
        blocks.append(Paragraph(f"`{clean(alarm.cause)}`: {words.headline(alarm.check)}, {words.since(alarm)}"))
        blocks.append(Bullets(alarm.done))
    if lasting:
        blocks += words.to_do(config, [each.alarm for each in lasting], datetime.now(UTC))
    else:
        blocks.append(Paragraph("None."))
    for silence in silences:
        why = f": {silence.reason}" if silence.reason else ""
        text = f"`{clean(silence.cause)}` is silenced until {metrics.moment(silence.until)} by {silence.by}{why}"
        blocks += [Paragraph(text), Code(command_line(config, "monitor", "silence", clean(silence.cause), "--off"))]
    return blocks


def _windows(store: MonitorStore, last: int) -> Table:
    rows = []
    for name in store.health_ids()[-last:][::-1]:
        try:
            health = store.health(name)
        except FileNotFoundError:  # removed by a monitor that runs
            continue
        window = health.window
        counts = [sum(each.outcome == outcome for each in health.checks) for outcome in ("failed", "passed", "unknown")]
        rows.append((name, f"{window.rows:,}", f"{window.labelled:,}", *map(str, counts)))
    return Table(("window", "rows", "labelled", "failed", "passed", "unknown"), tuple(rows), numbers=True)
