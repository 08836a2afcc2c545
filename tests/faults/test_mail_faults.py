"""A mail server that misbehaves: the mail arrives later and once, or is reported; the run keeps its verdict; no password shows.

The servers are plain sockets that follow a script, as no well-behaved library would do what they do. What a healthy
server and the outbox do is in tests/pipelines/mail/test_outbox.py.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from faults_parts import mail, small_team
from hypothesis import given
from hypothesis import strategies as st
from registry_faults_parts import small_disk

from pipelines.config.schema import Mail
from pipelines.mail.outbox import deliver, post
from pipelines.mail.smtp import redact

PASSWORD = "s3cret+of/the=relay"
DROP = object()
"""Close the connection instead of an answer."""


class ScriptedServer:
    """Answers each command as the script says, else as a server does; `taken` are the mails that it accepted.

    `script`: command → answer, `DROP`, a function that is called first and gives one of these, or a list of them, one
    per time. `greeting`, `.` (the end of the text) and `after .` count as commands.
    """

    def __init__(self, script=None, tls=None, starttls=None, port=0, letter=0.0):
        self.script, self.tls, self.starttls, self.letter = script or {}, tls, starttls, letter
        self.taken, self.heard = [], []
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        security = "smtps" if tls else "starttls" if starttls else "none"
        self.settings = Mail(
            sender="trainyard@company.example",
            host="127.0.0.1",
            port=self.port,
            security=security,
            timeout_seconds=10.0,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _listen(self):
        while True:
            try:
                line, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line):
        with contextlib.suppress(OSError), contextlib.ExitStack() as ours:
            ours.callback(line.close)
            if self.tls:
                line = ours.enter_context(self.tls.wrap_socket(line, server_side=True))
            self._talk(line, ours)

    def _talk(self, line, ours):
        reader = ours.enter_context(line.makefile("rb"))
        if not self._say(line, "greeting", "220 ready"):
            return
        while said := reader.readline():
            self.heard.append(said)
            word = said.split()[0].decode().upper()
            usual = {
                "EHLO": "250-here\r\n250-AUTH PLAIN LOGIN"
                + ("\r\n250 STARTTLS" if self.starttls else "\r\n250 8BITMIME")
            }
            usual |= {"DATA": "354 send it", "AUTH": "235 come in", "QUIT": "221 bye", "STARTTLS": "220 ready"}
            if not self._say(line, word, usual.get(word, "250 OK")):
                return
            if word == "STARTTLS":
                line = ours.enter_context(self.starttls.wrap_socket(line, server_side=True))
                reader = ours.enter_context(line.makefile("rb"))
            elif word == "DATA":
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    more = reader.readline()
                    if not more:
                        return
                    text += more
                answer = self._answer(".", "250 taken")
                if answer is not DROP and answer.startswith("250"):
                    self.taken.append(text)
                if not self._say(line, ".", answer, asked=True) or self._answer("after .", "") is DROP:
                    return

    def _answer(self, word, usual):
        given = self.script.get(word, usual)
        if isinstance(given, list):
            given = given.pop(0) if given else usual
        return given() or usual if callable(given) else given

    def _say(self, line, word, usual, *, asked=False):
        answer = usual if asked else self._answer(word, usual)
        if answer is DROP:
            return False
        data = answer.encode() + b"\r\n"
        if self.letter:
            for letter in data:
                line.sendall(bytes([letter]))
                time.sleep(self.letter)
        else:
            line.sendall(data)
        return True

    @property
    def ids(self):
        return [text.partition(b"Message-ID: <")[2].partition(b".")[0].decode() for text in self.taken]


@pytest.fixture
def serve():
    servers = []

    def start(*arguments, **options):
        servers.append(ScriptedServer(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def changed(settings, **changes):
    return Mail(**{name: changes.get(name, getattr(settings, name)) for name in Mail.__dataclass_fields__})


def lies(outbox):
    return {place: len(list((outbox / place).iterdir())) for place in ("pending", "sent", "failed")}


WAITING, SENT, FAILED = ({"pending": a, "sent": b, "failed": c} for a, b, c in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
PASSING = {
    "a greeting that refuses": ({"greeting": ["421 too busy"]}, "421 too busy"),
    "no greeting at all": ({"greeting": [DROP]}, "closed the connection"),
    "an end after EHLO": ({"EHLO": [DROP, DROP]}, "closed the connection"),
    "a sender that has to wait": ({"MAIL": ["451 greylisted"]}, "451 greylisted"),
    "a recipient that has to wait": ({"RCPT": ["450 mailbox busy"]}, "450 mailbox busy"),
    "an end before the text": ({"DATA": [DROP]}, "closed the connection"),
    "a text that it cannot take now": ({".": ["452 disk full"]}, "452 disk full"),
    "an end after the text, before the answer": ({".": [DROP]}, "closed the connection"),
    "a sender that it does not like": ({"MAIL": ["553 who are you"]}, "[mail] sender"),
    "an answer that is not SMTP": ({"EHLO": ["hello!", "hello!"], "HELO": ["hello!"]}, "127.0.0.1"),
    "an answer without end": ({"EHLO": ["250-" + "x" * 9000]}, "127.0.0.1"),
}


@pytest.mark.parametrize(("script", "said"), PASSING.values(), ids=PASSING)
def test_an_error_that_passes_keeps_the_mail_which_then_arrives_once(tmp_path, serve, script, said):
    server = serve({word: list(answers) for word, answers in script.items()})
    post(mail(), tmp_path)
    first = deliver(tmp_path, server.settings, "")
    assert said in first.reasons[0]
    assert (lies(tmp_path), server.ids) == (WAITING, [])
    for _ in range(2):
        post(mail(), tmp_path)  # the step is run again
        deliver(tmp_path, server.settings, "")
    assert (lies(tmp_path), server.ids) == (SENT, ["run1"])


@pytest.mark.parametrize(
    "end", [{"after .": DROP}, {"QUIT": DROP}, {"QUIT": "500 never"}], ids=["silence", "drop", "refusal"]
)
def test_after_the_server_has_accepted_it_nothing_sends_the_mail_again(tmp_path, serve, end):
    server = serve(end)
    post(mail(), tmp_path)
    for _ in range(2):
        assert deliver(tmp_path, server.settings, "").reasons == []
    assert (lies(tmp_path), server.ids) == (SENT, ["run1"])


def test_one_of_two_recipients_is_refused_and_the_other_waits_for_nobody(tmp_path, serve):
    server = serve({"RCPT": lambda: "550 no such user" if b"gone@" in server.heard[-1] else None})
    post(mail(to="gone@company.example, owner@company.example"), tmp_path)
    result = deliver(tmp_path, server.settings, "")
    assert "550 no such user" in result.reasons[0]
    assert lies(tmp_path) == {"pending": 0, "sent": 1, "failed": 1}
    assert deliver(tmp_path, server.settings, "").reasons == []
    assert server.ids == ["run1"]


@pytest.mark.slow
class TestSlow:
    @pytest.mark.parametrize("security", ["none", "smtps", "starttls"])
    def test_a_server_that_says_a_letter_now_and_then_does_not_keep_us(self, tmp_path, serve, certificate, security):
        context = certificate()[0] if security != "none" else None
        tls = {"tls": context} if security == "smtps" else {"starttls": context}
        server = serve(letter=0.3, **tls)  # each letter in time, and the whole conversation in a minute
        post(mail(), tmp_path)
        ca_file = certificate()[1] if security != "none" else ""
        result = deliver(tmp_path, changed(server.settings, timeout_seconds=0.6, ca_file=ca_file), "")
        assert "too slow: its answers took more than 3 s together" in result.reasons[0]
        assert (lies(tmp_path), server.taken) == (WAITING, [])

    def test_a_handshake_that_nobody_answers_ends(self, tmp_path, serve):
        server = serve(letter=0.3)  # speaks no TLS, and slowly
        post(mail(), tmp_path)
        result = deliver(tmp_path, changed(server.settings, security="smtps", timeout_seconds=0.5), "")
        assert len(result.reasons) == len(result.kept) == 1

    def test_no_thread_is_left(self, tmp_path, serve):
        server = serve({".": [DROP]})
        for _ in range(3):
            post(mail(), tmp_path)
            deliver(tmp_path, server.settings, "")
        assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Makes a certificate that signs itself: (server context, its file)."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(name="127.0.0.1", first_day=-1, last_day=1):
        file = folder / f"{name}{first_day}{last_day}.pem"
        if not file.exists():
            key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
            about = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
            days = [now + dt.timedelta(days) for days in (first_day, last_day)]
            address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))])
            builder = x509.CertificateBuilder(about, about, key.public_key(), x509.random_serial_number(), *days)
            signed = builder.add_extension(address, critical=True).sign(key, hashes.SHA256())
            file.write_bytes(
                signed.public_bytes(serialization.Encoding.PEM)
                + key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context, str(file)

    return make


class TestCertificates:
    @pytest.mark.parametrize("security", ["tls", "starttls"])
    @pytest.mark.parametrize(
        ("how", "trusted"),
        [({}, False), ({"name": "127.0.0.9"}, True), ({"first_day": -9, "last_day": -1}, True), ({"first_day": 2, "last_day": 9}, True)],
        ids=["self-signed", "wrong host", "expired", "not valid yet"],
    )  # fmt: skip
    def test_a_bad_one_stops_us_before_the_password(self, tmp_path, serve, certificate, security, how, trusted):
        context, file = certificate(**how)
        server = serve(**{security: context})
        post(mail(), tmp_path)
        settings = changed(server.settings, username="relay", ca_file=file if trusted else "")
        result = deliver(tmp_path, settings, PASSWORD)
        assert "its certificate is not trusted" in result.reasons[0]
        assert (lies(tmp_path), server.taken) == (WAITING, [])
        assert not [each for each in server.heard if b"AUTH" in each]

    def test_it_is_sent_once_the_certificate_is_right(self, tmp_path, serve, certificate):
        context, file = certificate()
        post(mail(), tmp_path)
        bad = serve(tls=certificate(first_day=-9, last_day=-1)[0])
        deliver(tmp_path, changed(bad.settings, ca_file=file), "")
        good = serve(tls=context)
        assert deliver(tmp_path, changed(good.settings, ca_file=file), "").reasons == []
        assert (lies(tmp_path), good.ids) == (SENT, ["run1"])


class TestPassword:
    @pytest.mark.parametrize("answer", ["535 no", "454 try later", "535 bad: {password}", "535 you said {plain}", DROP])
    def test_it_never_shows_even_when_the_server_repeats_it(self, tmp_path, serve, certificate, answer):
        plain = base64.b64encode(f"\0relay\0{PASSWORD}".encode()).decode()
        if answer is not DROP:
            answer = answer.format(password=PASSWORD, plain=plain)
        context, file = certificate()
        server = serve({"AUTH": answer}, starttls=context)
        post(mail(), tmp_path)
        result = deliver(tmp_path, changed(server.settings, username="relay", ca_file=file), PASSWORD)
        assert [each for each in server.heard if b"AUTH" in each]
        assert lies(tmp_path) == WAITING
        assert PASSWORD not in str(result)
        assert plain not in str(result)

    @given(st.text(min_size=4, max_size=20).filter(lambda text: "*" not in text), st.text(max_size=30))
    def test_no_text_keeps_it(self, password, around):
        settings = Mail(username="relay")
        sent = base64.b64encode(b"\0relay\0" + password.encode("utf-8", "surrogatepass")).decode()
        for said in (around + password + around, f"{around}{sent}", password):
            assert password not in redact(said, settings, password).replace("********", "")


class TestOnce:
    def test_killed_between_acceptance_and_the_move_to_sent_it_is_sent_again_under_the_same_id(self, tmp_path, serve):
        """What holds: at least once, and twice only here. By the Message-ID the reader's mail program sees that it is the same."""
        pid = []
        server = serve({"after .": lambda: os.kill(pid[0], signal.SIGKILL) if len(server.taken) == 1 else None})
        server.script["."] = lambda: server.script.pop(".") and wait_for_pid(pid) and None
        post(mail(), tmp_path)
        code = (
            "from pathlib import Path; from pipelines.config.schema import Mail; import pipelines.mail.outbox as mail;"
            f"mail._move = lambda *_: __import__('time').sleep(60); mail.deliver(Path({str(tmp_path)!r}), {server.settings!r}, '')"
        )
        with subprocess.Popen([sys.executable, "-P", "-c", code]) as process:
            pid.append(process.pid)
        assert process.returncode == -signal.SIGKILL
        assert lies(tmp_path) == WAITING
        assert deliver(tmp_path, server.settings, "").reasons == []
        assert (lies(tmp_path), server.ids) == (SENT, ["run1", "run1"])
        assert len({text.partition(b"Message-ID:")[2].partition(b"\r\n")[0] for text in server.taken}) == 1

    def test_what_could_not_be_moved_to_sent_is_not_sent(self, tmp_path, serve):
        server = serve()
        with small_disk(tmp_path / "disk", size="1m") as disk:
            post(mail(), tmp_path / "disk" / "outbox")
            disk(ro="")
            for _ in range(2):
                assert "read-only" in deliver(tmp_path / "disk" / "outbox", server.settings, "").reasons[0]
            assert server.ids == []
            disk(rw="")
            deliver(tmp_path / "disk" / "outbox", server.settings, "")
        assert server.ids == ["run1"]


