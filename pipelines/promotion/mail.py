"""The mail about a release that a person has made although the gate had something against it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from email.message import EmailMessage

from pipelines.command_line import command_line
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.mail.compose import Addresses, write
from pipelines.mail.outbox import deliver, post
from pipelines.text import metrics
from pipelines.text.markup import Box, Code, Paragraph, Section, Table
from registry.errors import PipelineError
from registry.heads import newest
from registry.records import Release
from registry.stores import Store


def mail_although(config: Config, store: Store, release: Release) -> str:
    """Post the mail, once per release, and deliver what waits; gives a line about what became of it. Whatever prevents
    it, the release stays what it is."""
    outbox, to = config.own_folder / "outbox", ", ".join(config.mail.to)
    try:
        files = post(compose(config, release, _head(store, release.model)), outbox)
        delivery = deliver(outbox, config.mail, secret("SMTP_PASSWORD", os.environ))
    except (PipelineError, OSError) as error:
        return f"no mail to {to}: {error}"
    if any((outbox / "sent" / each.name).exists() for each in files):
        return f"mailed {to}"
    return f"mail to {to}: " + ("; ".join(delivery.reasons) or f"it is in {files[0].parent}")


def _head(store: Store, model: str) -> str:
    found = newest(store, model)
    return found.line if found else ""


def compose(config: Config, release: Release, head: str = "") -> EmailMessage:
    """The mail to the product owner; raises ConfigError for an address in `[mail]` that is not one."""
    name = f"version {release.version} of {release.model}"
    return write(
        Addresses.of(config.mail),
        f"[{release.model}] version {release.version} released although: {release.failed[0]}",
        f"{release.model}.although.{release.number}.{release.card:.12}",
        f"A person has released {name} although the gate had something against it",
        list(_sections(release, head, command_line(config, "rollback", release.model))),
    )


def _sections(release: Release, head: str, rollback: str) -> Iterator[Section]:
    yield Section(
        "",
        (
            Box("bad", f"Version {release.version} answers requests now, as release {release.number}.", release.failed),
            Paragraph(f"{release.by} gave this reason: {release.although}"),
        ),
    )
    yield Section(
        "What to do now",
        (
            Paragraph("Nothing, if you agree. To return to the version before, within seconds:"),
            Code(rollback),
        ),
    )
    rows = [("release", str(release.number)), ("released by", release.by), ("at", metrics.moment(release.at))]
    rows.append(("approvals", ", ".join(map(str, release.approvals))))
    if gap := release.compared:
        rows.append(
            ("measured", f"{gap.metric} {metrics.gap(gap)} than version {gap.live_version}, {gap.samples} samples")
        )
    if head:
        rows.append(("registry head", head))
    yield Section("For the record", (Table(("what", "value"), tuple(rows)),))
