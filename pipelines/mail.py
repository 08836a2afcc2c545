"""The outbox, and the way out of it through the mail server. A mail that fails changes nothing else: it waits.

    outbox/pending/<name>.eml    to be sent; without a mail server, this is where the mail can be read
    outbox/sent/<name>.eml       taken by the server
    outbox/failed/<name>.eml     refused for good; put it back into pending/ to try once more

There is one file per mail and recipient, named after the Message-ID, so that each recipient gets each mail once,
whatever becomes of the others. Files and folders are private: a mail holds an approval token.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from pipelines.config import Mail
from pipelines.markup import clean
from registry.errors import ConfigError
from registry.files import sha256_bytes, sync_folder, write_new

ENVELOPE = re.compile(rb"Envelope-To: ([^\s<>]+@[^\s<>]+)\r?\n")  # first line of a file: the one recipient it is for
MAX_MAILS = 200  # per delivery; each holds an open file
MAX_BROKEN = 2  # mails that broke the connection, each at the price of a timeout, before we leave the rest for later


@dataclass(slots=True)
class Delivery:
    """What became of the mails in `outbox/pending`, by file name, and every reason for those that were not sent."""

    sent: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Still pending: the next run tries again."""
    failed: list[str] = field(default_factory=list)
    """Refused for good, moved to `outbox/failed`."""
    reasons: list[str] = field(default_factory=list)


class _Refused(Exception):
    """The server said no to one mail; `final`: it would say so again."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


class _NoServer(Exception):
    """There is no session with the mail server, so no mail can go."""


def post(message: EmailMessage, outbox: Path) -> list[Path]:
    """Put a mail into the outbox, whole, one file per recipient; gives the files, also those that were there before.

    Posting the same Message-ID again does nothing: a mail that is waiting, sent or refused stays what it is.
    """
    for folder in (outbox, *(outbox / name for name in ("pending", "sent", "failed"))):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = []
    with (outbox / ".lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that nobody posts the same between our look and our write
        for address in message["To"].addresses:
            name = _file_name(str(message["Message-ID"]), address.addr_spec)
            # Mails move in this order, so one that moves while we look is seen.
            there = [path for place in ("pending", "sent", "failed") if (path := outbox / place / name).exists()]
            if not there:
                body = f"Envelope-To: {address.addr_spec}\r\n".encode("ascii") + message.as_bytes()
                with contextlib.suppress(FileExistsError):  # it came back to pending/ while we looked
                    write_new(outbox / "pending" / name, body, 0o600)
            files.append(there[0] if there else outbox / "pending" / name)
    return files


def deliver(outbox: Path, settings: Mail, password: str) -> Delivery:
    """Send what is pending, the oldest first; tells what was sent, what is kept, what was refused, and why.

    No mail trouble is raised. Raises ConfigError only when `[mail]` would send in the clear to another machine.
    Several processes may deliver at once: each mail is taken by one. When we are killed between the server's yes and
    our note of it, the mail goes out once more, under the same Message-ID.
    """
    check_security(settings)
    result = Delivery()
    with contextlib.ExitStack() as claims:
        mine = [path for path in _pending(outbox)[:MAX_MAILS] if claims.enter_context(_claimed(path))]
        if mine and not settings.host:
            result.reasons.append(f"no mail server is set: read the mail in {outbox / 'pending'}, or set [mail] host")
        elif mine:
            _send_all(mine, settings, password, result)
        done = {*result.sent, *result.failed}
        result.kept = [path.name for path in mine if path.name not in done]
    return result


def try_server(settings: Mail, password: str) -> str:
    """Why there is no session with the mail server; "" when there is one. Without a password nobody logs in."""
    check_security(settings)
    try:
        with _session(settings if password else replace(settings, username=""), password):
            return ""
    except _NoServer as error:
        return str(error)


def check_security(settings: Mail) -> None:
    """Raises ConfigError when password and tokens would cross a network in the clear."""
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
    """Whether this mail is ours to send until the end of the block. The kernel frees the claim when we die."""
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
        yield path.exists()  # it may have been sent between the look and the claim


def _send_all(mails: list[Path], settings: Mail, password: str, result: Delivery) -> None:
    """One session per mail: a mail that makes the server hang up does not take the others with it."""
    broken = 0
    for path in mails:
        try:
            with _session(settings, password) as server:
                _hand_over(server, path.read_bytes(), settings)
            result.sent.append(path.name)
            _move(path, "sent", result)
        except _NoServer as error:
            result.reasons.append(str(error))
            return
        except _Refused as no:
            result.reasons.append(f"{path.name}: {no}")
            if no.final:
                result.failed.append(path.name)
                _move(path, "failed", result)
        except (OSError, smtplib.SMTPException) as error:
            result.reasons.append(f"{path.name}: {_trouble(error, settings)}")
            with contextlib.suppress(OSError):
                os.utime(path)  # to the end of the queue
            broken += 1
            if broken == MAX_BROKEN:
                return


@contextlib.contextmanager
def _session(settings: Mail, password: str) -> Iterator[smtplib.SMTP]:
    """A session with the mail server, verified and logged in, made by yagmail; raises _NoServer.

    yagmail's own defaults are not ours: it does not verify certificates, has no time limit, asks for a missing
    password on the terminal, and appends @gmail.com to a user name without @.
    """
    if settings.username and not password:
        raise _NoServer("TRAINYARD_SMTP_PASSWORD is not set, though [mail] username is")
    import yagmail

    client = yagmail.SMTP(
        {settings.username: settings.username},
        password,
        host=settings.host,
        port=settings.port,
        timeout=settings.timeout_seconds,
        smtp_skip_login=not settings.username,
        soft_email_validation=False,  # a user name need not be an address
        **_encryption(settings),
    )
    try:
        try:
            client.login()
        except (OSError, smtplib.SMTPException) as error:
            raise _NoServer(_trouble(error, settings)) from None
        except UnicodeError:
            raise _NoServer("[mail] host, username and TRAINYARD_SMTP_PASSWORD must be ASCII") from None
        yield client.smtp
        with contextlib.suppress(OSError, smtplib.SMTPException):  # all is said; a server may hang up without a word
            client.smtp.quit()
    finally:
        client.is_closed = True  # else its destructor talks to the server once more
        if client.smtp is not None:
            client.smtp.close()


def _encryption(settings: Mail) -> dict[str, Any]:
    """What makes yagmail encrypt and verify, as `[mail] security` says."""
    if settings.security == "none":
        return {"smtp_ssl": False, "smtp_starttls": False}
    context = ssl.create_default_context()
    if settings.ca_file:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise _NoServer(f"[mail] ca_file {settings.ca_file}: no certificates that we can read: {error}") from None
    if settings.security == "smtps":
        return {"smtp_ssl": True, "smtp_starttls": False, "context": context}
    return {"smtp_ssl": False, "smtp_starttls": {"context": context}}


def _hand_over(server: smtplib.SMTP, data: bytes, settings: Mail) -> None:
    """One mail transaction; raises _Refused for the server's no, OSError or SMTPException for a broken session."""
    envelope = ENVELOPE.match(data)
    if not envelope:
        raise _Refused("does not begin with Envelope-To: it is no mail of ours", final=True)
    recipient = envelope[1].decode("ascii", "replace")
    body = re.sub(rb"\r?\n", b"\r\n", data[envelope.end() :])
    sender = parseaddr(settings.sender)[1]
    if not sender.isascii():
        raise _Refused(f"[mail] sender {settings.sender}: mail servers want ASCII", final=False)
    try:
        server.sendmail(sender, [recipient], body)
    except smtplib.SMTPRecipientsRefused as error:
        code, answer = error.recipients[recipient]
        raise _Refused(f"the server refuses {recipient}: {_said(code, answer)}", final=code >= 500) from None
    except smtplib.SMTPSenderRefused as error:
        # The setting's fault, not the mail's: once the setting is right, it goes out.
        said = _said(error.smtp_code, error.smtp_error)
        raise _Refused(f"the server refuses [mail] sender {settings.sender}: {said}", final=False) from None
    except smtplib.SMTPDataError as error:
        said = _said(error.smtp_code, error.smtp_error)
        raise _Refused(f"the server refuses the mail: {said}", final=error.smtp_code >= 500) from None


