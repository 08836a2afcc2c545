"""One call of the monitor: what it keeps, what it sends, and what happens when a server, a file or a clock is not as it should be."""

import json
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from certificates import write_certificate
from mail_server import PASSWORD, servers
from monitor_parts import at, columns, config, drift, failing, health, later, looking, name, names, passing

from pipelines.config.schema import Mail
from pipelines.monitor.service import call, monitor_once
from pipelines.monitor.state import MonitorState
from pipelines.monitor.store import MOST_CHECKS, MonitorStore
from registry.errors import ConfigError, Corrupt, TryAgain, WorkerFailed
from registry.files import try_lock
from registry.records.monitoring import Histogram, Silence


class Inbox:
    """Takes every mail."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, _server, _session, envelope):
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


class MailServer(Controller):
    """Listens on a free loopback port."""

    def __init__(self, inbox):
        self.socket = socket.create_server(("127.0.0.1", 0))
        super().__init__(inbox, hostname="127.0.0.1", port=self.socket.getsockname()[1])

    def _create_server(self):
        return self.loop.create_server(self._factory_invoker, sock=self.socket)


@contextmanager
def mail_server():
    """Gives the settings, and what has come."""
    inbox = Inbox()
    server = MailServer(inbox)
    server.start()
    try:
        yield (
            Mail(
                sender="trainyard@company.example",
                to=("owner@company.example",),
                host="127.0.0.1",
                port=server.port,
                security="none",
            ),
            inbox.mails,
        )
    finally:
        server.stop()


relay = pytest.fixture(servers)


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["Authorization"], json.loads(body)))
        self.send_response(self.server.codes.pop(0) if self.server.codes else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@contextmanager
def hook(*codes):
    """A webhook that answers with these codes, and then 200; `asked` is what has come."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hook) as server:
        server.asked, server.codes, server.url = [], list(codes), f"http://127.0.0.1:{server.server_port}/hooks/x"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def mails(folder, place="pending"):
    """The mails of the monitor in the outbox."""
    return sorted((folder / "home" / "outbox" / place).glob("*.eml"))


def test_an_alarm_is_kept_mailed_counted_and_shown(tmp_path):
    settings = config(tmp_path)
    outcome = monitor_once(settings, looking(failing(1), failing(2), histograms=columns()))
    store = MonitorStore(settings)
    assert outcome.exit_code == 3
    assert [each.alarm.cause for each in outcome.raised] == ["drift inputs.mass"]
    assert names(store) == [name(failing(1)), name(failing(2))]
    assert store.health(name(failing(2))) == failing(2)
    assert store.alarm(1) == outcome.open[0].alarm
    assert [each.partition(" ")[2] for each in store.alarm(1).done] == ["raised", "mail to owner@company.example"]
    assert len(mails(tmp_path)) == 1
    assert 'trainyard_monitor_alarms_open{model="digits",kind="drift"} 1' in (store.folder / "metrics.prom").read_text()
    assert "drift of inputs.mass" in (store.folder / "report" / "index.html").read_text()


def test_without_a_complete_window_nothing_changes(tmp_path):
    settings = config(tmp_path)
    outcome = monitor_once(settings, looking())
    assert (outcome.exit_code, outcome.found, outcome.newest) == (0, (), None)
    monitor_once(settings, looking(failing(1), failing(2)))
    again = monitor_once(settings, looking())
    assert (again.exit_code, again.found, again.raised) == (3, (), ())
    assert again.newest == failing(2)
    assert len(mails(tmp_path)) == 1


def test_the_worker_is_asked_for_what_comes_after_the_last_windows(tmp_path):
    settings, look = config(tmp_path), looking(passing(1), passing(2, release=5))
    monitor_once(settings, look, since=at(0))
    monitor_once(settings, look)
    (first, second) = look.asked
    assert (first[0], first[2]) == ({}, at(0))
    assert (second[0], second[2]) == ({"4": at(1), "5": at(2)}, "")


def test_mails_reach_a_real_server_one_per_call(tmp_path):
    with mail_server() as (server, came):
        settings = config(tmp_path, server)
        monitor_once(settings, looking(failing(1)))
        assert came == []
        for number in range(2, 6):
            monitor_once(settings, looking(failing(number)))
        monitor_once(settings, looking(passing(6)))
    subjects = [each["Subject"] for each in came]
    assert subjects == [
        "[digits] ALARM: drift of inputs.mass: distribution",
        "[digits] over: drift of inputs.mass: distribution",
    ]
    text = came[0].get_body(("plain",)).get_content()
    for wanted in (
        "the median was 12, and now it is 20",
        "1 of 2,500 windows",
        "monitor silence 'drift inputs.mass' --until",
        "report/index.html",
    ):
        assert wanted in text
    assert "drift of inputs.mass" in came[0].get_body(("html",)).get_content()
    assert "Nothing." in came[1].get_body(("plain",)).get_content()


