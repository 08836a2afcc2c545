"""One session with the mail server: encrypted, verified, logged in, of bounded length; and its errors in words."""

from __future__ import annotations

import base64
import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

from pipelines.config.schema import Mail
from pipelines.text.clean import clean

SESSION = 5  # times the time limit of one answer


class NoServer(Exception):
    """There is no session with the mail server, so no mail can be sent.

    `hint`: which setting a person must change; empty: it may work later as it is.
    """

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class TooSlow(OSError):
    """The session was ended for its length; the argument is the time in seconds."""


class _Deadline:
    """Closes a connection when the time is over, whatever waits for it: below TLS, so during a handshake, too."""

    def __init__(self, seconds: float) -> None:
        self.late = False
        self._line: socket.socket | None = None
        self._ended = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def over(self, line: socket.socket) -> socket.socket:
        """Apply to this connection; returns it."""
        self._line = line.dup()  # smtplib wraps and closes the original
        if self.late:
            self._cut()
        return line

    def end(self) -> None:
        """The session is over."""
        self._timer.cancel()
        with self._ended:
            if self._line:
                self._line.close()
                self._line = None
        self._timer.join()

    def _cut(self) -> None:
        with self._ended, contextlib.suppress(OSError):  # it may have ended by itself
            self.late = True
            if self._line:
                self._line.shutdown(socket.SHUT_RDWR)


class Session(smtplib.SMTP):
    """smtplib's client with a deadline, from before the TLS handshake on."""

    deadline: _Deadline
    taken: tuple[int, bytes] = (0, b"")
    """The reply to the last mail that was taken."""

    def data(self, msg: Any) -> tuple[int, bytes]:
        """As it is, and remember the reply."""
        self.taken = super().data(msg)
        return self.taken

    def _get_socket(self, *arguments: Any) -> socket.socket:
        return self.deadline.over(super()._get_socket(*arguments))  # type: ignore[misc]


class _Encrypted(smtplib.SMTP_SSL, Session):
    """The same, encrypted from the start: smtplib's `_get_socket` wraps what that of `Session` gives it."""


@contextlib.contextmanager
def session(settings: Mail, password: str) -> Iterator[Session]:
    """A session with the mail server, verified and logged in, made by yagmail; raises NoServer.

    yagmail's own defaults do not fit: it does not verify certificates, has no time limit, asks for a missing
    password on the terminal, and appends @gmail.com to a user name without @.
    """
    if settings.username and not password:
        raise NoServer(
            "TRAINYARD_SMTP_PASSWORD is not set, though [mail] username is",
            "set it, or TRAINYARD_SMTP_PASSWORD_FILE, in the environment of who sends mails",
        )
    import yagmail

    encryption, limit = _encryption(settings), SESSION * settings.timeout_seconds
    deadline = _Deadline(limit)
    kind = type("Timed", (_Encrypted if settings.security == "smtps" else Session,), {"deadline": deadline})

    class Client(yagmail.SMTP):  # type: ignore[misc]
        connection = kind

    client = Client(
        {settings.username: settings.username},
        password,
        host=settings.host,
        port=settings.port,
        timeout=settings.timeout_seconds,
        smtp_skip_login=not settings.username,
        soft_email_validation=False,  # a user name need not be an address
        **encryption,
    )
    try:
        try:
            client.login()
        except (OSError, smtplib.SMTPException) as error:
            refused = isinstance(error, smtplib.SMTPAuthenticationError) and 500 <= error.smtp_code < 600
            hint = "correct [mail] username or TRAINYARD_SMTP_PASSWORD" if refused else ""
            raise NoServer(why_not_sent(TooSlow(limit) if deadline.late else error, settings), hint) from None
        except UnicodeError:
            why = "[mail] host, username and TRAINYARD_SMTP_PASSWORD must be ASCII"
            raise NoServer(why, "correct the one that is not") from None
        try:
            yield client.smtp
        except (OSError, smtplib.SMTPException) as error:
            if deadline.late:
                raise TooSlow(limit) from error
            raise
        with contextlib.suppress(
            OSError, smtplib.SMTPException
        ):  # all is sent; a server may close the connection without a reply
            client.smtp.quit()
    finally:
        deadline.end()
        client.is_closed = True  # else its destructor sends QUIT once more
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
            why = f"[mail] ca_file {settings.ca_file}: no readable certificates: {error}"
            raise NoServer(why, "name a PEM file that can be read") from None
    if settings.security == "smtps":
        return {"smtp_ssl": True, "smtp_starttls": False, "context": context}
    return {"smtp_ssl": False, "smtp_starttls": {"context": context}}


def why_not_sent(error: Exception, settings: Mail) -> str:
    """Why a session failed, with the setting to check. A server's reply may hold the password: see `redact`."""
    where = f"mail server {settings.host}:{settings.port}"
    match error:
        case TooSlow():
            return f"{where}: too slow: its answers took more than {error.args[0]:g} s together"
        case ssl.SSLCertVerificationError():
            return f"{where}: its certificate is not trusted ({error.verify_message}); [mail] ca_file names your own CA"
        case ssl.SSLError():
            return f"{where}: no TLS ({error.reason or error}); does [mail] security fit the port?"
        case TimeoutError():
            return f"{where}: no answer within {settings.timeout_seconds:g} s"
        case socket.gaierror():
            return f"{where}: there is no such host ({error.strerror})"
        case smtplib.SMTPAuthenticationError():
            said = reply(error.smtp_code, error.smtp_error)
            return f"{where}: does not accept [mail] username and TRAINYARD_SMTP_PASSWORD: {said}"
        case smtplib.SMTPNotSupportedError():
            return f"{where}: does not offer what [mail] security and username ask for: {clean(str(error), 200)}"
        case smtplib.SMTPResponseException():
            return f"{where}: {reply(error.smtp_code, error.smtp_error)}"
        case smtplib.SMTPServerDisconnected():
            if isinstance(error.__context__, TimeoutError):  # smtplib has one exception for both
                return why_not_sent(error.__context__, settings)
            return f"{where}: it closed the connection; does [mail] security fit the port?"
    return f"{where}: {clean(str(error), 200)}"


def reply(code: int, text: bytes | str) -> str:
    """A server's reply in one line."""
    return f"{code} {clean(text.decode('utf-8', 'replace') if isinstance(text, bytes) else text, 200)}"


def redact(text: str, settings: Mail, password: str) -> str:
    """The text without the password, also in the encodings that are sent: a server may repeat its input."""
    if not password:
        return text
    user, secret = settings.username.encode(), password.encode()
    sent = [base64.b64encode(each).decode() for each in (secret, b"\0" + user + b"\0" + secret)]
    for each in (*sent, password):
        text = text.replace(each, "********")
    return text
