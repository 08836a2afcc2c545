"""The outbox, and the way out of it through the mail server. A mail that fails to be sent waits, and changes nothing else.

    outbox/pending/<name>.eml    to be sent; without a mail server, this is where the mail can be read
    outbox/sent/<name>.eml       taken by the server
    outbox/failed/<name>.eml     refused for good; move it back into pending/ to retry

There is one file per mail and recipient, named after the Message-ID, so that each recipient gets each mail once,
whatever becomes of the others. Files and folders are private: a mail holds an approval token.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import field, replace
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config.schema import Mail
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import sha256_bytes, sweep, sync_folder, write_new

if TYPE_CHECKING:
    from pipelines.mail.smtp import Session

ENVELOPE = re.compile(rb"Envelope-To: ([^\s<>]+@[^\s<>]+)\r?\n")  # first line of a file: the one recipient it is for
MAX_MAILS = 200  # per delivery; each holds an open file
MAX_BROKEN = 2  # mails that broke the connection, each at the price of a timeout, before the rest is left for later


@dataclass(slots=True)
class Delivery:
    """What became of the mails in `outbox/pending`, by file name, and every reason for those that were not sent."""

    sent: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Still pending: the next run tries again."""
    failed: list[str] = field(default_factory=list)
    """Refused for good, moved to `outbox/failed`."""
    reasons: list[str] = field(default_factory=list)


class Refused(Exception):
    """The server refused one mail; `final`: it would refuse it again."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


def post(message: EmailMessage, outbox: Path) -> list[Path]:
    """Put a mail into the outbox, whole, one file per recipient; gives the files, also those that existed before.

    Posting the same Message-ID again does nothing: a mail that is waiting, sent or refused stays what it is.
    """
    for folder in (outbox, *(outbox / name for name in ("pending", "sent", "failed"))):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = []
    with (outbox / ".lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that no other process posts the same between the check and the write
        sweep(outbox / "pending")
        for address in message["To"].addresses:
            name = _file_name(str(message["Message-ID"]), address.addr_spec)
            # Mails move in this order, so one that moves meanwhile is found.
            there = [path for place in ("pending", "sent", "failed") if (path := outbox / place / name).exists()]
            if not there:
                body = for_one(message, address.addr_spec)
                with contextlib.suppress(FileExistsError):  # it was moved back to pending/ meanwhile
                    write_new(outbox / "pending" / name, body, 0o600)
            files.append(there[0] if there else outbox / "pending" / name)
    return files


def for_one(message: EmailMessage, recipient: str) -> bytes:
    """The mail as a file for one of its recipients."""
    return f"Envelope-To: {recipient}\r\n".encode("ascii") + message.as_bytes()


def deliver(outbox: Path, settings: Mail, password: str) -> Delivery:
    """Send what is pending, the oldest first; returns what was sent, what is kept, what was refused, and why.

    A problem with the mail server is a reason, not an exception. Raises ConfigError only when `[mail]` would send
    unencrypted to another machine. Several processes may deliver at once: each mail is taken by one. After a kill
    between the server's acceptance and the move to `sent/`, the mail is sent once more, under the same Message-ID.
    """
    check_security(settings)
    result = Delivery()
    with contextlib.ExitStack() as claims:
        mine = [path for path in _pending(outbox)[:MAX_MAILS] if claims.enter_context(_claimed(path))]
        if mine and not settings.host:
            result.reasons.append(f"no mail server is set: read the mail in {outbox / 'pending'}, or set [mail] host")
        elif mine:
            from pipelines.mail.smtp import redact  # TLS and SMTP cost a step without a mail server 8 ms

            _send_each(mine, settings, password, result)
            result.reasons = [redact(each, settings, password) for each in result.reasons]
        done = {*result.sent, *result.failed}
        result.kept = [path.name for path in mine if path.name not in done]
    return result


def try_server(settings: Mail, password: str) -> str:
    """Why there is no session with the mail server; empty when there is one. Without a password there is no login."""
    from pipelines.mail.smtp import NoServer, redact, session

    check_security(settings)
    try:
        with session(settings if password else replace(settings, username=""), password):
            return ""
    except NoServer as error:
        return redact(str(error), settings, password)


def check_security(settings: Mail) -> None:
    """Raises ConfigError when password and tokens would cross a network unencrypted."""
    if settings.security != "none" or settings.host in {"", "localhost"}:
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(settings.host).is_loopback:
            return
    raise ConfigError(
        f'[mail] security: "none" is for a mail server on this machine only, not for {settings.host}',
        hint='use "starttls" (mostly port 587) or "smtps" (mostly port 465)',
    )


def _file_name(message_id: str, recipient: str) -> str:
    """Readable, and another one for each mail and recipient."""
    readable = re.sub(r"[^A-Za-z0-9.-]", "-", message_id.strip("<>").partition("@")[0])[:80].lstrip(".")
    return f"{readable}-{sha256_bytes(f'{message_id} {recipient}'.encode())[:12]}.eml"


def _pending(outbox: Path) -> list[Path]:
    def age(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:  # sent by another process meanwhile
            return 0.0

    return sorted((outbox / "pending").glob("*.eml"), key=lambda path: (age(path), path.name))


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether this process may send this mail until the end of the block. The kernel frees the claim of a killed process."""
    try:
        file = path.open("rb")
    except FileNotFoundError:  # another process was quicker
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield path.exists()  # it may have been sent before the claim