def test_mails_reach_a_relay_that_wants_tls_and_a_password_and_wait_while_the_password_is_wrong(
    tmp_path, relay, monkeypatch
):
    write_certificate(tmp_path / "tls")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "tls" / "cert.pem", tmp_path / "tls" / "key.pem")
    server = relay(None, "starttls", tls, auth=True)
    owners, trusted = ("owner@company.example",), str(tmp_path / "tls" / "cert.pem")
    settings = config(tmp_path, replace(server.settings, to=owners, username="monitor", ca_file=trusted))
    monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD", "not the relay's")
    refused = monitor_once(settings, looking(failing(1), failing(2)))
    assert any("does not accept [mail] username" in each for each in refused.problems)
    assert "not the relay's" not in str(refused)
    assert (server.inbox.taken, len(mails(tmp_path))) == ([], 1)
    monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD", PASSWORD)
    assert monitor_once(settings, looking()).problems == ()
    assert server.inbox.subjects == ["[digits] ALARM: drift of inputs.mass: distribution"]
    assert set(server.inbox.users) == {"monitor"}
    unknown = replace(settings, mail=replace(settings.mail, ca_file=""))
    monitor_once(unknown, looking(passing(3)))
    assert len(server.inbox.taken) == 1, "nothing is sent to a server whose certificate nobody vouches for"
    assert len(mails(tmp_path)) == 1


def test_a_mail_server_that_is_away_keeps_neither_the_alarm_nor_the_webhook_from_people(tmp_path):
    with hook() as server:
        away = Mail(
            sender="t@company.example", to=("owner@company.example",), host="127.0.0.1", port=1, security="none"
        )
        settings = config(tmp_path, away, webhook=server.url)
        outcome = monitor_once(settings, looking(failing(1), failing(2)))
        assert outcome.exit_code == 3
        assert any("127.0.0.1:1" in each for each in outcome.problems)
        assert len(server.asked) == 1
    with mail_server() as (back, came):
        outcome = monitor_once(config(tmp_path, back, webhook=server.url), looking())
        assert (len(came), outcome.problems) == (1, ())


