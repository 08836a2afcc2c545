"""Findings as people read them: what failed, since when, and what to do. Mail, report and console share them.

How sure a finding is, is part of its reason, which the worker writes where the numbers are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pipelines.command_line import command_line
from pipelines.config.schema import Config
from pipelines.monitor.state import Item, moment
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.text.markup import Block, Code, Paragraph
from registry.records.monitoring import Alarm, Check, Window

KINDS = {"drift": "drift", "decay": "quality", "service": "the API"}
"""What a kind of check is about."""
ENDS = {"raised": "ALARM", "reminder": "still", "over": "over", "brief": "came and went"}
FOLLOWED = {"promoted": "PROMOTED by the monitor", "not promoted": "not promoted by the monitor"}
SILENCE_FOR = timedelta(days=7)
"""The end of the silence that is offered."""


def headline(check: Check) -> str:
    """What failed, in one short line: `drift of inputs.mass: distribution`."""
    if check.kind == "drift":
        return f"drift of {clean(check.column, 80) or 'all columns'}: {check.what}"
    return f"{KINDS[check.kind]}: {check.what}"


def in_a_sentence(check: Check) -> str:
    """The reason, as a sentence: what changed, from what, by how much, and how likely that is by chance."""
    text = clean(check.reason)
    is_word = check.what == "accuracy" or " " in check.what
    name = clean(check.column) or ("" if is_word else check.what)  # `mae is 3.2`: names stay as they are written
    if not name or not text.startswith(name):
        text = upper(text)
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def upper(text: str) -> str:
    """The text with a capital first letter."""
    return f"{text[:1].upper()}{text[1:]}"


def known(value: float | None) -> bool:
    """Whether a record has a number there."""
    return value is not None and math.isfinite(value)


def since(alarm: Alarm) -> str:
    """When it began, and when it was over."""
    said = f"since {metrics.moment(alarm.since)}"
    return f"{said}, over at {metrics.moment(alarm.over)}" if alarm.over else said


def window_text(window: Window) -> str:
    """Which predictions were looked at."""
    start, end = moment(window.since), metrics.moment(window.until)
    end = end.rpartition(", ")[2] if start.date() == moment(window.until).date() else end
    said = f"release {window.release} (version {window.version}), {metrics.moment(window.since)} to {end}"
    said += f": {window.rows:,} predictions"
    said += f", {window.labelled:,} of them with a label" if window.labelled else ", none with a label yet"
    said += f"; {window.refused:,} requests failed" if window.refused else ""
    said += f"; {window.others:,} that other releases answered are not among them" if window.others else ""
    return said + (f"; {window.left_out:,} lines of the log cannot be read" if window.left_out else "")


def subject(model: str, items: Sequence[Item]) -> str:
    """Of a mail: the worst first."""
    order = {"raised": 0, "reminder": 1, "brief": 2, "over": 3}
    if items[0].kind in FOLLOWED:
        return f"[{model}] {FOLLOWED[items[0].kind]} after {headline(items[0].check)}"
    first = min(items, key=lambda each: (order[each.kind], each.number))
    said = f"[{model}] {ENDS[first.kind]}: {headline(first.check)}"
    return f"{said} (and {len(items) - 1} more)" if len(items) > 1 else said


def to_do(config: Config, alarms: Sequence[Alarm], at: datetime) -> Iterator[Block]:
    """What helps, with commands that can be copied."""
    kinds = {each.check.kind for each in alarms}
    if "service" in kinds:
        yield Paragraph("What the API does, and why a server process does not answer:")
        yield Code(command_line(config, "serve", config.model, "--status"))
    if "drift" in kinds:
        yield Paragraph(
            "Has something before the model changed: a device, a unit, a default, a client? Then correct that first. If the "
            "world has changed, the model needs data that shows it: add it to the dataset repository and push."
        )
    if "decay" in kinds:
        if not any(each.run for each in alarms):
            yield Paragraph("If the newest data has what is new, train on it; the gate decides whether that is better:")
            yield Code(command_line(config, "run", "dataset", "--force", "--reason", _reason(alarms)))
        if any(each.release > 1 for each in alarms):
            yield Paragraph("If the release before was better, return to it within seconds:")
            yield Code(command_line(config, "rollback", config.model))
    yield Paragraph("All that was found, in words:")
    yield Code(command_line(config, "monitor", "show"))
    until = f"{at + SILENCE_FOR:%Y-%m-%d}"
    yield Paragraph(
        f"If this is expected, no more mails about {'it' if len(alarms) == 1 else 'the first'} until {until}:"
    )
    yield Code(silence_command(config, alarms[0].cause, until))


def silence_command(config: Config, cause: str, until: str) -> str:
    """As a person can copy it."""
    return command_line(config, "monitor", "silence", clean(cause), "--until", until, "--reason", "expected")


def _reason(alarms: Sequence[Alarm]) -> str:
    return clean(f"monitor: {', '.join(each.cause for each in alarms)}", 200)


def days(start: str, end: str) -> str:
    """How long something lasts, for a reminder."""
    hours = (moment(end) - moment(start)) / timedelta(hours=1)
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{max(hours, 0):.0f} hours"