def _send_each(mails: list[Path], settings: Mail, password: str, result: Delivery) -> None:
    """One session per mail: one that makes the server close the connection does not hold up the others."""
    import smtplib

    from pipelines.mail.smtp import NoServer, session, why_not_sent

    outbox, broken = mails[0].parent.parent, 0
    if closed := [name for name in ("pending", "sent") if not os.access(outbox / name, os.W_OK)]:
        # a mail that cannot be moved to sent/ would be sent again and again
        result.reasons.append(f"{outbox / closed[0]} is read-only: nothing is sent")
        return
    for path in mails:
        try:
            with session(settings, password) as server:
                send(server, path.read_bytes(), settings)
            result.sent.append(path.name)
            _move(path, "sent", result)
        except NoServer as error:
            result.reasons.append(str(error))
            return
        except Refused as refusal:
            result.reasons.append(f"{path.name}: {refusal}")
            if refusal.final:
                result.failed.append(path.name)
                _move(path, "failed", result)
        except (OSError, smtplib.SMTPException) as error:
            result.reasons.append(f"{path.name}: {why_not_sent(error, settings)}")
            with contextlib.suppress(OSError):
                os.utime(path)  # to the end of the queue
            broken += 1
            if broken == MAX_BROKEN:
                return


def send(server: Session, data: bytes, settings: Mail) -> str:
    """One mail transaction; gives the server's reply. Raises Refused, and OSError or SMTPException for a broken session."""
    import smtplib

    from pipelines.mail.smtp import reply

    envelope = ENVELOPE.match(data)
    if not envelope:
        raise Refused("does not begin with Envelope-To: it was not written by Trainyard", final=True)
    recipient = envelope[1].decode("ascii", "replace")
    body = re.sub(rb"\r?\n", b"\r\n", data[envelope.end() :])
    sender = parseaddr(settings.sender)[1]
    if not sender.isascii():
        raise Refused(f"[mail] sender {settings.sender}: mail servers want ASCII", final=False)
    try:
        server.sendmail(sender, [recipient], body)
    except smtplib.SMTPRecipientsRefused as error:
        code, answer = error.recipients[recipient]
        raise Refused(f"the server refuses {recipient}: {reply(code, answer)}", final=code >= 500) from None
    except smtplib.SMTPSenderRefused as error:
        # The mail is good: once the setting is right, it is sent.
        said = reply(error.smtp_code, error.smtp_error)
        raise Refused(f"the server refuses [mail] sender {settings.sender}: {said}", final=False) from None
    except smtplib.SMTPDataError as error:
        said = reply(error.smtp_code, error.smtp_error)
        raise Refused(f"the server refuses the mail: {said}", final=error.smtp_code >= 500) from None
    return reply(*server.taken)


def _move(path: Path, place: str, result: Delivery) -> None:
    try:
        path.rename(path.parent.parent / place / path.name)
        sync_folder(path.parent)
    except OSError as error:
        result.reasons.append(f"{path}: cannot be moved to {place}/, so it will be sent again: {error}")