def test_the_webhook_gets_each_notice_with_its_token(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINYARD_MONITOR_TOKEN", "s3cret")
    with hook() as server:
        monitor_once(config(tmp_path, webhook=server.url), looking(failing(1), failing(2)))
    ((path, token, document),) = server.asked
    assert (path, token) == ("/hooks/x", "Bearer s3cret")
    assert document["text"] == "[digits] ALARM: drift of inputs.mass: distribution"
    assert document["window"] == {"since": at(1), "until": at(2), "rows": 412, "labelled": 40}
    (notice,) = document["notices"]
    assert (notice["kind"], notice["cause"], notice["alarm"]) == ("raised", "drift inputs.mass", 1)
    assert notice["check"]["effect"] == 0.31
    assert notice["check"]["now"] is None


def test_a_webhook_that_fails_gets_all_notices_later_in_their_order(tmp_path):
    with hook(503, 401) as server:
        settings = config(tmp_path, webhook=server.url)
        first = monitor_once(settings, looking(failing(1), failing(2)))
        assert any("503" in each for each in first.problems)
        second = monitor_once(settings, looking(passing(3)))
        assert any("401" in each for each in second.problems)
        assert len(mails(tmp_path)) == 2
        third = monitor_once(settings, looking())
        assert not any(each.startswith("webhook") for each in third.problems)
    assert [each[2]["notices"][0]["kind"] for each in server.asked] == ["raised", "raised", "raised", "over"]


def test_what_a_webhook_never_takes_is_set_aside_and_named(tmp_path):
    with hook(400) as server:
        settings = config(tmp_path, webhook=server.url)
        outcome = monitor_once(settings, looking(failing(1), failing(2)))
        (aside,) = (MonitorStore(settings).folder / "webhook" / "refused").iterdir()
        assert any(str(aside) in each for each in outcome.problems)
        monitor_once(settings, looking(passing(3)))
    assert [each[2]["notices"][0]["kind"] for each in server.asked] == ["raised", "over"]


def test_a_webhook_that_is_away_does_not_hold_up_the_mail(tmp_path):
    outcome = monitor_once(config(tmp_path, webhook="http://127.0.0.1:1/x"), looking(failing(1), failing(2)))
    assert len(mails(tmp_path)) == 1
    assert any("cannot be reached" in each for each in outcome.problems)


def test_an_outbox_that_cannot_be_written_keeps_the_notice(tmp_path):
    settings = config(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "outbox").write_text("in the way")
    outcome = monitor_once(settings, looking(failing(1), failing(2)))
    assert outcome.exit_code == 3
    assert any(each.startswith("no mail: ") for each in outcome.problems)
    (tmp_path / "home" / "outbox").unlink()
    monitor_once(settings, looking())
    assert len(mails(tmp_path)) == 1
    assert MonitorStore(settings).state().pending == ()


def test_a_second_monitor_is_refused_and_the_first_is_not_disturbed(tmp_path):
    settings = config(tmp_path)
    store = MonitorStore(settings)
    with store.alone():
        with pytest.raises(TryAgain, match="another monitor of this model is running"):
            monitor_once(settings, looking(failing(1)))
        assert call(settings, store, looking(failing(1), failing(2))).exit_code == 3
    assert monitor_once(settings, looking()).exit_code == 3


def test_the_lock_is_free_after_a_call(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking())
    with (MonitorStore(settings).folder / "lock").open() as lock:
        assert try_lock(lock)


def test_a_clock_that_was_set_back_is_reported_and_a_person_can_begin_anew(tmp_path):
    settings = config(tmp_path)
    store = MonitorStore(settings)
    store.save(MonitorState(positions={"4": "2126-01-01T00:00:00Z"}))
    with pytest.raises(TryAgain, match=r"the clock says .* ended at 2126-01-01T00:00:00Z") as caught:
        monitor_once(settings, looking(failing(1)))
    assert "--since" in caught.value.hint
    assert monitor_once(settings, looking(failing(1)), since=at(0)).found == (failing(1),)
    assert store.state().positions == {"4": at(1)}


def test_who_begins_anew_after_a_clock_that_was_ahead_is_led_to_the_last_window_before_it(tmp_path):
    settings = config(tmp_path)
    store = MonitorStore(settings)
    monitor_once(settings, looking(passing(1), passing(2)))
    store.save(replace(store.state(), positions={"4": "2126-01-01T00:00:00Z"}))
    with pytest.raises(TryAgain) as caught:
        monitor_once(settings, looking())
    assert caught.value.hint.endswith(f"--since {at(2)}"), "what came after it may not have been checked"
    monitor_once(settings, looking(passing(3)), since=at(2))
    assert store.state().positions == {"4": at(3)}


def test_what_was_decided_is_sent_although_nothing_can_be_checked_now(tmp_path):
    settings = config(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "outbox").write_text("in the way")
    monitor_once(settings, looking(failing(1), failing(2)))
    (tmp_path / "home" / "outbox").unlink()

    def broken(*_):
        raise WorkerFailed("the worker was killed")

    with pytest.raises(WorkerFailed):
        monitor_once(settings, broken)
    assert len(mails(tmp_path)) == 1


def test_health_records_are_bounded_by_the_setting(tmp_path):
    settings = config(tmp_path, keep=3)
    monitor_once(settings, looking(*(passing(n) for n in range(1, 8))))
    assert names(MonitorStore(settings)) == [name(passing(n)) for n in (5, 6, 7)]


def test_of_very_many_checks_those_that_failed_are_kept(tmp_path):
    settings = config(tmp_path)
    many = [drift(f"inputs.{n}", "passed") for n in range(MOST_CHECKS)]
    monitor_once(settings, looking(health(1, drift(), *many)))
    kept = MonitorStore(settings).newest()
    assert len(kept.checks) == MOST_CHECKS
    assert kept.failed == (drift(),)
    assert kept.notes == ("1 checks that did not fail are not kept",)


@pytest.mark.parametrize("file", ["state.json", "alarms/000001.json", f"health/{name(failing(2))}.json"])
@pytest.mark.parametrize(
    "spoil", [lambda data: data[: len(data) // 2], lambda data: data.replace(b"drift", b"drive"), lambda _: b""]
)
def test_a_corrupted_file_is_named_with_what_to_do(tmp_path, file, spoil):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1), failing(2)))
    path = MonitorStore(settings).folder / file
    path.write_bytes(spoil(path.read_bytes()))
    store = MonitorStore(settings)
    with pytest.raises(Corrupt, match=file) as caught:
        (store.state(), store.newest(), store.alarm(1))
    assert "remove it" in caught.value.hint


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1)))
    path = MonitorStore(settings).folder / "state.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(Corrupt, match=r"state\.json: it is a folder"):
        MonitorStore(settings).state()


