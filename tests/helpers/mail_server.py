"""A real mail server on the loopback interface, and what it was given."""

import socket
from email import message_from_bytes, policy

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from pipelines.config.schema import Mail

PASSWORD = "s3cr3t-of-the-relay"


class Inbox:
    """What a mail server does with what it is given; `taken` are the mails that it accepted."""

    def __init__(self, *, rcpt=None, data=None):
        self.taken, self.users = [], []
        self.rcpt, self.data = rcpt or {}, data

    async def handle_RCPT(self, server, session, envelope, address, options):
        if answer := self.rcpt.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.data and (answer := await self.data(server)):
            return answer
        self.taken.append(envelope)
        return "250 OK"

    def authenticate(self, server, session, envelope, mechanism, login):
        self.users.append(login.login.decode())
        return AuthResult(success=login.password.decode() == PASSWORD, handled=False)

    @property
    def subjects(self):
        return [message_from_bytes(each.content, policy=policy.default)["Subject"] for each in self.taken]

    @property
    def ids(self):
        return [message_from_bytes(each.content)["Message-ID"].partition(".")[0][1:] for each in self.taken]


class Server(Controller):
    """Listens on a free loopback port; `settings` are those of a client that fits."""

    def __init__(self, inbox, security="none", tls=None, *, auth=False, port=0):
        self.socket = socket.create_server(("127.0.0.1", port))
        self.inbox = inbox
        self.tls = {"tls_context": tls, "require_starttls": True} if security == "starttls" else {}
        self.auth = {}
        if auth:  # aiosmtpd calls only STARTTLS TLS, and warns of a password without it
            starttls = security == "starttls"
            self.auth = {"authenticator": inbox.authenticate, "auth_required": starttls, "auth_require_tls": starttls}
        over = {"ssl_context": tls} if security == "smtps" else {}
        super().__init__(inbox, hostname="127.0.0.1", port=self.socket.getsockname()[1], **over)
        self.settings = Mail(
            sender="trainyard@company.example",
            host="127.0.0.1",
            port=self.port,
            security=security,
            timeout_seconds=20.0,
        )

    def factory(self):
        return SMTP(self.inbox, **self.tls, **self.auth)

    def _create_server(self):
        return self.loop.create_server(self._factory_invoker, sock=self.socket, ssl=self.ssl_context)


def servers():
    """For a fixture: a function that starts a mail server; all are stopped at the end."""
    started = []

    def start(inbox=None, *args, **options):
        started.append(Server(inbox or Inbox(), *args, **options))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        if server.loop.is_running():
            server.stop()
