"""The page Monitor: how the live release does, in words and drawings; silence and retrain."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from console_parts import ConsoleProject
from monitor_parts import columns, decay, drift, failing, health, looking, passing

from pipelines.console import background
from pipelines.console.monitoring.judgement import public
from pipelines.console.services import audit_of
from pipelines.monitor.retrain import obstacle
from pipelines.monitor.service import monitor_once
from pipelines.monitor.store import MonitorStore

TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"


class Watched(ConsoleProject):
    """A model whose monitor has seen some windows."""

    def __init__(self, folder, *windows, histograms=()):
        super().__init__(folder)
        self.config = replace(self.config, prediction_log=replace(self.config.prediction_log, enabled=True))
        self.store = MonitorStore(self.config)
        if windows:
            monitor_once(self.config, looking(*windows, histograms=histograms))
        self.here = f"/models/{self.model}/monitor"
        self.console = self.app()

    def page(self, role="viewer", more=""):
        return self.browser(role, self.console).get(self.here + more)

    def send(self, role, action, **form):
        return self.browser(role, self.console).post(f"{self.here}/{action}", form)

    def audited(self):
        return [(each.who, each.action, each.detail) for each in audit_of(self.installation()).entries() if each.model]


@pytest.fixture
def alarmed(tmp_path):
    return Watched(tmp_path, failing(1), failing(2), histograms=columns())


@pytest.fixture
def started(monkeypatch):
    """The commands that a page starts; nothing runs."""
    found = []

    def start(_self, name, _config, *words):
        found.append((name, *words))
        return True

    monkeypatch.setattr(background.Background, "start", start)
    return found


def test_an_alarm_is_said_in_plain_words_with_drawings_and_their_tables(alarmed):
    page = alarmed.page().text
    assert "Something is wrong: 1 alarm is open" in page
    assert "the median was 12, and now it is 20" in page
    assert page.count('<svg class="drawing"') == 4, "three columns, and quality over time"
    assert "#1f2933" not in page, "drawings have the page's own colours"
    assert "style=" not in page
    for role, offered in (("viewer", False), ("labeller", False), ("engineer", True)):
        assert ("Silence it" in alarmed.page(role).text) is offered


def test_when_nothing_is_wrong_the_page_says_that(tmp_path):
    project = Watched(tmp_path, passing(1), passing(2))
    assert "All is well: 3 checks of the newest window, and none failed" in project.page().text


def test_before_the_first_window_and_without_a_log_the_page_says_so(tmp_path):
    project = ConsoleProject(tmp_path)
    page = project.browser("viewer").get(f"/models/{project.model}/monitor")
    assert page.status_code == 200
    assert "Nothing has been checked yet" in page.text
    assert "keeps no log" in page.text


def test_one_failed_window_is_no_alarm_yet(tmp_path):
    page = Watched(tmp_path, passing(1), failing(2)).page().text
    assert "1 of 3 checks of the newest window failed; an alarm comes when that lasts" in page


def test_an_earlier_window_can_be_looked_at_and_no_other_file(alarmed):
    first, last = alarmed.store.health_ids()
    assert "Checks of the window until" in alarmed.page(more=f"?window={first}").text
    for name in ("../state", "20261130T000000Z-r4", f"{last}x", "%00"):
        assert alarmed.page(more=f"?window={name}").status_code == 404
    assert alarmed.page(more="?columns=2").status_code == 404
    assert alarmed.page(more="?columns=x").status_code == 200


def test_a_cause_is_silenced_with_a_reason_until_a_day_and_taken_back(alarmed):
    answer = alarmed.send("engineer", "silence", cause="drift inputs.mass", until=TOMORROW, reason="a new scanner <b>")
    assert answer.status_code == 303
    (silence,) = alarmed.store.silences()
    assert (silence.cause, silence.by, silence.reason) == ("drift inputs.mass", "a-engineer", "a new scanner <b>")
    page = alarmed.page().text
    assert "and silenced: this was expected" in page
    assert "a new scanner &lt;b&gt;" in page
    for _ in range(2):
        assert alarmed.send("engineer", "unsilence", cause="drift inputs.mass").status_code == 303
    assert alarmed.store.silences() == []
    assert [each[1] for each in alarmed.audited()] == ["silence", "unsilence", "unsilence"]


@pytest.mark.parametrize(
    "change",
    [
        {"cause": "nothing that is known"},
        {"until": "2020-01-01"},
        {"until": "9999-12-31"},
        {"until": "soon"},
        {"reason": " \n "},
    ],
    ids=["cause", "over", "for ever", "no day", "no reason"],
)
def test_what_is_no_silence_is_said_beside_its_field(alarmed, change):
    form = {"cause": "drift inputs.mass", "until": TOMORROW, "reason": "why", **change}
    answer = alarmed.send("engineer", "silence", **form)
    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.text
    assert alarmed.store.silences() == []
    assert alarmed.audited() == []


@pytest.mark.parametrize("role", ["viewer", "labeller"])
@pytest.mark.parametrize("action", ["silence", "unsilence", "retrain"])
def test_who_may_only_look_changes_nothing(alarmed, started, role, action):
    form = {"cause": "drift inputs.mass", "until": TOMORROW, "reason": "why"}
    assert alarmed.send(role, action, **form).status_code == 403
    assert (alarmed.store.silences(), started) == ([], [])


def test_a_retraining_is_started_once_in_a_cool_down_with_who_and_why(alarmed, started):
    answers = [alarmed.send("owner", "retrain", reason="-the scanner is new") for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 303]
    asked = alarmed.store.asked_by_person()
    ((name, *words),) = started
    assert name == f"retrain-{alarmed.model}"
    assert words == [
        "run", "dataset", "--force", "--reason=-the scanner is new", "--started-by=a-owner, in the console",
        f"--occasion={asked.occasion}",
    ]  # fmt: skip
    assert [each[1:] for each in alarmed.audited()] == [("retrain", "-the scanner is new")] * 2
    assert alarmed.send("owner", "retrain", reason=" ").status_code == 400


def test_after_a_person_the_monitor_waits_too(alarmed, started):
    alarmed.send("owner", "retrain", reason="why")
    asked, settings = alarmed.store.asked_by_person(), alarmed.config.monitoring
    why = obstacle(alarmed.store.state(), settings, "", asked.at, asked)
    assert why == f"run {asked.run} was asked for at {asked.at} by a-owner, and the cool-down is 24 hours"
    later = f"{datetime.now(UTC) + timedelta(hours=25):%Y-%m-%dT%H:%M:%SZ}"
    assert obstacle(alarmed.store.state(), settings, "", later, asked) == ""
    assert obstacle(alarmed.store.state(), settings, "abc", later, asked) == "run abc is at work"


def test_hostile_names_of_columns_are_text(tmp_path):
    name = "inputs.<script>alert(1)</script>\" onload='x'"
    windows = [health(n, drift(name), decay()) for n in (1, 2)]
    found = tuple(replace(each, column=name) for each in columns()[:1])
    page = Watched(tmp_path, *windows, histograms=found).page("engineer").text
    assert "<script>alert" not in page
    assert " onload='x'" not in page.replace("&#39;", "").replace("&#x27;", "")


def test_no_folder_of_the_machine_is_shown():
    said = public("version 3 cannot be read: /srv/home/registry/x.json: gone; see https://a.example/b/c, and/or 3 / 4")
    assert said == "version 3 cannot be read: …/x.json: gone; see https://a.example/b/c, and/or 3 / 4"
