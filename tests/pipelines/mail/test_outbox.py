"""The outbox: each mail waits there, whole and private, and is sent once. The mail servers here are real ones."""

import asyncio
import datetime as dt
import ipaddress
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mail_server import PASSWORD, Inbox, servers

from pipelines.config.schema import Mail
from pipelines.mail.outbox import check_security, deliver, post
from registry.errors import ConfigError


def mail(run="run1", to="owner@company.example", text="Version 3 waits."):
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"], message["From"], message["To"] = "[digits] accepted", "trainyard@company.example", to
    message["Message-ID"] = f"<{run}.accepted@company.example>"
    message.set_content(text)
    return message


def lies(outbox, place):
    return sorted(path.name.partition("-")[0] for path in (outbox / place).iterdir())


serve = pytest.fixture(servers)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A company's own certificate authority and a server certificate for 127.0.0.1: (server context, CA file)."""
    folder = tmp_path_factory.mktemp("ca")
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in ("Our own CA", "mail")]

    def certificate(subject, extension):
        builder = x509.CertificateBuilder(
            names[0], names[subject], keys[subject].public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        builder = builder.add_extension(extension, critical=True)
        if subject:
            key = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key())
            builder = builder.add_extension(key, critical=False)
        else:
            key = x509.SubjectKeyIdentifier.from_public_key(keys[0].public_key())
            builder = builder.add_extension(key, critical=False)
        return builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    (folder / "ca.pem").write_bytes(certificate(0, x509.BasicConstraints(ca=True, path_length=None)))
    (folder / "server.pem").write_bytes(
        certificate(1, address)
        + keys[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, str(folder / "ca.pem")


def changed(settings, **changes):
    return Mail(**{name: changes.get(name, getattr(settings, name)) for name in Mail.__dataclass_fields__})


class TestOutbox:
    def test_without_a_server_the_mail_can_be_read_in_the_outbox(self, tmp_path):
        (file,) = post(mail(), tmp_path)
        result = deliver(tmp_path, Mail(), "")
        assert (result.sent, result.kept, result.failed) == ([], [file.name], [])
        assert "no mail server is set" in result.reasons[0]
        assert b"Version 3 waits." in file.read_bytes()

    def test_a_mail_is_posted_once_wherever_it_lies_by_now(self, tmp_path):
        (file,) = post(mail(), tmp_path)
        for place in ("pending", "sent", "failed"):
            moved = file.rename(tmp_path / place / file.name)
            assert post(mail(text="again"), tmp_path) == [moved]
            file = moved
        assert [len(list((tmp_path / place).iterdir())) for place in ("pending", "sent", "failed")] == [0, 0, 1]

    def test_only_we_can_read_it_since_it_holds_an_approval(self, tmp_path):
        (file,) = post(mail(), tmp_path / "outbox")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "outbox", file.parent)} == {0o700}

    def test_an_id_that_looks_like_a_path_stays_in_the_outbox(self, tmp_path):
        message = mail()
        message.replace_header("Message-ID", "<../../etc/x.accepted@company.example>")
        (file,) = post(message, tmp_path / "outbox")
        assert file.parent == tmp_path / "outbox" / "pending"

    def test_many_that_post_the_same_at_once_post_one(self, tmp_path):
        with ThreadPoolExecutor(8) as pool:
            files = list(pool.map(lambda _: post(mail(), tmp_path)[0], range(16)))
        assert len(set(files)) == len(list((tmp_path / "pending").iterdir())) == 1

    def test_an_outbox_that_is_not_there_yet_has_nothing_to_send(self, tmp_path):
        assert deliver(tmp_path / "outbox", Mail(host="127.0.0.1", security="none"), "").reasons == []


