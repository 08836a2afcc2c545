"""The mail to the product owner: what changed, is it better, by how much, what to do now.

It is written for a person who is no engineer; everything an engineer wants stands further down. Plain text and HTML
come from the same blocks (`pipelines.text.markup`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Literal, cast

from pipelines.repositories.changes import Changes
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.text.markup import Block, Box, Bullets, Code, Paragraph, Picture, Section, Table, to_html, to_text
from registry.errors import ConfigError
from registry.files import sha256_bytes
from registry.records import Acceptance, Evaluation, Run, Verdict

Status = Literal["accepted", "rejected", "failed", "kept", "tested", "nothing"]
MAX_SUBJECT = 140  # characters
MAX_ITEMS = 30  # reasons, failed tests and commits per list
MAX_PICTURE = 4 << 20  # bytes; mail servers refuse more than 10 MB or so
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class MailFacts:
    """All that the mail about one run says. What is not known stays empty, and is not mentioned."""

    run: Run
    status: Status
    sender: str
    to: tuple[str, ...]
    version: int | None = None
    """The candidate; null when none was registered."""
    live_version: int | None = None
    """What answers requests now."""
    note: str = ""
    """How the candidate was made, or why nothing was."""
    verdict: Verdict | None = None
    evaluation: Evaluation | None = None
    acceptance: Acceptance | None = None
    live_acceptance: Acceptance | None = None
    picture: bytes = b""
    """PNG: confusion matrix, or predicted against true values."""
    changes: tuple[Changes, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()
    """Step → wall seconds."""
    command: str = ""
    """The promotion command with its token; empty when there is nothing to approve."""
    expires_at: str = ""
    places: tuple[tuple[str, str], ...] = ()
    """What → folder or address, for further reading."""
    failed_step: str = ""
    error: str = ""
    hint: str = ""

    @property
    def candidate(self) -> str:
        """The candidate in words."""
        return f"version {self.version}" if self.version is not None else "the new model"

    @property
    def live(self) -> str:
        """What is live, in words."""
        return f"version {self.live_version}" if self.live_version is not None else "nothing yet"

    @property
    def live_fails(self) -> bool:
        """Whether what answers requests now fails the newest tests."""
        return self.live_acceptance is not None and not self.live_acceptance.accepted

    @property
    def live_apart(self) -> bool:
        """Whether there is a trial of the live release that is not the candidate's."""
        return self.live_acceptance is not None and (self.acceptance is None or self.live_version != self.version)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason for no: the gate's, then the trial's."""
        gate = self.verdict.reasons if self.verdict else ()
        return gate + (self.acceptance.reasons if self.acceptance and not self.acceptance.accepted else ())


def compose(facts: MailFacts) -> EmailMessage:
    """The mail, ready to be sent; raises ConfigError when an address in `[mail]` is none.

    The same facts about the same run have the same Message-ID, so that posting them twice sends them once.
    """
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject(facts)
    message["From"] = _addresses("sender", (facts.sender,))
    message["To"] = _addresses("to", facts.to)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{_stable_id(facts)}@{message['From'].addresses[0].domain}>"
    message["Auto-Submitted"] = "auto-generated"  # no out-of-office answers, please
    picture = facts.picture if facts.picture.startswith(PNG) and len(facts.picture) <= MAX_PICTURE else b""
    cid = f"picture.{_stable_id(facts)}@trainyard" if picture else ""
    title, sections = headline(facts), list(_sections(facts, cid))
    text = to_text(title, sections)
    # Plain lines stay as they are in the file, so that a command can be copied from the outbox folder, too.
    bare = text.isascii() and max(map(len, text.splitlines())) < 998
    message.set_content(text, cte="7bit" if bare else "quoted-printable")
    message.add_alternative(to_html(title, sections), subtype="html")
    if picture:
        page = cast("list[EmailMessage]", message.get_payload())[1]
        page.add_related(picture, "image", "png", cid=f"<{cid}>", filename="holdout.png", disposition="inline")
    # A subject that is longer than a line is else folded right behind "Subject:", and readers show the space.
    message.policy = SMTP.clone(max_line_length=MAX_SUBJECT + 20)
    return message


def subject(facts: MailFacts) -> str:
    """The verdict first, in one bounded line."""
    if facts.live_fails:
        other = "" if facts.status == "tested" else f"; {facts.candidate} {facts.status}"
        said = f"ALARM: live {facts.live} fails the tests{other}"
    elif facts.status == "accepted":
        said = f"{facts.candidate} accepted{_numbers(facts)} - waiting for your approval"
    elif facts.status == "rejected":
        more = f" (and {len(facts.reasons) - 1} more)" if len(facts.reasons) > 1 else ""
        said = f"{facts.candidate} rejected: {facts.reasons[0] if facts.reasons else facts.note}{more}"
    elif facts.status == "failed":
        said = f"failed{' in ' + facts.failed_step if facts.failed_step else ''}: {facts.error}"
    elif facts.status == "kept":
        said = f"{facts.candidate} stays{_numbers(facts)}"
    else:
        said = f"new tests: {_tested(facts)}"
    return clean(f"[{facts.run.model}] {said}", MAX_SUBJECT)


def _numbers(facts: MailFacts) -> str:
    if facts.evaluation is None:
        return ""
    return ": " + metrics.short(facts.evaluation, _metric(facts))


def _metric(facts: MailFacts) -> str:
    """The metric that the gate looks at, else the first that was measured."""
    if facts.verdict:
        return facts.verdict.policy.metric
    return next(iter(facts.evaluation.candidate.values), "") if facts.evaluation else ""


def _tested(facts: MailFacts) -> str:
    said = []
    if facts.acceptance:
        said.append(f"{facts.candidate} {'passes' if facts.acceptance.accepted else 'fails'}")
    if facts.live_apart:
        said.append(f"live {facts.live} {'fails' if facts.live_fails else 'passes'}")
    return ", ".join(said) or "nothing was there to try"


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


def headline(facts: MailFacts) -> str:
    """How the run ended, in one sentence."""
    model = facts.run.model
    name = f"{_upper(facts.candidate)} of {model}" if facts.version else f"The new model for {model}"
    match facts.status:
        case "accepted":
            return f"{name} is ready and waits for your approval"
        case "rejected":
            return f"{name} was not accepted"
        case "failed":
            return f"The run for {model} stopped before there was a verdict"
        case "kept":
            return f"{model}: {facts.candidate} stays, it is good enough for the new data, too"
        case "tested":
            return f"{model}: the new tests were tried: {_tested(facts)}"
        case "nothing":
            return f"{model}: nothing to do"


def _sections(facts: MailFacts, cid: str) -> Iterator[Section]:
    yield Section("", tuple(summary(facts)))
    yield Section("What to do now", tuple(_to_do(facts)))
    if facts.evaluation:
        blocks = list(metrics.blocks(facts.evaluation, _metric(facts), facts.candidate, facts.live))
        if cid:
            blocks.append(Picture(cid, "what the model answered against what was right, on the holdout"))
        yield Section("Is it still good?" if facts.status == "kept" else "Is it better?", tuple(blocks))
    trials = _trial(facts.candidate, facts.acceptance)
    if facts.live_apart:
        trials += _trial(f"live {facts.live}", facts.live_acceptance)[:1]  # the alarm has told the rest
    if trials:
        yield Section("Tried in a copy of production", tuple(trials))
    if facts.changes:
        yield Section("What changed", tuple(_changes(facts)))
    if facts.seconds:
        total = ("together", sum(each for _, each in facts.seconds))
        rows = tuple((step, metrics.duration(seconds)) for step, seconds in (*facts.seconds, total))
        yield Section("How long it took", (Table(("step", "time"), rows, numbers=True),))
    rows = (
        ("run", facts.run.id),
        *((name, getattr(facts.run.sources, name)) for name in ("code", "dataset", "tests")),
        *facts.places,
    )
    yield Section("For the record", (Table(("what", "where"), tuple(row for row in rows if row[1])),))


def _alarm(facts: MailFacts) -> Iterator[Block]:
    if not facts.live_fails or facts.live_acceptance is None:
        return
    text = f"ALARM: {facts.live}, which answers requests right now, fails the newest tests."
    yield Box("bad", text, _some(_why(facts.live_acceptance)))
    yield Paragraph(
        "It goes on answering until somebody decides. "
        f"`trainyard rollback {facts.run.model}` goes back to the version before it, within seconds."
    )


def summary(facts: MailFacts) -> Iterator[Block]:
    """What happened and why; an alarm about what is live comes first."""
    yield from _alarm(facts)
    match facts.status:
        case "accepted":
            yield Box("good", f"Yes: {facts.candidate} passed every check.")
        case "rejected":
            yield Box("bad", "No, and for these reasons:", _some(facts.reasons) or (facts.note,))
        case "failed":
            where = f" in the step {facts.failed_step!r}" if facts.failed_step else ""
            yield Box("bad", f"It failed{where}: {facts.error}", (f"What helps: {facts.hint}",) if facts.hint else ())
        case "kept":
            yield Box("good", "Nothing was retrained, because nothing had to be.")
        case "tested" if not facts.live_fails:
            good = facts.acceptance is None or facts.acceptance.accepted
            yield Box("good" if good else "bad", f"{_upper(_tested(facts))}.")
        case "nothing":
            yield Box("plain", "Nothing was trained or tried, because nothing had to be.")
    what = {"code": "the model's code", "dataset": "the data", "tests": "the tests"}[facts.run.trigger]
    started = f"A push to {what} started this."
    if facts.run.reason:
        started += f" Reason given: {facts.run.reason}"
    yield Paragraph(f"{started} {facts.note}" if facts.note and facts.status != "failed" else started)
    if facts.evaluation:
        yield Paragraph(metrics.in_words(facts.evaluation, _metric(facts), facts.candidate, facts.live))


def _to_do(facts: MailFacts) -> Iterator[Block]:
    stays = (
        f"{_upper(facts.live)} goes on answering requests."
        if facts.live_version
        else "Nothing is live yet, and so it stays."
    )
    if facts.command:
        until = f", before {metrics.moment(facts.expires_at)}" if facts.expires_at else ""
        yield Paragraph(
            f"To put {facts.candidate} into production, run this on the machine where Trainyard is installed{until}:"
        )
        yield Code(facts.command)
        yield Paragraph(
            "No request is lost while it changes over, and if the new version does not come up, the old one goes on. "
            f"Later, `trainyard rollback {facts.run.model}` goes back within seconds."
        )
        yield Paragraph(f"If you do not want it, do nothing. {stays}")
        return
    match facts.status:
        case "failed":
            yield Paragraph(f"Nothing from you. {stays} The team should look at the error above.")
        case "rejected":
            yield Paragraph(f"Nothing from you. {stays} The reasons above tell the team what is not good enough yet.")
        case _ if facts.live_fails:
            yield Paragraph("Decide about the live version: see the alarm above.")
        case _:
            yield Paragraph(f"Nothing. {stays}")


def _trial(name: str, acceptance: Acceptance | None) -> list[Block]:
    if acceptance is None:
        return []
    cases = [case for report in acceptance.reports for case in report.cases]
    counts = {outcome: sum(case.outcome == outcome for case in cases) for outcome in ("passed", "skipped")}
    said = f"{_upper(name)}: {counts['passed']} checks passed, {len(cases) - sum(counts.values())} failed"
    said += f", {counts['skipped']} skipped" if counts["skipped"] else ""
    if load := acceptance.load:
        said += f"; under load it answered {load.per_second:.0f} requests/s, 95 % of them within {load.p95_ms:.3g} ms"
        said += f", and {load.failures} of {load.requests} failed" if load.failures else ""
    blocks: list[Block] = [Paragraph(f"{said}.")]
    return blocks if acceptance.accepted else [*blocks, Bullets(_some(_why(acceptance)))]


def _why(acceptance: Acceptance) -> tuple[str, ...]:
    failed = (f"{case.name}: {case.message}" for report in acceptance.reports for case in report.failed)
    return tuple(dict.fromkeys((*acceptance.reasons, *failed)))


def _changes(facts: MailFacts) -> Iterator[Block]:
    for changes in facts.changes:
        shown = changes.commits[:MAX_ITEMS]
        more = changes.more + len(changes.commits) - len(shown)
        rows = tuple((each.sha[:8], clean(each.subject, 72), clean(each.author, 40)) for each in shown)
        yield Table((changes.repository, "subject", "author"), rows)
        if more:
            yield Paragraph(f"... and {more} more commits in {changes.repository}")


def _some(items: tuple[str, ...]) -> tuple[str, ...]:
    more = len(items) - MAX_ITEMS
    return items if more <= 0 else (*items[:MAX_ITEMS], f"... and {more} more")


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