def test_without_its_state_the_monitor_resumes_and_mails_nothing_twice(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1), failing(2)))
    (MonitorStore(settings).folder / "state.json").unlink()
    look = looking(failing(1), failing(2), failing(3))
    outcome = monitor_once(settings, look)
    assert outcome.found == (failing(3),)
    assert (outcome.exit_code, outcome.raised) == (3, ())
    assert len(mails(tmp_path)) == 1


def test_an_unreadable_chart_is_no_reason_not_to_monitor(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1), histograms=columns()))
    (MonitorStore(settings).folder / "charts.json").write_text("x")
    assert monitor_once(settings, looking(failing(2))).exit_code == 3


def test_a_bug_in_the_report_keeps_no_alarm_from_people(tmp_path, capsys):
    impossible = Histogram("x", (), ("a value without a share",), (), (), 0.0, 0.0, 1)
    outcome = monitor_once(config(tmp_path), looking(failing(1), failing(2), histograms=[impossible]))
    assert outcome.exit_code == 3
    assert len(mails(tmp_path)) == 1
    assert any(each.startswith("no report, a bug in Trainyard: ") for each in outcome.problems)
    assert "Traceback" in capsys.readouterr().err


def test_silences_count_until_they_end_or_are_taken_back(tmp_path):
    settings = config(tmp_path)
    store = MonitorStore(settings)
    store.silence(Silence("drift inputs.mass", "2126-01-01T00:00:00Z", "ada", "a new scanner"))
    outcome = monitor_once(settings, looking(failing(1), failing(2)))
    assert (outcome.exit_code, outcome.open, mails(tmp_path)) == (0, (), [])
    assert store.unsilence("drift inputs.mass")
    assert not store.unsilence("drift inputs.mass")
    assert monitor_once(settings, looking(failing(3))).exit_code == 3
    store.silence(Silence("drift inputs.mass", "2020-01-01T00:00:00Z", "ada"))
    assert store.silences() == []


def test_an_open_alarm_that_is_silenced_ends_with_0(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1), failing(2)))
    MonitorStore(settings).silence(Silence("drift inputs.mass", "2126-01-01T00:00:00Z", "ada"))
    outcome = monitor_once(settings, looking())
    assert (outcome.exit_code, len(outcome.open), outcome.heard) == (0, 1, ())


def test_what_was_done_about_an_alarm_stays_with_it(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1), failing(2)))
    store = MonitorStore(settings)
    with store.alone():
        store.record(1, "started run abc", run="abc")
    monitor_once(settings, looking(passing(3)))
    with store.alone():
        store.record(1, "run abc was rejected")
    alarm = store.alarm(1)
    assert alarm.run == "abc"
    assert [each.partition(" ")[2] for each in alarm.done] == [
        *("raised", "mail to owner@company.example", "started run abc"),
        *("over", "mail to owner@company.example", "run abc was rejected"),
    ]


def test_a_window_is_found_by_the_beginning_of_its_name(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(passing(1), passing(2)))
    store = MonitorStore(settings)
    assert store.find(name(passing(1))) == passing(1)
    assert store.find(name(passing(2))[:4]) == passing(2)
    with pytest.raises(ConfigError, match="no window '1999'") as caught:
        store.find("1999")
    assert name(passing(2)) in caught.value.hint


def test_facts_of_foreign_words_do_not_break_page_mail_or_metrics(tmp_path):
    evil = '</td><script>alert(1)</script>"\\\n\x1b[31m'
    settings = config(tmp_path)
    window = later(health(2, drift(f"inputs.{evil}")), rows=10)
    outcome = monitor_once(settings, looking(health(1, drift(f"inputs.{evil}")), window))
    assert outcome.exit_code == 3
    assert not [each for each in outcome.problems if "no mail server" not in each]
    store = MonitorStore(settings)
    assert "<script>" not in (store.folder / "report" / "index.html").read_text()
    (mail,) = mails(tmp_path)
    html = (
        message_from_bytes(mail.read_bytes().split(b"\r\n", 1)[1], policy=policy.default)
        .get_body(("html",))
        .get_content()
    )
    assert "<script>" not in html
    assert "\x1b" not in html