class TestSending:
    @pytest.mark.parametrize("security", ["starttls", "smtps"])
    def test_it_is_sent_over_verified_tls_with_user_name_and_password(self, tmp_path, serve, authority, security):
        context, ca_file = authority
        server = serve(None, security, context, auth=True)
        post(mail(), tmp_path)
        settings = changed(server.settings, ca_file=ca_file, username="relay")  # yagmail would make it relay@gmail.com
        result = deliver(tmp_path, settings, PASSWORD)
        assert (len(result.sent), result.reasons) == (1, [])
        assert server.inbox.users == ["relay"]
        assert server.inbox.subjects == ["[digits] accepted"]
        assert lies(tmp_path, "sent") == ["run1.accepted"]

    @pytest.mark.parametrize("security", ["starttls", "smtps"])
    def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_password(
        self, tmp_path, serve, authority, security
    ):
        server = serve(None, security, authority[0], auth=True)
        post(mail(), tmp_path)
        result = deliver(tmp_path, changed(server.settings, username="relay"), PASSWORD)
        assert len(result.kept) == 1
        assert "certificate is not trusted" in result.reasons[0]
        assert "ca_file" in result.reasons[0]
        assert server.inbox.users == []

    def test_a_certificate_for_another_name_is_refused(self, tmp_path, serve, authority):
        server = serve(None, "smtps", authority[0])
        post(mail(), tmp_path)
        result = deliver(tmp_path, changed(server.settings, host="localhost", ca_file=authority[1]), "")
        assert "certificate is not trusted" in result.reasons[0]

    def test_a_server_that_cannot_encrypt_gets_nothing(self, tmp_path, serve):
        server = serve()
        post(mail(), tmp_path)
        result = deliver(tmp_path, changed(server.settings, security="starttls"), "")
        assert "does not offer what [mail] security" in result.reasons[0]
        assert (server.inbox.taken, len(result.kept)) == ([], 1)

    def test_the_wrong_kind_of_tls_says_to_look_at_the_port(self, tmp_path, serve):
        server = serve()
        post(mail(), tmp_path)
        result = deliver(tmp_path, changed(server.settings, security="smtps"), "")
        assert "does [mail] security fit the port?" in result.reasons[0]

    def test_a_wrong_password_is_reported_and_not_shown(self, tmp_path, serve, authority):
        server = serve(None, "starttls", authority[0], auth=True)
        post(mail(), tmp_path)
        settings = changed(server.settings, ca_file=authority[1], username="relay")
        (reason,) = deliver(tmp_path, settings, "guess-1234").reasons
        assert "does not accept [mail] username and TRAINYARD_SMTP_PASSWORD: 535" in reason
        assert "guess-1234" not in reason

    @pytest.mark.parametrize(
        ("changes", "password", "said"),
        [
            ({"username": "relay"}, "", "TRAINYARD_SMTP_PASSWORD is not set"),
            ({"username": "relay", "ca_file": "/no/such.pem"}, "x", "ca_file /no/such.pem: no readable certificates"),
            ({"ca_file": __file__}, "", "no readable certificates"),
            ({"host": "a" * 80 + ".example"}, "", "must be ASCII"),
        ],
        ids=["no password", "no CA file", "CA file without certificates", "no host name"],
    )
    def test_a_setting_that_cannot_work_is_reported_and_the_mail_kept(self, tmp_path, changes, password, said):
        post(mail(), tmp_path)
        result = deliver(tmp_path, changed(Mail(host="127.0.0.1", port=9), **changes), password)
        assert said in result.reasons[0]
        assert len(result.kept) == 1

    def test_unencrypted_it_goes_to_this_machine_only(self):
        for host in ("localhost", "127.0.0.1", "127.3.2.1", "::1", ""):
            check_security(Mail(host=host, security="none"))
        for host in ("mail.company.example", "10.0.0.1", "localhost.company.example"):
            with pytest.raises(ConfigError, match=r"\[mail\] security"):
                check_security(Mail(host=host, security="none"))

    def test_lines_that_begin_with_a_dot_and_non_ascii_arrive_as_they_were(self, tmp_path, serve):
        server = serve()
        text = ".\n..\nGrüße — 七\nFrom here on\n"
        post(mail(text=text), tmp_path)
        deliver(tmp_path, server.settings, "")
        got = message_from_bytes(server.inbox.taken[0].content, policy=policy.default)
        assert got.get_content().replace("\r\n", "\n") == text


