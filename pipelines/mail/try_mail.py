"""One mail to each owner now, past the outbox, to see what the mail server answers."""

from __future__ import annotations

import smtplib
import uuid
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.mail.compose import Addresses, write
from pipelines.mail.outbox import Refused, check_security, for_one, send
from pipelines.mail.smtp import NoServer, redact, session, why_not_sent
from pipelines.text.markup import Paragraph, Section
from registry.dataclass import dataclass
from registry.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Answer:
    """What the mail server answered for one recipient."""

    recipient: str
    reply: str
    """Its last reply, or why there is none."""
    taken: bool
    final: bool = False
    """Whether it would refuse the same again."""


def try_mail(config: Config, password: str) -> list[Answer]:
    """Send one test mail to each owner, in a session of its own.

    Raises ConfigError for an address in `[mail]` that is not one, and when the mail would cross a network unencrypted.
    """
    settings = config.mail
    check_security(settings)
    message = write(
        Addresses.of(settings),
        f"[{config.model}] test mail",
        f"{config.model}.test.{uuid.uuid4().hex}",
        f"{config.model}: this is how mails of Trainyard reach you",
        [
            Section("", (Paragraph(f"Somebody has run `trainyard notify --test` in {Path(config.file).parent}."),)),
            Section("What to do now", (Paragraph("Nothing: no run and no release depends on this mail."),)),
        ],
    )
    answers = []
    for recipient in dict.fromkeys(each.addr_spec for each in message["To"].addresses):
        try:
            with session(settings, password) as server:
                answer = Answer(recipient, send(server, for_one(message, recipient), settings), taken=True)
        except Refused as refusal:
            answer = Answer(recipient, str(refusal), taken=False, final=refusal.final)
        except NoServer as error:
            if error.hint:
                raise ConfigError(redact(str(error), settings, password), hint=error.hint) from None
            answer = Answer(recipient, str(error), taken=False)
        except (OSError, smtplib.SMTPException) as error:
            answer = Answer(recipient, why_not_sent(error, settings), taken=False)
        answers.append(Answer(recipient, redact(answer.reply, settings, password), answer.taken, answer.final))
    return answers
