"""The mail to the product owner: what changed, is it better, by how much, what to do now.

It is written for a person who is not an engineer; everything an engineer wants comes further down. Plain text and HTML
come from the same blocks (`pipelines.text.markup`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, NamedTuple, cast

from pipelines.config.schema import Mail
from pipelines.gate import recent_in_words
from pipelines.mail.facts import MailFacts
from pipelines.mail.statements import MAX_ITEMS, some, started_by, statement, upper
from pipelines.text import importance, metrics
from pipelines.text.clean import clean
from pipelines.text.duration import duration
from pipelines.text.markup import Block, Box, Bullets, Code, Image, Paragraph, Section, Table, to_html, to_text
from registry.errors import ConfigError
from registry.files import sha256_bytes
from registry.records import Acceptance

MAX_SUBJECT = 140  # characters
MAX_PLOT = 4 << 20  # bytes; mail servers refuse more than 10 MB or so
PNG = b"\x89PNG\r\n\x1a\n"


class Addresses(NamedTuple):
    """From whom a mail is, to whom, and who gets the answers; empty: the sender."""

    sender: str
    to: tuple[str, ...]
    reply_to: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mail) -> Addresses:
        """To the owners."""
        return cls(settings.sender, settings.to, settings.reply_to)


def compose(facts: MailFacts) -> EmailMessage:
    """The mail, ready to be sent; raises ConfigError when an address in `[mail]` is not one.

    The same facts about the same run have the same Message-ID, so that posting them twice sends them once.
    """
    plot = facts.plot if facts.plot.startswith(PNG) and len(facts.plot) <= MAX_PLOT else b""
    cid = f"plot.{_stable_id(facts)}@trainyard" if plot else ""
    title, sections = statement(facts).headline, list(_sections(facts, cid))
    message = write(
        Addresses(facts.sender, facts.to, facts.reply_to), subject(facts), _stable_id(facts), title, sections
    )
    if facts.head:
        message["X-Trainyard-Head"] = facts.head
    if plot:
        page = cast("list[EmailMessage]", message.get_payload())[1]
        page.add_related(plot, "image", "png", cid=f"<{cid}>", filename="holdout.png", disposition="inline")
    return message


def write(addresses: Addresses, subject: str, stable_id: str, title: str, sections: list[Section]) -> EmailMessage:
    """A mail as plain text and HTML, ready to be sent.

    A mail with a `stable_id` that was posted before is not sent again. Raises ConfigError when an address is not one.
    """
    message = EmailMessage(policy=SMTP)
    message["Subject"] = clean(subject, MAX_SUBJECT)
    message["From"] = _addresses("sender", (addresses.sender,))
    message["To"] = _addresses("to", addresses.to)
    if addresses.reply_to:
        message["Reply-To"] = _addresses("reply_to", addresses.reply_to)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{stable_id}@{message['From'].addresses[0].domain}>"
    message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers, please
    text = to_text(title, sections)
    # Plain lines stay as they are in the file, so that a command can be copied from the outbox folder, too.
    bare = text.isascii() and max(map(len, text.splitlines())) < 998
    message.set_content(text, cte="7bit" if bare else "quoted-printable")
    message.add_alternative(to_html(title, sections), subtype="html")
    # A subject that is longer than a line is else folded right behind "Subject:", and readers show the space.
    message.policy = SMTP.clone(max_line_length=MAX_SUBJECT + 20)
    return message


def subject(facts: MailFacts) -> str:
    """The verdict, or an alarm about the live release, in one bounded line."""
    said = statement(facts).subject
    if facts.live_fails:
        other = "" if facts.status == "tested" else f"; {facts.candidate} {facts.status}"
        said = f"ALARM: live {facts.live} fails the tests{other}"
    return clean(f"[{facts.run.model}] {said}", MAX_SUBJECT)


def _addresses(setting: str, texts: tuple[str, ...]) -> str:
    text = ", ".join(texts)
    try:
        probe = EmailMessage()
        probe["To"] = text
        header: Any = probe["To"]
        good = bool(header.addresses) and not header.defects and len(header.addresses) == len(texts)
        good = good and all(each.username and each.domain and each.addr_spec.isascii() for each in header.addresses)
    except (ValueError, IndexError):  # a line break in a header; an address that the parser trips over
        good = False
    if not good:
        raise ConfigError(
            f"[mail] {setting}: {text!r:.200} is not a mail address", hint='write "name@company.example", in ASCII'
        )
    return text


def _stable_id(facts: MailFacts) -> str:
    """One mail per run and verdict; one more when the run failed in another way."""
    other = f".{sha256_bytes(f'{facts.failed_step} {facts.error}'.encode())[:8]}" if facts.status == "failed" else ""
    return f"{facts.run.id}.{facts.status}{other}"


def _sections(facts: MailFacts, cid: str) -> Iterator[Section]:
    yield Section("", tuple(summary(facts)))
    yield Section("What to do now", tuple(_to_do(facts)))
    if facts.evaluation:
        blocks = list(metrics.blocks(facts.evaluation, facts.metric, facts.candidate, facts.live))
        if cid:
            blocks.append(Image(cid, "what the model predicted against what was right, on the holdout"))
        title = "Is it better?" if facts.evaluation.live else "How good is it?"
        yield Section("Is it still good?" if facts.status == "kept" else title, tuple(blocks))
    if facts.evaluation and facts.evaluation.importance:
        found = facts.evaluation.importance
        yield Section("What it looks at", tuple(importance.blocks(found, importance.TOP)))
    tested = _acceptance(facts.candidate, facts.acceptance)
    if facts.live_tested_apart:
        tested += _acceptance(f"live {facts.live}", facts.live_acceptance)[:1]  # the alarm lists what failed
    if tested:
        yield Section("Acceptance tests in a staging instance", tuple(tested))
    if facts.changes:
        yield Section("What changed", tuple(commits(facts, 72, 40)))
    if facts.seconds:
        yield Section("How long it took", (Paragraph(times(facts.seconds)),))
    rows = (
        ("run", facts.run.id),
        *((name, getattr(facts.run.sources, name)) for name in ("code", "dataset", "tests")),
        *facts.places,
        ("registry head", facts.head),
    )
    yield Section("For the record", (Table(("what", "where"), tuple(row for row in rows if row[1])),))


def summary(facts: MailFacts) -> Iterator[Block]:
    """What happened and why, for mail and report; an alarm about the live release comes first."""
    if facts.live_fails and facts.live_acceptance:
        text = f"ALARM: {facts.live}, which answers requests right now, fails the newest tests."
        yield Box("bad", text, some(_failures(facts.live_acceptance)))
        stays = "It keeps answering until a person decides."
        back = f" To return to version {facts.earlier_version} within seconds:" if facts.earlier_version else ""
        yield Paragraph(stays + back)
        if back:
            yield Code(facts.rollback)
    if not (facts.live_fails and facts.status == "tested"):  # then the alarm is the verdict
        yield statement(facts).verdict
    started = f"Started by {started_by(facts.run)}."
    if facts.run.reason:
        started += f" Reason given: {facts.run.reason}"
    yield Paragraph(f"{started} {facts.note}" if facts.note and facts.status != "failed" else started)
    if facts.evaluation:
        yield Paragraph(metrics.in_words(facts.evaluation, facts.metric, facts.candidate, facts.live))
        if facts.verdict and (recent := recent_in_words(facts.evaluation, facts.verdict.policy)):
            yield Paragraph(recent)


def _to_do(facts: MailFacts) -> Iterator[Block]:
    stays = f"{upper(facts.live)} keeps answering requests." if facts.live_version else "Nothing is live yet."
    if facts.command and facts.page:
        yield Paragraph("To read all about it, and to approve it, reject it or ask for changes, open this page:")
        yield Code(facts.page)
    if facts.command:
        until = f", before {metrics.moment(facts.expires_at)}" if facts.expires_at else ""
        yield Paragraph(
            f"{'Or, to' if facts.page else 'To'} promote {facts.candidate} to production, run this on the machine where Trainyard is "
            f"installed{until}:"
        )
        yield Code(facts.command)
        if facts.approvers:
            yield Paragraph(facts.approvers)
        if facts.live_version:
            yield Paragraph(
                f"No request is lost during the change, and if {facts.candidate} does not start, {facts.live} keeps "
                "answering. Later, this returns to the version before within seconds:"
            )
            yield Code(facts.rollback)
        otherwise = (
            "decide about the live version: see the alarm above." if facts.live_fails else f"do nothing. {stays}"
        )
        yield Paragraph(f"If you do not want it, {otherwise}")
        return
    if facts.to_authors:
        yield Paragraph(
            "Commits of yours are new in this run, so this is for you: correct what is said above, and push; or run it "
            f"again when that is what helps. {stays}"
        )
        return
    yours = "Decide about the live version: see the alarm above." if facts.live_fails else f"Nothing from you. {stays}"
    yield Paragraph(f"{yours} {statement(facts).to_do}")


def _acceptance(name: str, acceptance: Acceptance | None) -> list[Block]:
    if acceptance is None:
        return []
    cases = [case for report in acceptance.reports for case in report.cases]
    counts = {outcome: sum(case.outcome == outcome for case in cases) for outcome in ("passed", "skipped")}
    said = f"{upper(name)}: {counts['passed']} passed, {len(cases) - sum(counts.values())} failed"
    said += f", {counts['skipped']} skipped" if counts["skipped"] else ""
    if load := acceptance.load:
        said += f"; under load it answered {load.per_second:.0f} requests/s, 95 % of them within {load.p95_ms:.3g} ms"
        said += f", and {load.failures} of {load.requests} failed" if load.failures else ""
    blocks: list[Block] = [Paragraph(f"{said}.")]
    return blocks if acceptance.accepted else [*blocks, Bullets(some(_failures(acceptance)))]


def _failures(acceptance: Acceptance) -> tuple[str, ...]:
    failed = (f"{case.name}: {case.message}" for report in acceptance.reports for case in report.failed)
    return tuple(dict.fromkeys((*acceptance.reasons, *failed)))


def times(seconds: tuple[tuple[str, float], ...]) -> str:
    """The whole, and the steps that are worth a word: those that took a twentieth of it, and a second."""
    total = sum(each for _, each in seconds)
    long = [f"{step} {duration(each)}" for step, each in seconds if each >= max(1.0, total / 20)]
    return f"{duration(total)} in all" + (f": {', '.join(long)}." if long else ".")


def commits(facts: MailFacts, longest_subject: int, longest_author: int) -> Iterator[Block]:
    """One table of the new commits, for mail and report; lengths in characters."""
    rows, more = [], []
    for changes in facts.changes:
        shown = changes.commits[:MAX_ITEMS]
        rows += [
            (changes.repository, each.sha[:8], clean(each.subject, longest_subject), clean(each.author, longest_author))
            for each in shown
        ]
        if others := changes.more + len(changes.commits) - len(shown):
            more.append(f"{others} more in {changes.repository}")
    if rows:
        yield Table(("new in", "commit", "subject", "author"), tuple(rows))
    if more:
        yield Paragraph(f"... and {', '.join(more)}.")
