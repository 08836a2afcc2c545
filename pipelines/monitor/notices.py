"""Notices: one mail, and one JSON document for the webhook, for all that a call of the monitor has to report."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from pipelines.config.schema import Config
from pipelines.mail.compose import Addresses, write
from pipelines.monitor import promotion_notice, words
from pipelines.monitor.retrain import promotion, sentence
from pipelines.monitor.state import Item, Notification, moment
from pipelines.report_address import shown_at
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.text.markup import Block, Box, Bullets, Paragraph, Section, Table
from registry.records.monitoring import Alarm, Check

MOST = 30
"""Causes that a mail has in full."""


def compose(config: Config, notice: Notification, report: Path) -> EmailMessage:
    """The mail to the owners; the same notification has the same Message-ID. Raises ConfigError for an address in `[mail]`
    that is not one."""
    title = f"{config.model}: {_title(notice)}"
    return write(
        Addresses.of(config.mail),
        words.subject(config.model, notice.items),
        f"{config.model}.monitor.{notice.id}",
        title,
        list(_sections(config, notice, report)),
    )


def _title(notice: Notification) -> str:
    if followed := words.FOLLOWED.get(notice.items[0].kind):
        return followed
    count = {kind: sum(each.kind == kind for each in notice.items) for kind in words.ENDS}
    parts = [f"{count['raised']} new alarm{'s' if count['raised'] > 1 else ''}"] if count["raised"] else []
    lasting = count["reminder"]
    parts += [f"{lasting} alarm{'s' if lasting > 1 else ''} still open"] if lasting else []
    ended = count["over"] + count["brief"]
    parts += [f"{ended} over"] if ended else []
    return ", ".join(parts)


def _sections(config: Config, notice: Notification, report: Path) -> Iterator[Section]:
    if notice.items[0].kind in words.FOLLOWED:
        yield from promotion_notice.sections(config, notice)
        return
    lasting = [each for each in notice.items if each.kind in {"raised", "reminder"}]
    ended = [each for each in notice.items if each not in lasting]
    blocks: list[Block] = []
    for each in lasting[:MOST]:
        blocks += _item(each, notice.at)
    if others := lasting[MOST:]:
        blocks.append(Bullets(tuple(f"`{each.alarm.cause}`" for each in others)))
    if ended:
        blocks.append(Box("good", "Over: the newest window passed these checks.", tuple(map(_ended, ended[:MOST]))))
    blocks.append(Paragraph(f"Looked at: {words.window_text(notice.window)}."))
    yield Section("", tuple(blocks))
    if lasting:
        alarms = [each.alarm for each in lasting]
        yield Section("What to do now", tuple(words.to_do(config, alarms, moment(notice.at))))
    else:
        yield Section("What to do now", (Paragraph("Nothing."),))
    rows = [("alarm", ", ".join(str(each.number) for each in notice.items)), ("report", shown_at(config, report))]
    window = notice.window
    rows += [("release", f"{window.release}, version {window.version}"), ("found at", metrics.moment(notice.at))]
    yield Section("For the record", (Table(("what", "value"), tuple(rows)),))


def _item(item: Item, at: str) -> Iterator[Block]:
    alarm, check = item.alarm, item.check
    head = words.headline(check)
    if item.kind == "reminder":
        head = f"Still open after {words.days(alarm.since, at)}: {head}"
    details = [words.in_a_sentence(check), f"{words.upper(words.since(alarm))}."]
    if check.kind != "service":
        details.append(f"It is called `{clean(alarm.cause, 120)}`.")
    if followed := sentence(alarm):
        details.append(f"{words.upper(clean(followed))}.")
    if followed := promotion(alarm):
        details.append(f"{words.upper(clean(followed))}.")
    yield Box("bad", head, tuple(each for each in details if each))


def _ended(item: Item) -> str:
    alarm = item.alarm
    came = "Came and went while several windows were looked at: " if item.kind == "brief" else ""
    return f"{came}{words.headline(item.check)}, from {metrics.moment(alarm.since)} to {metrics.moment(alarm.over)}"


def document(config: Config, notice: Notification) -> dict[str, Any]:
    """What the webhook gets: plain JSON, one document per notification, whose `id` says whether it came before."""
    window = notice.window
    return {
        "schema": 1,
        "id": f"{config.model}.monitor.{notice.id}",
        "model": config.model,
        "at": notice.at,
        "version": window.version,
        "release": window.release,
        "window": {"since": window.since, "until": window.until, "rows": window.rows, "labelled": window.labelled},
        "text": words.subject(config.model, notice.items),
        "notices": [_as_json(each) for each in notice.items],
    }


def _as_json(item: Item) -> dict[str, Any]:
    alarm: Alarm = item.alarm
    check: Check = item.check
    numbers = {
        name: getattr(check, name) for name in ("statistic", "threshold", "p", "effect", "then", "now", "low", "high")
    }
    return {
        "kind": item.kind,
        "cause": alarm.cause,
        "alarm": item.number,
        "since": alarm.since,
        "over": alarm.over,
        "run": alarm.run,
        "retraining": sentence(alarm),
        "promotion": promotion(alarm),
        "what": words.headline(check),
        "reason": words.in_a_sentence(check),
        "check": {"kind": check.kind, "what": check.what, "column": check.column, "rows": check.rows}
        | {name: value if words.known(value) else None for name, value in numbers.items()},
    }