def _move(path: Path, place: str, result: Delivery) -> None:
    try:
        path.rename(path.parent.parent / place / path.name)
        sync_folder(path.parent)
    except OSError as error:
        result.reasons.append(f"{path}: cannot be moved to {place}/, so it will be sent again: {error}")


def _trouble(error: Exception, settings: Mail) -> str:
    """Why there is no session, with the setting to look at. Never a password: servers' answers hold none."""
    where = f"mail server {settings.host}:{settings.port}"
    match error:
        case ssl.SSLCertVerificationError():
            return f"{where}: its certificate is not trusted ({error.verify_message}); [mail] ca_file names your own CA"
        case ssl.SSLError():
            return f"{where}: no TLS ({error.reason or error}); does [mail] security fit the port?"
        case TimeoutError():
            return f"{where}: no answer within {settings.timeout_seconds:g} s"
        case socket.gaierror():
            return f"{where}: there is no such host ({error.strerror})"
        case smtplib.SMTPAuthenticationError():
            said = _said(error.smtp_code, error.smtp_error)
            return f"{where}: does not accept [mail] username and TRAINYARD_SMTP_PASSWORD: {said}"
        case smtplib.SMTPNotSupportedError():
            return f"{where}: does not offer what [mail] security and username ask for: {clean(str(error), 200)}"
        case smtplib.SMTPResponseException():
            return f"{where}: {_said(error.smtp_code, error.smtp_error)}"
        case smtplib.SMTPServerDisconnected():
            if isinstance(error.__context__, TimeoutError):  # smtplib calls both by one name
                return _trouble(error.__context__, settings)
            return f"{where}: hung up; does [mail] security fit the port?"
    return f"{where}: {clean(str(error), 200)}"


def _said(code: int, text: bytes | str) -> str:
    return f"{code} {clean(text.decode('utf-8', 'replace') if isinstance(text, bytes) else text, 200)}"
