"""`trainyard notify --test`: each owner's address is tried, with a real mail server."""

import json
from email import message_from_bytes, policy

import pytest
from mail_server import PASSWORD, Inbox, servers

from pipelines.__main__ import main

serve = pytest.fixture(servers)
OWNERS = ("Olga <olga@company.example>", "deputy@company.example")


@pytest.fixture
def notify(tmp_path, monkeypatch, capsys):
    """Call it with settings for `[mail]`; gives the exit code, stdout and stderr."""

    def call(*arguments, **mail):
        values = {"to": list(OWNERS), "sender": "trainyard@company.example", **mail}
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
        (tmp_path / "trainyard.toml").write_text(
            'model = "digits"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n[mail]\n' + lines
        )
        monkeypatch.chdir(tmp_path)
        return main(["notify", "--test", *arguments]), *capsys.readouterr()

    return call


def where(server):
    return {"host": server.settings.host, "port": server.settings.port, "security": "none"}


def test_each_owner_gets_one_and_the_servers_answer_is_shown(notify, serve, tmp_path):
    server = serve()
    code, out, _ = notify(**where(server), reply_to="team@company.example")
    assert code == 0
    assert out.splitlines() == ["sent     olga@company.example: 250 OK", "sent     deputy@company.example: 250 OK"]
    assert [each.rcpt_tos for each in server.inbox.taken] == [["olga@company.example"], ["deputy@company.example"]]
    mail = message_from_bytes(server.inbox.taken[0].content, policy=policy.default)
    assert mail["Reply-To"] == "team@company.example"
    assert str(tmp_path) in mail.get_body(("plain",)).get_content()
    assert not (tmp_path / ".trainyard").exists(), "a test mail waits for nothing"


def test_a_refused_recipient_is_named_and_the_others_get_theirs(notify, serve):
    server = serve(Inbox(rcpt={"olga@company.example": "550 no such user"}))
    code, out, _ = notify(**where(server))
    assert code == 2
    assert out.splitlines() == [
        "refused  olga@company.example: the server refuses olga@company.example: 550 no such user",
        "sent     deputy@company.example: 250 OK",
    ]


def test_what_may_work_later_ends_with_75(notify, serve):
    server = serve(Inbox(rcpt={"deputy@company.example": "451 try later"}))
    code, out, _ = notify("--json", **where(server))
    assert code == 75
    olga, deputy = json.loads(out)["recipients"]
    assert (olga["taken"], deputy["taken"], deputy["final"]) == (True, False, False)
    assert "451 try later" in deputy["reply"]


def test_the_password_is_not_in_an_answer_that_repeats_it(notify, serve, monkeypatch):
    monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD", PASSWORD)
    server = serve(Inbox(rcpt={"olga@company.example": f"550 {PASSWORD} is not a user"}))
    _, out, _ = notify(**where(server))
    assert PASSWORD not in out
    assert "550 ******** is not a user" in out


def test_without_a_server_it_says_what_to_set(notify):
    code, _, errors = notify()
    assert code == 2
    assert "[mail] host is not set" in errors


@pytest.mark.parametrize("address", ["nobody", "a@b.example\r\nBcc: all@b.example"])
def test_an_address_to_reply_to_that_is_not_one_is_refused_with_the_settings(notify, address):
    code, _, errors = notify(reply_to=[address])
    assert code == 2
    assert "mail.reply_to:" in errors


def test_a_password_that_is_not_set_or_is_wrong_is_for_a_person_to_mend(notify, serve, monkeypatch):
    code, _, errors = notify(host="127.0.0.1", port=1, security="none", username="olga")
    assert (code, "TRAINYARD_SMTP_PASSWORD is not set" in errors) == (2, True)
    assert "hint: set it, or TRAINYARD_SMTP_PASSWORD_FILE" in errors
    code, _, errors = notify(host="127.0.0.1", port=1, security="starttls", ca_file="nothing.pem")
    assert (code, "hint: name a PEM file" in errors) == (2, True)
    code, out, _ = notify(host="127.0.0.1", port=1, security="none")
    assert (code, "not now" in out) == (75, True), "a server that is away may be back"
