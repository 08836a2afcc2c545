"""The notice about what `[monitoring] auto_promote` came to: which version the monitor has promoted, or why it has not."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.command_line import command_line
from pipelines.config.schema import Config
from pipelines.monitor import words
from pipelines.monitor.decide import stamp
from pipelines.monitor.retrain import NOT_PROMOTED, PROMOTED, promotion
from pipelines.monitor.state import Asked, Channel, Item, ItemKind, Notification
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.text.markup import Block, Box, Code, Paragraph, Section, Table
from registry.records.monitoring import Alarm, Window


def notice_of(asked: Asked, alarm: Alarm, now: str, *, webhook: bool) -> Notification:
    """One notice for a retraining; `alarm` has the sentence about its promotion."""
    kind: ItemKind = "promoted" if promotion(alarm).startswith(PROMOTED) else "not promoted"
    item = Item(kind, asked.number, alarm, alarm.check)
    window = Window(alarm.model, alarm.version, alarm.release, alarm.since, alarm.raised, alarm.check.rows)
    channels: tuple[Channel, ...] = ("mail", "webhook") if webhook else ("mail",)
    return Notification(f"{stamp(alarm.raised, alarm.release)}-{asked.run}", now, window, (item,), channels)


def sections(config: Config, notice: Notification) -> Iterator[Section]:
    """The mail's."""
    (item,) = notice.items
    said = promotion(item.alarm).removeprefix(PROMOTED).removeprefix(NOT_PROMOTED).strip()
    details = (f"{words.upper(clean(said, 1000))}.",)
    box = (
        Box("good", "The monitor has promoted a version without a person, as [monitoring] auto_promote says.", details)
        if item.kind == "promoted"
        else Box("bad", "The monitor has not promoted what its retraining has made.", details)
    )
    after = f"It followed an alarm: {words.headline(item.check)}, {words.since(item.alarm)}."
    yield Section("", (box, Paragraph(after), Paragraph(words.in_a_sentence(item.check))))
    yield Section("What to do now", tuple(_to_do(config, item)))
    rows = [("alarm", str(item.number)), ("run", item.alarm.run), ("at", metrics.moment(notice.at))]
    yield Section("For the record", (Table(("what", "value"), tuple(rows)),))


def _to_do(config: Config, item: Item) -> Iterator[Block]:
    if item.kind == "promoted":
        yield Paragraph("Nothing, if you agree. To return to the version before, within seconds:")
        yield Code(command_line(config, "rollback", config.model))
        yield Paragraph("What is live, and why:")
        yield Code(command_line(config, "registry", "history", config.model))
        return
    yield Paragraph(
        f"The mail about run {item.alarm.run} has the command that promotes it, if you decide so. What is live:"
    )
    yield Code(command_line(config, "registry", "history", config.model))