def wait_for_pid(pid):
    while not pid:
        time.sleep(0.01)
    return True


class TestRun:
    """A whole run, and a mail server that does not do its part."""

    def test_the_run_keeps_its_verdict_doctor_reports_the_server_and_the_mail_arrives_once_it_works(
        self, tmp_path, serve, certificate
    ):
        context, file = certificate()
        server = serve({"AUTH": f"535 not {PASSWORD}"}, starttls=context)
        team = small_team(tmp_path)
        team.write("dataset", {"1/broken.png": b"not an image"})
        team.push("dataset")
        with team.config.open("a", encoding="utf-8") as config:
            config.write(
                f'[mail]\nto = ["owner@company.example"]\nhost = "127.0.0.1"\nport = {server.port}\n'
                f'ca_file = "{file}"\nusername = "relay"\n'
            )
        secret = {"TRAINYARD_SMTP_PASSWORD": PASSWORD}
        done = team.trainyard("run", "code", code=2, env=secret)
        assert "broken.png" in done.stderr
        assert "does not accept [mail] username" in done.stderr
        doctor = team.trainyard("doctor", code=2, env=secret)
        assert "does not accept [mail] username" in doctor.stdout + doctor.stderr
        assert len(team.mails()) == 1
        server.script.clear()
        again = team.trainyard("run", "code", code=2, env=secret)  # the very run: nothing is done twice
        assert len(server.taken) == 1
        team.trainyard("run", "code", code=2, env=secret)
        assert len(server.taken) == 1
        assert team.mails() == []
        shown = "".join(each.stdout + each.stderr for each in (done, doctor, again))
        assert PASSWORD not in shown
        for path in team.home.rglob("*"):
            if path.is_file():
                assert PASSWORD.encode() not in path.read_bytes(), path
