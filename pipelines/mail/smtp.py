"""One session with the mail server: encrypted, verified, logged in, and of bounded length; and its troubles in words."""

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
    """There is no session with the mail server, so no mail can go."""


class TooSlow(OSError):
    """The session was ended for its length; the argument is the time in seconds."""


class _Watch:
    """Cuts a connection when the time is over, whoever waits for what. TLS or not: it is below that."""

    def __init__(self, seconds: float) -> None:
        self.late = False
        self._line: socket.socket | None = None
        self._ended = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def over(self, line: socket.socket) -> socket.socket:
        """Watch over this connection; gives it back."""
        self._line = line.dup()  # the original is wrapped, and closed, by others
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


class _Plain(smtplib.SMTP):
    """smtplib's client under watch, from before the TLS handshake on."""

    watch: _Watch

    def _get_socket(self, *arguments: Any) -> socket.socket:
        return self.watch.over(super()._get_socket(*arguments))  # type: ignore[misc]


class _Encrypted(smtplib.SMTP_SSL, _Plain):
    """The same, encrypted from the start: smtplib's `_get_socket` wraps what that of `_Plain` gives it."""


@contextlib.contextmanager
def session(settings: Mail, password: str) -> Iterator[smtplib.SMTP]:
    """A session with the mail server, verified and logged in, made by yagmail; raises NoServer.

    yagmail's own defaults are not ours: it does not verify certificates, has no time limit, asks for a missing
    password on the terminal, and appends @gmail.com to a user name without @.
    """
    if settings.username and not password:
        raise NoServer("TRAINYARD_SMTP_PASSWORD is not set, though [mail] username is")
    import yagmail

    encryption, limit = _encryption(settings), SESSION * settings.timeout_seconds
    watch = _Watch(limit)
    kind = type("Watched", (_Encrypted if settings.security == "smtps" else _Plain,), {"watch": watch})

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
            raise NoServer(trouble(TooSlow(limit) if watch.late else error, settings)) from None
        except UnicodeError:
            raise NoServer("[mail] host, username and TRAINYARD_SMTP_PASSWORD must be ASCII") from None
        try:
            yield client.smtp
        except (OSError, smtplib.SMTPException) as error:
            if watch.late:
                raise TooSlow(limit) from error
            raise
        with contextlib.suppress(OSError, smtplib.SMTPException):  # all is said; a server may hang up without a word
            client.smtp.quit()
    finally:
        watch.end()
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
            raise NoServer(f"[mail] ca_file {settings.ca_file}: no certificates that we can read: {error}") from None
    if settings.security == "smtps":
        return {"smtp_ssl": True, "smtp_starttls": False, "context": context}
    return {"smtp_ssl": False, "smtp_starttls": {"context": context}}


def trouble(error: Exception, settings: Mail) -> str:
    """Why there is no session, with the setting to look at. A server's answer may hold the password: see `hidden`."""
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
            said = said_by(error.smtp_code, error.smtp_error)
            return f"{where}: does not accept [mail] username and TRAINYARD_SMTP_PASSWORD: {said}"
        case smtplib.SMTPNotSupportedError():
            return f"{where}: does not offer what [mail] security and username ask for: {clean(str(error), 200)}"
        case smtplib.SMTPResponseException():
            return f"{where}: {said_by(error.smtp_code, error.smtp_error)}"
        case smtplib.SMTPServerDisconnected():
            if isinstance(error.__context__, TimeoutError):  # smtplib calls both by one name
                return trouble(error.__context__, settings)
            return f"{where}: hung up; does [mail] security fit the port?"
    return f"{where}: {clean(str(error), 200)}"


def said_by(code: int, text: bytes | str) -> str:
    return f"{code} {clean(text.decode('utf-8', 'replace') if isinstance(text, bytes) else text, 200)}"


def hidden(text: str, settings: Mail, password: str) -> str:
    """The text without the password, also as it is sent: a server may repeat what it was told."""
    if not password:
        return text
    user, secret = settings.username.encode(), password.encode()
    sent = [base64.b64encode(each).decode() for each in (secret, b"\0" + user + b"\0" + secret)]
    for each in (*sent, password):
        text = text.replace(each, "********")
    return text
