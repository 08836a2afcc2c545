"""Runs and releases are recorded in other tools, once, and nothing of it can fail a run."""

import json
import shutil
import socket
import time
from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
from fake_mlflow import FakeMLflow
from report_parts import MODEL, Team, accepted, end, measured, metrics
from versions import append_release, approval_draft

from pipelines import execute
from pipelines.config import held
from pipelines.config.schema import Tracking
from pipelines.context import Context
from pipelines.doctor import services
from pipelines.doctor.checks import of_config
from pipelines.exports import outbox, tracking
from pipelines.progress.view import open_progress
from pipelines.runs import StepRecord
from pipelines.steps import notify as notify_step
from pipelines.steps.resolve import Request, resolve
from registry import candidates, releases
from registry.records import Evaluation


@pytest.fixture
def fake(monkeypatch):
    for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeMLflow()
    yield fake
    fake.close()


@pytest.fixture
def team(tmp_path):
    return Team(tmp_path)


def nowhere():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def tracked(team, **settings):
    """The team's context, with these settings in [tracking]."""
    config = replace(team.context.config, tracking=Tracking(**{"timeout_seconds": 2.0, **settings}))
    return Context(config, open_progress(team.said, live=False))


def notify(context, folder):
    """Perform the step; gives the mails that wait, as one text."""
    assert notify_step.main(context, folder).startswith("mail to owner@company.example")
    found = []
    for path in sorted((context.home / "outbox" / "pending").glob("*.eml")):
        data = path.read_bytes().split(b"\n", 1)[1]  # behind the line Envelope-To
        found.append(message_from_bytes(data, policy=default).get_body(("plain",)).get_content())
    return " ".join(" ".join(found).split())


def only(values):
    (value,) = values
    return value


def waiting(context):
    return [path.name for path in outbox.Outbox(context.home / "tracking").waiting()]


def promote(team, version):
    store, digest = team.context.store, candidates.manifest_digest(team.context.store, MODEL, version)
    releases.copy_to_production(store, MODEL, version)
    given = releases.append_approval(store, approval_draft(MODEL, version, digest, f"token {version}"))
    append_release(store, MODEL, version, approval=given.number)