class TestErrors:
    def test_a_server_that_was_down_gets_the_mail_at_the_next_run_once(self, tmp_path, serve):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        settings = Mail(sender="trainyard@company.example", host="127.0.0.1", port=port, security="none")
        post(mail(), tmp_path)
        down = deliver(tmp_path, settings, "")
        assert (down.sent, len(down.kept)) == ([], 1)
        assert f"127.0.0.1:{port}" in down.reasons[0]
        server = serve(port=port)
        for _ in range(3):
            post(mail(), tmp_path)  # the step ran again
            deliver(tmp_path, settings, "")
        assert server.inbox.ids == ["run1"]

    def test_a_server_that_does_not_answer_costs_one_time_limit(self, tmp_path):
        post(mail("run1"), tmp_path)
        post(mail("run2"), tmp_path)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            settings = Mail(host="127.0.0.1", port=silent.getsockname()[1], security="none", timeout_seconds=0.3)
            result = deliver(tmp_path, settings, "")
        assert len(result.kept) == 2
        (reason,) = result.reasons
        assert "no answer within 0.3 s" in reason

    def test_a_server_that_hangs_up_after_the_text_gets_it_again_and_once(self, tmp_path, serve):
        calls = []

        async def hang_up_first(server):
            calls.append(1)
            if len(calls) == 1:
                server.transport.abort()
                return "451 gone"

        server = serve(Inbox(data=hang_up_first))
        post(mail(), tmp_path)
        first = deliver(tmp_path, server.settings, "")
        assert (first.sent, len(first.kept)) == ([], 1)
        second = deliver(tmp_path, server.settings, "")
        assert (len(second.sent), second.reasons) == (1, [])
        assert server.inbox.ids == ["run1"]

    def test_a_mail_that_always_breaks_the_server_does_not_hold_up_the_others(self, tmp_path, serve):
        class Fragile(Inbox):
            async def handle_DATA(self, server, session, envelope):
                if b"poison" in envelope.content:
                    server.transport.abort()
                    return "451 gone"
                return await super().handle_DATA(server, session, envelope)

        server = serve(Fragile())
        for number, run in enumerate(("poison1", "poison2", "poison3", "good")):
            for file in post(mail(run), tmp_path):
                os.utime(file, (number, number))
        deliver(tmp_path, server.settings, "")  # gives up after two
        deliver(tmp_path, server.settings, "")
        assert server.inbox.ids == ["good"]
        assert lies(tmp_path, "pending") == ["poison1.accepted", "poison2.accepted", "poison3.accepted"]

    def test_a_recipient_who_does_not_exist_is_reported_and_the_other_gets_the_mail(self, tmp_path, serve):
        server = serve(Inbox(rcpt={"gone@company.example": "550 no such user"}))
        post(mail(to="gone@company.example, owner@company.example"), tmp_path)
        result = deliver(tmp_path, server.settings, "")
        assert (len(result.sent), len(result.failed), result.kept) == (1, 1, [])
        assert "the server refuses gone@company.example: 550 no such user" in result.reasons[0]
        assert lies(tmp_path, "failed") == lies(tmp_path, "sent") == ["run1.accepted"]
        assert deliver(tmp_path, server.settings, "").reasons == []
        assert [each.rcpt_tos for each in server.inbox.taken] == [["owner@company.example"]]

    def test_a_recipient_who_is_busy_gets_the_mail_later(self, tmp_path, serve):
        inbox = Inbox(rcpt={"owner@company.example": "451 try later"})
        server = serve(inbox)
        post(mail(), tmp_path)
        assert "451 try later" in deliver(tmp_path, server.settings, "").reasons[0]
        inbox.rcpt = {}
        assert len(deliver(tmp_path, server.settings, "").sent) == 1

    @pytest.mark.parametrize(("answer", "place"), [("554 spam", "failed"), ("452 disk full", "pending")])
    def test_a_refused_text_is_final_only_when_the_server_says_so(self, tmp_path, serve, answer, place):
        async def refuse(server):
            return answer

        server = serve(Inbox(data=refuse))
        post(mail(), tmp_path)
        result = deliver(tmp_path, server.settings, "")
        assert answer in result.reasons[0]
        assert lies(tmp_path, place) == ["run1.accepted"]

    def test_a_file_that_trainyard_did_not_write_is_put_aside(self, tmp_path, serve):
        post(mail(), tmp_path)
        (tmp_path / "pending" / "note.eml").write_text("remember the milk")
        result = deliver(tmp_path, serve().settings, "")
        assert (len(result.sent), result.failed) == (1, ["note.eml"])

    def test_an_answer_of_a_strange_server_stays_one_harmless_line(self, tmp_path, serve):
        async def refuse(server):
            return "554 \x1b[31mred " + "x" * 400

        server = serve(Inbox(data=refuse))
        post(mail(), tmp_path)
        (reason,) = deliver(tmp_path, server.settings, "").reasons
        assert "\x1b" not in reason
        assert len(reason) < 400


class TestManyAtOnce:
    def test_processes_that_deliver_at_once_send_each_mail_once(self, tmp_path, serve):
        server = serve()
        for number in range(8):
            post(mail(f"run{number}"), tmp_path)
        with ThreadPoolExecutor(4) as pool:  # claims are per open file, so threads do for processes
            results = list(pool.map(lambda _: deliver(tmp_path, server.settings, ""), range(4)))
        assert sorted(server.inbox.ids) == [f"run{number}" for number in range(8)]
        assert sum(len(each.sent) for each in results) == 8
        assert not [reason for each in results for reason in each.reasons]

    def test_a_mail_whose_sender_was_killed_is_free_again(self, tmp_path, serve):
        reached, killed = threading.Event(), threading.Event()

        async def wait_for_the_kill(server):
            if not reached.is_set():
                reached.set()
                await asyncio.to_thread(killed.wait, 60)
                return "451 never heard"

        server = serve(Inbox(data=wait_for_the_kill))
        post(mail(), tmp_path)
        code = (
            "from pathlib import Path; from pipelines.config.schema import Mail; from pipelines.mail.outbox import deliver;"
            f"deliver(Path({str(tmp_path)!r}), {server.settings!r}, '')"
        )
        with subprocess.Popen([sys.executable, "-P", "-c", code]) as process:
            assert reached.wait(60)
            assert deliver(tmp_path, server.settings, "").sent == []  # it is the other's
            process.send_signal(signal.SIGKILL)
        killed.set()
        assert len(deliver(tmp_path, server.settings, "").sent) == 1
        assert server.inbox.ids == ["run1"]


def test_reading_the_outbox_loads_no_mail_library(tmp_path):
    post(mail(), tmp_path)
    code = (
        "import sys; from pathlib import Path; from pipelines.config.schema import Mail; from pipelines.mail.outbox import deliver;"
        f"deliver(Path({str(tmp_path)!r}), Mail(), ''); print('yagmail' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
