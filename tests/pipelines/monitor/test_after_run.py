"""A retraining that the monitor has started has ended: what is promoted, what is reported, and what a kill leaves to the next call."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from monitor_parts import failing, later, looking
from promotion_parts import MODEL
from recorded_api import project_with_recorded_api
from versions import SOURCES, measured_beside

from pipelines.commands.monitor_promote import after_run
from pipelines.commands.monitor_retrain import follow
from pipelines.config.schema import Config, Mail, Monitoring, PredictionLog, Repositories
from pipelines.monitor import retrain, service
from pipelines.monitor.notices import compose
from pipelines.monitor.retrain import obstacle
from pipelines.monitor.service import monitor_once
from pipelines.monitor.state import Item, Notification, text_of
from pipelines.monitor.store import MonitorStore
from pipelines.runs import STARTED_BY_MONITOR, StepRecord
from pipelines.steps.notify import who_decides
from registry.errors import TryAgain
from registry.records import Comparison, Policy, Run
from registry.records.evaluation import Recent

ACCEPTED = StepRecord("accept", "done", "accepted", "2026-11-30T12:00:00Z", 1.0)
RECENT = Policy(recent=True)
WRITES = 8
"""Of the monitor, from the end of the run to the end of what follows."""


class Alarmed:
    """Version 1 is live, an alarm has asked for a run, and that has made version 2."""

    def __init__(self, project, *, samples=100, **monitoring):
        settings = {"on_alarm": "retrain", "auto_promote": True} | monitoring
        project.config = replace(
            project.config,
            monitoring=Monitoring(**settings),
            gate=RECENT,
            prediction_log=PredictionLog(enabled=True),
            mail=Mail(sender="trainyard@company.example", to=("owner@company.example",)),
            file=str(project.folder / "trainyard.toml"),
        )
        self.project, self.config = project, project.config
        project.promote(project.publish())
        monitor_once(self.config, looking(*(later(failing(number), model=MODEL) for number in (1, 2))))
        self.store = MonitorStore(self.config)
        self.run = self.asked.run
        recent = Recent(samples, comparison=Comparison(1, "accuracy", 0.01, -0.01, 0.03, samples))
        project.publish(evaluation=replace(measured_beside(1), recent=recent), policy=RECENT, run=self.run)

    @property
    def asked(self):
        return self.store.state().asked

    @property
    def done(self):
        return [each.partition(" ")[2] for each in self.store.alarm(1).done]

    @property
    def sentence(self):
        return retrain.promotion(self.store.alarm(1))

    def mails(self, subject):
        """The text of those about it."""
        found = (self.project.home / "outbox").rglob("*.eml")
        return [text for each in found if f"Subject: [{MODEL}] {subject}" in (text := each.read_text(encoding="utf-8"))]

    def end(self, record=ACCEPTED):
        after_run(self.config, self.store, self.asked, record)


@pytest.fixture
def project(tmp_path, monkeypatch):
    return project_with_recorded_api(tmp_path, monkeypatch)


def test_what_it_has_made_goes_live_and_the_alarm_the_release_and_a_mail_say_so(project):
    alarmed = Alarmed(project)
    alarmed.end()
    why = f"run {alarmed.run} after alarm 1, drift inputs.mass"
    assert project.history == [1, 2]
    assert alarmed.done[-3:] == [
        f"run {alarmed.run} has ended: accept: accepted",
        f"promotion: version 2 is live as release 2, promoted with approval 2, by [monitoring] auto_promote: {why}",
        "mail to owner@company.example",
    ]
    assert alarmed.asked.over
    (mail,) = alarmed.mails("PROMOTED by the monitor after drift of inputs.mass: distribution")
    text = " ".join(mail.replace("=\n", "").split())
    assert "promoted a version without a person, as [monitoring] auto_promote says" in text
    assert f"rollback {MODEL}" in text


def test_the_webhook_gets_it_too(project, monkeypatch):
    alarmed = Alarmed(project, webhook="https://hook.example")
    monkeypatch.setattr(service, "_send", lambda *_: ())  # nobody is there
    documents = []
    monkeypatch.setattr(service.webhook, "put", lambda _folder, name, each: documents.append((name, each)) or 0)
    alarmed.end()
    ((name, sent),) = [each for each in documents if each[1]["notices"][0]["kind"] == "promoted"]
    assert name.endswith(f"-{alarmed.run}")
    assert sent["notices"][0]["promotion"] == alarmed.sentence
    assert sent["text"] == f"[{MODEL}] PROMOTED by the monitor after drift of inputs.mass: distribution"


@pytest.mark.parametrize("auto_promote", [False, True])
def test_without_the_setting_or_without_an_accepted_version_a_person_decides_as_ever(project, auto_promote):
    alarmed = Alarmed(project, auto_promote=auto_promote)
    alarmed.end(replace(ACCEPTED, step="gate", outcome="rejected") if auto_promote else ACCEPTED)
    assert (project.history, alarmed.sentence, alarmed.asked.over) == ([1], "", True)
    assert alarmed.mails("not promoted") == alarmed.mails("PROMOTED") == []


def test_what_is_left_to_people_is_said_with_its_reason(project):
    alarmed = Alarmed(project, samples=7)
    alarmed.end()
    assert (project.history, alarmed.asked.over) == ([1], True)
    assert alarmed.sentence.startswith(
        "no promotion: version 2: it was not compared on recent predictions: 7 labelled "
    )
    (mail,) = alarmed.mails("not promoted by the monitor after drift of inputs.mass")
    text = " ".join(mail.replace("=\n", "").split())
    assert f"The mail about run {alarmed.run} has the command that promotes it" in text


def test_what_may_succeed_later_is_done_by_the_next_call_and_no_other_run_begins_before(project, capsys):
    alarmed = Alarmed(project)
    project.api.fails["start"] = TryAgain("the engine is away")
    alarmed.end()
    assert "cannot promote now: the engine is away" in capsys.readouterr().err
    assert (project.history, alarmed.sentence, alarmed.asked.over) == ([1], "", False)
    later_on = text_of(datetime.now(UTC) + timedelta(days=5))
    reason = obstacle(alarmed.store.state(), alarmed.config.monitoring, "", later_on)
    assert reason == f"what run {alarmed.run}, for alarm 1, has made is not promoted yet"
    del project.api.fails["start"]
    follow(alarmed.config, alarmed.store, None)
    assert (project.history, alarmed.asked.over) == ([1, 2], True)
    assert alarmed.done.count(f"run {alarmed.run} has ended: accept: accepted") == 1


def test_what_cannot_be_done_for_days_is_left_to_people(project):
    alarmed = Alarmed(project)
    project.api.fails["start"] = TryAgain("the engine is away")
    alarmed.end()
    long_ago = replace(alarmed.asked, at=text_of(datetime.now(UTC) - timedelta(days=8)))
    alarmed.store.save(replace(alarmed.store.state(), asked=long_ago))
    follow(alarmed.config, alarmed.store, None)
    assert alarmed.asked.over
    assert f"its retraining was started at {long_ago.at}, more than 7 days ago" in alarmed.sentence


def test_set_back_before_it_could_be_done_the_setting_promotes_nothing(project):
    alarmed = Alarmed(project)
    project.api.fails["start"] = TryAgain("the engine is away")
    alarmed.end()
    project.api.fails.clear()
    by_hand = replace(alarmed.config, monitoring=Monitoring(on_alarm="retrain"))
    follow(by_hand, alarmed.store, None)
    assert (project.history, alarmed.asked.over) == ([1], True)


def killed_at(monkeypatch, number):
    """The monitor is killed before it writes into its folder for the `number`th time from now on."""
    left = [number]

    def write(self, path, record, write=MonitorStore._write):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        write(self, path, record)

    monkeypatch.setattr(MonitorStore, "_write", write)


@pytest.mark.parametrize("number", range(1, 11))
def test_killed_before_any_write_the_next_call_ends_with_one_release_and_one_mail(project, monkeypatch, number):
    alarmed = Alarmed(project)
    with monkeypatch.context() as killing:
        killed_at(killing, number)
        try:
            alarmed.end()
        except KeyboardInterrupt:
            assert number <= WRITES
        else:
            assert number > WRITES
    if not alarmed.asked.over:
        alarmed.end() if not alarmed.asked.ended else follow(alarmed.config, alarmed.store, None)
    service.deliver(alarmed.config, alarmed.store)  # as every call does, for what one before had decided
    assert project.history == [1, 2]
    assert len(alarmed.mails("PROMOTED")) == 1
    assert [each for each in alarmed.done if each.startswith("promotion: ")] == [alarmed.sentence]
    assert alarmed.done.count(f"run {alarmed.run} has ended: accept: accepted") == 1
    assert (alarmed.asked.over, alarmed.store.state().pending) == (True, ())


def test_a_reminder_of_an_alarm_that_lasts_says_what_became_of_it(project):
    alarmed = Alarmed(project)
    alarmed.end()
    (each,) = alarmed.store.state().alarms
    window = later(failing(3), model=MODEL).window
    items = (Item("reminder", each.number, each.alarm, each.alarm.check),)
    notice = Notification("again", text_of(datetime.now(UTC)), window, items, ("mail",))
    mail = compose(alarmed.config, notice, project.folder / "index.html").get_body(("plain",)).get_content()
    assert "Promotion: version 2 is live as release 2, promoted with approval 2, by " in " ".join(mail.split())


@pytest.mark.parametrize(
    ("auto_promote", "started_by", "said"),
    [(True, STARTED_BY_MONITOR, True), (True, "grace", False), (False, STARTED_BY_MONITOR, False)],
)
def test_the_mail_about_the_run_says_that_it_may_go_live_without_a_person(auto_promote, started_by, said):
    config = Config(MODEL, Repositories("a", "b", "c"), monitoring=Monitoring(auto_promote=auto_promote))
    run = Run("0123456789ab", MODEL, "dataset", SOURCES, "", 1, 1, "", started_by=started_by)
    assert ("The monitor promotes it without a person" in who_decides(config, run)) == said