class TestMLflow:
    def test_an_accepted_run_is_there_with_its_numbers_curves_and_report(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        mail = notify(context, folder)
        run = only(fake.runs.values())
        assert fake.experiments == {MODEL: "1"}
        assert run["info"]["status"] == "FINISHED"
        assert run["tags"]["mlflow.source.git.commit"] == "a" * 40
        assert run["tags"]["trainyard.version"] == "2"
        assert "was accepted and waits for your approval" in run["tags"]["mlflow.note.content"]
        assert run["params"]["training.epochs"] == "20"
        assert run["params"]["gate.threshold"] == "0.95"
        newest = {(key, step): value for key, value, _, step in run["metrics"]}
        assert newest["holdout/accuracy", 0] == 0.981
        assert newest["live/accuracy", 0] == 0.972
        assert {step for key, step in newest if key == "training/val_loss"} == set(range(24)), (
            "two attempts of 12 epochs"
        )
        assert only(run["inputs"])["digest"] == "b" * 36
        names = {name.split("/artifacts/")[1] for name in fake.artifacts}
        assert {"report/index.html", "report/card.md", "report/confusion.png"} <= names
        assert f"{fake.url}/#/experiments/1/runs/{run['info']['run_id']}" in mail
        assert waiting(context) == []

    def test_the_candidate_is_the_challenger_and_becomes_the_champion(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        notify(context, folder)
        model = fake.models[MODEL]
        assert {name: self.ours(model, version) for name, version in model["aliases"].items()} == {"challenger": "2"}
        promote(team, 2)
        assert tracking.catch_up(context.config, context.store) == ()
        assert {name: self.ours(model, version) for name, version in model["aliases"].items()} == {"champion": "2"}

    def test_a_rollback_takes_the_champion_back(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        notify(context, folder)
        promote(team, 2)
        tracking.catch_up(context.config, context.store)
        promote(team, 1)  # version 1 was registered before MLflow was there
        (problem,) = tracking.catch_up(context.config, context.store)
        assert problem.startswith("no champion (version 1): MLflow has no such version")
        assert fake.models[MODEL]["aliases"] == {}
        assert tracking.catch_up(context.config, context.store) == (), "it is said once"

    @pytest.mark.parametrize(("megabytes", "there"), [(0, False), (1, True)])
    def test_the_files_of_a_version_are_uploaded_when_they_may_be(self, fake, team, megabytes, there):
        notify(tracked(team, mlflow=fake.url, model_mb=megabytes), accepted(team))
        names = {name.split("/artifacts/")[1] for name in fake.artifacts}
        assert ({"model/model.tflite", "model/card.json"} <= names) == there
        assert only(fake.models[MODEL]["versions"])["source"].endswith("/model") == there

    def test_files_that_are_too_large_stay_here(self, fake, team):
        context = tracked(team, mlflow=fake.url, model_mb=1)
        accepted(team)
        (team.folder / "version-3").mkdir()
        (team.folder / "version-3" / "large").write_bytes(bytes((1 << 20) + 1))
        version = team.publish("large")
        document = {"model": MODEL, "version": {"number": version}}
        assert tracking._model(context.config, context.store, document) == {}
        assert set(tracking._model(context.config, context.store, {"model": MODEL, "version": {"number": 2}})) == {
            "model.tflite", "card.json",
        }  # fmt: skip

    @staticmethod
    def ours(model, version):
        return model["versions"][int(version) - 1]["tags"]["trainyard.version"]

    def test_what_is_known_already_is_not_asked_again(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        notify(context, folder)
        before = len(fake.asked)
        assert tracking.catch_up(context.config, context.store) == ()
        assert len(fake.asked) == before

    def test_a_resumed_run_is_the_same_run_of_mlflow(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), team.run()
        end(folder, "train", "failed", "out of memory")
        notify(context, folder)
        assert only(fake.runs.values())["info"]["status"] == "FAILED"
        team.publish("0" * 12)
        measured(folder, Evaluation(metrics(0.99)))
        team.accept(folder.run.id, team.publish(folder.run.id, Evaluation(metrics(0.99))))
        end(folder, "accept")
        notify(context, folder)
        run = only(fake.runs.values())
        assert (run["info"]["status"], run["tags"]["trainyard.status"]) == ("FINISHED", "accepted")

    def test_a_run_that_was_stopped_is_killed(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), team.run()
        end(folder, "fetch")
        execute.record_stopped(folder, "somebody pressed stop")
        notify(context, folder)
        assert only(fake.runs.values())["info"]["status"] == "KILLED"

    def test_a_server_that_is_away_costs_seconds_and_gets_it_later(self, fake, team):
        away, folder = tracked(team, mlflow=nowhere()), accepted(team)
        began = time.monotonic()
        mail = notify(away, folder)
        assert time.monotonic() - began < 5
        assert "cannot be reached" in mail
        assert "the next occasion sends 1 waiting run" in mail
        back = tracked(team, mlflow=fake.url)
        assert tracking.send_waiting(back.config) == ()
        assert only(fake.runs.values())["tags"]["trainyard.run"] == folder.run.id
        assert waiting(back) == []

    def test_what_waits_is_sent_although_its_run_folder_is_gone(self, fake, team):
        folder = accepted(team)
        notify(tracked(team, mlflow=nowhere()), folder)
        shutil.rmtree(folder.root)
        context = tracked(team, mlflow=fake.url)
        assert tracking.send_waiting(context.config) == ()
        assert only(fake.runs.values())["tags"]["trainyard.run"] == "3f2a9c1b77de"
        assert not folder.root.exists(), "nothing is made where somebody has tidied"

    def test_a_server_that_never_answers_is_given_up(self, fake, team):
        fake.wait = 3.0
        context, folder = tracked(team, mlflow=fake.url, timeout_seconds=0.3), accepted(team)
        began = time.monotonic()
        mail = notify(context, folder)
        assert time.monotonic() - began < 3
        assert "no answer within 0.3 seconds" in mail

    def test_what_is_refused_for_good_is_dropped_and_said(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        fake.say = (400, json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "not like this"}).encode(), {})
        mail = notify(context, folder)
        assert "was refused, and is dropped" in mail
        assert "not like this" in mail
        assert waiting(context) == []

    def test_the_token_goes_into_the_header_and_nowhere_else(self, fake, team, monkeypatch):
        monkeypatch.setattr(held, "_held", {"MLFLOW_TRACKING_TOKEN": "t0p-s3cret"})
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        notify(context, folder)
        assert {each["Authorization"] for each in fake.headers} == {"Bearer t0p-s3cret"}
        kept = b"".join(path.read_bytes() for path in team.folder.rglob("*") if path.is_file())
        assert b"t0p-s3cret" not in kept

    def test_user_and_password_are_sent_too(self, fake, team, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
        monkeypatch.setattr(held, "_held", {"MLFLOW_TRACKING_PASSWORD": "enigma"})
        notify(tracked(team, mlflow=fake.url), accepted(team))
        assert {each["Authorization"] for each in fake.headers} == {"Basic YWRhOmVuaWdtYQ=="}

    def test_a_full_disk_is_a_line_in_the_mail(self, fake, team):
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        (context.home / "tracking").write_bytes(b"a file in the place of the folder")
        mail = notify(context, folder)
        assert "not recorded: " in mail

    def test_a_bug_keeps_its_traceback_and_stops_no_mail(self, fake, team, monkeypatch, capsys):
        context, folder = tracked(team, mlflow=fake.url), accepted(team)
        monkeypatch.setattr(tracking, "gather", lambda *_: 1 / 0)
        mail = notify(context, folder)
        assert "a bug in Trainyard: ZeroDivisionError" in mail
        assert "Traceback" in capsys.readouterr().err

    def test_without_the_setting_nothing_is_recorded(self, fake, team):
        notify(tracked(team), accepted(team))
        assert fake.asked == []
        assert not (team.context.home / "tracking").exists()


class TestOpenLineage:
    @staticmethod
    def events(path):
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def test_a_run_that_ends_well_is_complete_with_its_version(self, team, tmp_path):
        context, folder = tracked(team, openlineage=str(tmp_path / "events.jsonl")), accepted(team)
        tracking.announce(context, folder)
        notify(context, folder)
        start, complete = self.events(tmp_path / "events.jsonl")
        assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
        assert start["run"]["runId"] == complete["run"]["runId"]
        assert complete["job"]["name"] == f"{MODEL}.code"
        assert complete["outputs"][0]["facets"]["version"]["datasetVersion"] == "2"
        inputs = {each["name"]: each["facets"]["version"]["datasetVersion"] for each in complete["inputs"]}
        assert inputs == {"dataset": "b" * 40, "tests": "c" * 40}
        assert complete["job"]["facets"]["sourceCodeLocation"]["version"] == "a" * 40

    def test_a_run_that_fails_says_why(self, team, tmp_path):
        context, folder = tracked(team, openlineage=str(tmp_path / "events.jsonl")), team.run()
        end(folder, "train", "failed", "out of memory")
        notify(context, folder)
        event = only(self.events(tmp_path / "events.jsonl"))
        assert event["eventType"] == "FAIL"
        assert event["run"]["facets"]["errorMessage"]["message"] == "train: out of memory"
        assert event["outputs"] == []

    def test_a_run_that_was_stopped_is_aborted(self, team, tmp_path):
        context, folder = tracked(team, openlineage=str(tmp_path / "events.jsonl")), team.run()
        end(folder, "fetch")
        execute.record_stopped(folder, "somebody pressed stop")
        notify(context, folder)
        assert only(self.events(tmp_path / "events.jsonl"))["eventType"] == "ABORT"

    def test_a_run_that_rejects_is_complete_and_names_its_reasons(self, team, tmp_path):
        context, folder = tracked(team, openlineage=str(tmp_path / "events.jsonl")), team.run()
        measured(folder, Evaluation(metrics(0.5)))
        end(folder, "gate", "rejected", "accuracy")
        notify(context, folder)
        event = only(self.events(tmp_path / "events.jsonl"))
        assert event["eventType"] == "COMPLETE"
        assert event["run"]["facets"]["trainyard_outcome"]["status"] == "rejected"
        assert "accuracy 0.5000 is under" in event["run"]["facets"]["trainyard_outcome"]["reason"]

    def test_resolving_a_run_announces_it_once(self, team, tmp_path):
        context = tracked(team, openlineage=str(tmp_path / "events.jsonl"))
        commits = {"code": "a" * 40, "dataset": "b" * 40, "tests": "c" * 40}
        first = resolve(context, Request("code", commits))
        assert resolve(context, Request("code", commits)).root == first.root
        assert only(self.events(tmp_path / "events.jsonl"))["eventType"] == "START"

    def test_events_go_to_a_server_in_their_order(self, fake, team):
        fake.say = (503, b"busy", {})
        context, folder = tracked(team, openlineage=fake.url), accepted(team)
        assert "503" in only(tracking.announce(context, folder))
        assert len(waiting(context)) == 1
        fake.say = (201, b"", {})
        notify(context, folder)
        assert set(fake.asked) == {("POST", "/api/v1/lineage")}
        assert waiting(context) == []
        assert len(fake.asked) == 3

    def test_a_file_that_cannot_be_written_is_a_line_in_the_mail(self, team, tmp_path):
        context, folder = tracked(team, openlineage=str(tmp_path)), accepted(team)
        mail = notify(context, folder)
        assert "OpenLineage" in mail
        assert "cannot be written: Is a directory" in mail


class TestOutbox:
    def test_no_more_than_a_bound_wait_and_the_oldest_go_first(self, tmp_path, monkeypatch):
        monkeypatch.setattr(outbox, "MOST", 3)
        box = outbox.Outbox(tmp_path / "box")
        assert [box.put("mlflow", f"run{i}", {"i": i}) for i in range(5)] == [0, 0, 0, 1, 1]
        assert [box.read(path)["i"] for path in box.waiting()] == [2, 3, 4]

    def test_what_is_put_again_takes_the_place_of_what_waits(self, tmp_path):
        box = outbox.Outbox(tmp_path / "box")
        for i in range(2):
            box.put("mlflow", "run", {"i": i})
        assert box.read(only(box.waiting())) == {"i": 1}

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
    def test_what_cannot_be_read_does_not_hold_up_the_rest(self, tmp_path, content):
        box = outbox.Outbox(tmp_path / "box")
        box.put("mlflow", "run", {})
        only(box.waiting()).write_bytes(content)
        assert box.read(only(box.waiting())) is None
        assert box.waiting() == []

    def test_one_process_delivers(self, tmp_path):
        box = outbox.Outbox(tmp_path / "box")
        with box.delivering("mlflow") as first, outbox.Outbox(tmp_path / "box").delivering("mlflow") as second:
            assert (first, second) == (True, False)
        with box.delivering("mlflow") as again:
            assert again


def test_a_record_of_a_step_from_before_is_not_stopped():
    assert not StepRecord("train", "failed", "note", "2026-11-21T00:47:04Z", 1.0).stopped


class TestDoctor:
    def test_a_server_that_answers_is_fine_also_without_the_experiment(self, fake, team):
        found = services.other_tools(tracked(team, mlflow=fake.url).config)
        assert (found.state, found.what) == ("ok", fake.url)
        assert fake.experiments == {}, "looking makes nothing"

    def test_a_server_that_is_away_or_wants_a_login_is_a_warning(self, fake, team):
        found = services.other_tools(tracked(team, mlflow=nowhere()).config)
        assert (found.state, "cannot be reached" in found.what) == ("warn", True)
        fake.say = (401, b"You are not authenticated.", {})
        found = services.other_tools(tracked(team, mlflow=fake.url).config)
        assert (found.state, "401" in found.what) == ("warn", True)

    def test_what_waits_is_counted(self, fake, team):
        notify(tracked(team, mlflow=nowhere()), accepted(team))
        found = services.other_tools(tracked(team, mlflow=fake.url).config)
        assert (found.state, found.what) == ("ok", "1 record waiting to be sent")

    def test_it_is_only_checked_where_it_is_set(self, team):
        assert "other tools" not in of_config(tracked(team).config)
        assert "other tools" in of_config(tracked(team, openlineage="/tmp/x").config)
