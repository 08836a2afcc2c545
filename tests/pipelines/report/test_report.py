"""What a run's report holds, for every way in which a run can end."""

import contextlib
import os
import re
import resource
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from report_parts import (
    MODEL,
    Page,
    Team,
    accepted,
    broken_off,
    end,
    evaluation,
    fetched,
    history,
    importance,
    measured,
    png,
    prepared,
    trained,
    with_acceptance,
)
from ruamel.yaml import YAML

from pipelines import execute, flows
from pipelines.config.load import load_config
from pipelines.config.schema import Report
from pipelines.context import Context
from pipelines.report import write_report
from pipelines.report.files import MAX_FILE
from pipelines.steps import notify
from registry import codec
from registry.errors import ConfigError
from registry.records import Candidate, Run, Verdict
from training.data.spec import FailedCheck

ALWAYS = {"index.html", "report.css", "run.json"}
PLOTS = {"confusion.png", "calibration.png"}
CARD = {"card.md", "card.json", "lineage.svg"}


LIMIT = 200_000  # bytes; the mail of an accepted candidate has a twentieth of that


@contextlib.contextmanager
def file_limit(most=1000):
    """No file may get larger than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def team(tmp_path):
    return Team(tmp_path)


def report(team, folder):
    """The names in the report, and its page; every link of the page leads to a file, and no file is without a link."""
    written = write_report(team.context, folder)
    assert written == folder.root / "report"
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    page = Page(written / "index.html")
    assert not page.errors
    linked = {each for each in page.all("a", "href") if not each.startswith("#")}
    assert linked | {"index.html", *page.all("link", "href")} == names
    assert {each[1:] for each in page.all("a", "href") if each.startswith("#")} <= set(page.ids)
    assert set(page.all("img", "src")) <= linked
    assert len(page.all("img", "src")) == len([each for each in page.all("img", "alt") if each])
    return names, page


def test_of_an_accepted_candidate_it_shows_everything(team):
    folder = accepted(team)
    names, page = report(team, folder)
    junit = {f"junit/{name}.xml" for name in ("data", "expectations", "gate", "acceptance-2")}
    assert names == ALWAYS | PLOTS | CARD | junit | {"curves.svg", "comparison.svg", "verdict.json"}
    for said in (
        "Version 2 of digits was accepted and waits for your approval",
        "Run 3f2a9c1b77de of digits, started 21 November 2026, 00:47 UTC by a push to the model's code.",
        "Accepted: version 2 passed every check.",
        "better by 0.009, and more than chance explains",
        "accuracy, version 2 0.981 accuracy, live version 1 0.972 accuracy, threshold 0.950",
        "code (pushed) aaaaaaaaaaaa 1 new commit",
        "bbbbbbbb Add the second half Ada Lovelace",
        "accuracy (share of right answers) 0.981 0.972",
        "seven 0.971 0.981 0.981 180",
        "Gate: 4 passed, 0 failed",
        "Version 2: API of a staging instance: 1 passed, 0 failed",
        "Version 2: model tests (tests repository): 1 passed, 0 failed, 1 skipped",
        "Expectations of the dataset repository: 1 passed, 0 failed",
        "train 1,160 validation 280 holdout 360",
        "12 images are very dark",
        "accept 1 min 14 s 00:47:04 so it is total 1 min 17 s",
    ):
        assert said in page.words, said
    assert "approval ey" not in page.words
    assert "--approval" not in page.words


def test_the_records_are_copied_as_they_are(team):
    folder = accepted(team)
    report(team, folder)
    read = {name: (folder.root / "report" / name).read_bytes() for name in ("run.json", "verdict.json", "card.json")}
    assert codec.from_json(Run, read["run.json"], "") == folder.run
    assert codec.from_json(Verdict, read["verdict.json"], "").accepted
    assert codec.from_json(Candidate, read["card.json"], "", checksum_required=True).version == 2


def test_a_server_reads_the_same_tests_from_the_junit_files(team):
    folder = accepted(team)
    report(team, folder)
    root = ET.parse(folder.root / "report" / "junit" / "acceptance-2.xml").getroot()
    assert {case.get("name") for case in root.iter("testcase")} >= {"test_bright", "test_dark", "answers /predict"}


def test_the_card_is_one_that_others_can_read(team):
    folder = accepted(team)
    report(team, folder)
    text = (folder.root / "report" / "card.md").read_text("utf-8")
    _, head, body = text.split("---\n", 2)
    read = YAML(typ="safe").load(head)
    assert read["model_name"] == MODEL
    assert read["pipeline_tag"] == "image-classification"
    assert {each["type"]: each["value"] for each in read["model-index"][0]["results"][0]["metrics"]}[
        "accuracy"
    ] == 0.981
    titles = re.findall(r"^## (.*)$", body, flags=re.MULTILINE)
    assert titles == [
        "Model details", "Intended use", "Training data", "Training procedure", "Evaluation", "Metrics", "Acceptance",
        "What is kept of requests",
        "Limitations",
    ]  # fmt: skip
    assert "| accuracy | 0.981 | 0.972 |" in body


def test_what_the_candidate_looks_at_is_drawn_and_listed_on_page_and_card(team):
    folder = accepted(team, replace(evaluation(), importance=importance("age", "fare")))
    names, page = report(team, folder)
    assert "importance.svg" in names
    assert "The model relies most on age and fare ." in page.words
    assert "age 0.400 0.300 to 0.500 fare 0.200 0.100 to 0.300" in page.words
    card = (folder.root / "report" / "card.md").read_text("utf-8")
    assert "## What it looks at" in card
    assert "| age | 0.400 | 0.300 to 0.500 |" in card


def test_a_rejected_candidate_has_every_failed_criterion_and_no_card(team):
    folder = team.run(parent=team.publish("0" * 12), candidate=1)
    fetched(folder)
    prepared(folder)
    trained(folder)
    verdict = measured(folder, evaluation(0.93))
    end(folder, "gate", "rejected", "; ".join(verdict.reasons))
    names, page = report(team, folder)
    assert names >= {"comparison.svg", "curves.svg", "junit/gate.xml", "verdict.json"} | PLOTS
    assert not names & CARD
    assert len(verdict.reasons) == 2
    for each in verdict.reasons:
        assert each in page.words
    assert "The new model for digits was rejected" in page.words
    assert page.words.index("failed accuracy at least 0.95") < page.words.index("passed every metric is a number")


def test_a_version_that_its_tests_reject_has_a_card_and_their_messages(team):
    folder = team.run()
    measured(folder, evaluation(0.981, None))
    version = team.publish(folder.run.id, evaluation(0.981, None))
    acceptance = team.accept(folder.run.id, version, ("test_seven", "assert 1 == 7\n  where 1 = predict(seven)"))
    with_acceptance(folder, acceptance)
    end(folder, "accept", "rejected", "; ".join(acceptance.reasons))
    names, page = report(team, folder)
    assert names >= CARD | {"junit/acceptance-1.xml"}
    assert "comparison.svg" not in names  # nothing is live
    assert "Version 1 of digits was rejected" in page.words
    assert "assert 1 == 7\n  where 1 = predict(seven)" in page.text
    assert "Rejected with tests commit" in (folder.root / "report" / "card.md").read_text("utf-8")


@pytest.mark.parametrize("trigger", flows.FLOWS)
def test_a_run_that_failed_in_any_step_has_a_report_that_says_so(team, trigger):
    live = team.publish("0" * 12)
    for number, step in enumerate(flows.names(trigger)[1:-1]):
        folder = team.run(trigger, run=f"{number:012x}f"[1:], parent=live, candidate=live)
        end(folder, step, "failed", "the disk is full", "free some space")
        names, page = report(team, folder)
        assert names >= ALWAYS
        assert f"The step '{step}' failed: the disk is full" in page.words
        assert "What helps: free some space" in page.words


@pytest.mark.parametrize(("step", "job"), [("train", "train"), ("validate", "validate"), ("accept", "accept/api-1")])
def test_of_a_step_that_failed_the_last_lines_of_its_log_are_shown(team, step, job):
    folder = team.run()
    (folder.root / job).mkdir(parents=True, exist_ok=True)
    lines = [f"line {number} <b>" for number in range(100)] + ["Traceback\x1b[2J", "ValueError: no"]
    (folder.root / job / "worker.log").write_text("\n".join(lines))
    end(folder, step, "failed", "no", "")
    _, page = report(team, folder)
    assert f"Log of {step}" in page.words
    assert "line 99 <b>" in page.text
    assert "line 9 " not in page.text
    assert "ValueError: no" in page.text
    assert "\x1b" not in page.text


def test_a_log_that_leads_elsewhere_is_not_shown(team, tmp_path):
    folder = team.run()
    (tmp_path / "secret").write_text("s3cret")
    (folder.job("train") / "worker.log").symlink_to(tmp_path / "secret")
    end(folder, "train", "failed", "no", "")
    _, page = report(team, folder)
    assert "s3cret" not in page.text


def test_of_a_training_that_failed_the_curves_go_as_far_as_it_came(team):
    folder = team.run()
    prepared(folder)
    broken_off(folder, history(attempts=1, epochs=3))
    end(folder, "train", "failed", "the worker was killed")
    names, _ = report(team, folder)
    assert "curves.svg" in names


def test_the_mail_links_the_report_where_a_web_server_shows_it(team):
    folder = team.run("dataset")
    end(folder, "validate", "failed", "dataset bbbbbbb: labels: row 7: no label")
    config = replace(team.context.config, report=Report("https://ci.example/digits/"))
    notify.main(Context(config, team.context.progress), folder)
    (mail,) = (team.folder / "home" / "outbox" / "pending").iterdir()
    text = mail.read_text(encoding="utf-8")
    run = f"https://ci.example/digits/runs/{folder.run.id}"
    assert f"report         {run}/report/index.html\n" in text
    assert f"run folder     {run}/\n" in text
    assert str(folder.root) not in text


@pytest.mark.parametrize(
    "url",
    ["ci.example", "https://ci.example/?a=b", "https://ada:s3cret@ci.example", "https://ci.example/ü", "https://"],
)
def test_an_address_that_no_path_can_follow_is_refused_with_the_settings(tmp_path, url):
    path = tmp_path / "trainyard.toml"
    path.write_text(
        'model = "m"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n[report]\nurl = "' + url + '"'
    )
    with pytest.raises(ConfigError, match=r"report\.url: "):
        load_config(path, {})


def test_bad_data_are_shown_as_the_checks_found_them(team):
    folder = team.run("dataset")
    prepared(folder, FailedCheck("labels", 3, ("row 7: no label",), "fill them in"))
    end(folder, "validate", "failed", "dataset bbbbbbb: labels: row 7: no label")
    names, page = report(team, folder)
    assert "Failed, 3 times: labels row 7: no label What helps: fill them in" in page.words
    assert "junit/data.xml" in names


def test_what_an_earlier_try_has_left_is_not_shown(team):
    folder = accepted(team)
    for step in ("evaluate", "gate", "register", "accept"):
        folder.forget(step)
    end(folder, "train", "failed", "the worker was killed")
    names, page = report(team, folder)
    assert not names & (PLOTS | CARD | {"comparison.svg", "verdict.json", "junit/gate.xml", "junit/acceptance-2.xml"})
    assert "0.981" not in page.words


def test_a_model_that_is_kept_is_shown_with_its_measurements(team):
    live = team.publish("0" * 12)
    folder = team.run("dataset", parent=live, candidate=live)
    prepared(folder)
    measured(folder, evaluation(0.972, None), "before")
    end(folder, "retrain", "enough", "version 1 still passes on the new data")
    names, page = report(team, folder)
    assert names >= PLOTS | CARD
    assert "digits: version 1 stays, it is good enough for the new data, too" in page.words
    assert "version 1 still passes on the new data" in page.words


def test_new_tests_are_reported_for_the_candidate_and_for_what_is_live(team):
    live, candidate = team.publish("0" * 12), team.publish("1" * 12)
    folder = team.run("tests", parent=live, candidate=candidate)
    with_acceptance(folder, team.accept(folder.run.id, candidate))
    with_acceptance(folder, team.accept(folder.run.id, live, ("test_seven", "it says 1")))
    end(folder, "accept", "rejected", "version 1 (LIVE): test_seven")
    names, page = report(team, folder)
    assert names == ALWAYS | CARD | {"junit/acceptance-1.xml", "junit/acceptance-2.xml"}
    assert "ALARM: version 1, which answers requests right now, fails the newest tests." in page.words
    assert "Live version 1: model tests (tests repository): 1 passed, 1 failed, 1 skipped" in page.words
    assert "test_seven it says 1" in page.words


def test_a_push_that_changes_nothing_is_reported_as_nothing_to_do(team):
    folder = team.run()
    fetched(folder)
    end(folder, "fetch", "enough", "nothing that matters is new; run 00 has decided")
    names, page = report(team, folder)
    assert names == ALWAYS
    assert "digits: nothing to do" in page.words
    assert "nothing that matters is new; run 00 has decided" in page.words


def test_without_any_step_there_is_nothing_to_report(team):
    with pytest.raises(ConfigError, match="nothing to report"):
        write_report(team.context, team.run())


def test_a_newer_report_replaces_the_older_one_and_what_a_killed_process_has_left(team):
    folder = accepted(team)
    report(team, folder)
    for half in (".tmp-report-new", ".tmp-report-old"):
        (folder.root / half / "junit").mkdir(parents=True)
        (folder.root / half / "index.html").write_text("half")
    (folder.root / "report" / "old.txt").write_text("old")
    names, _ = report(team, folder)
    assert "old.txt" not in names
    assert not list(folder.root.glob(".tmp-*"))


def test_a_report_that_cannot_be_written_leaves_none(team):
    folder = accepted(team)
    report(team, folder)
    with file_limit(), pytest.raises(OSError, match="File too large"):
        write_report(team.context, folder)
    assert not [path.name for path in folder.root.glob("*report*")]


def test_a_page_with_too_many_checks_shows_fewer(team):
    folder = team.run()
    measured(folder, evaluation(0.981, None))
    version = team.publish(folder.run.id)
    acceptance = team.accept(folder.run.id, version, *((f"test_{i}", "<&>" * 1300) for i in range(700)))
    with_acceptance(folder, acceptance)
    end(folder, "accept", "rejected", "many")
    _, page = report(team, folder)
    assert (folder.root / "report" / "index.html").stat().st_size <= MAX_FILE
    assert re.search(r"\.\.\. and \d+ more, see the XML file", page.words)


def test_files_are_readable_for_a_server_of_another_user(team):
    folder = accepted(team)
    before = os.umask(0o022)
    try:
        report(team, folder)
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (folder.root / "report").rglob("*"))


# The step around it


def test_notify_writes_the_report_and_the_mail_says_where(team):
    folder = accepted(team)
    record = execute.run_step(team.context, folder, "notify")
    assert record.outcome == "done"
    assert (folder.root / "report" / "index.html").exists()
    (mail,) = (team.context.home / "outbox" / "pending").glob("*.eml")
    assert str(folder.root / "report" / "index.html") in mail.read_text("utf-8").replace("=\n", "")


def test_what_hinders_the_report_is_noted_and_the_mail_is_sent(team):
    folder = accepted(team)
    (folder.outputs("evaluate") / "calibration.png").write_bytes(png().ljust(LIMIT + 1, b"\0"))  # not in the mail
    with file_limit(LIMIT):
        record = execute.run_step(team.context, folder, "notify")
    assert (record.outcome, record.exit_code) == ("done", 0)
    assert "no report: [Errno 27] File too large" in record.note
    (mail,) = (team.context.home / "outbox" / "pending").glob("*.eml")
    assert "index.html" not in mail.read_text("utf-8")


def test_a_bug_in_the_report_keeps_its_traceback_and_stops_no_mail(team, capsys):
    folder = accepted(team, created_at="yesterday")
    record = execute.run_step(team.context, folder, "notify")
    assert record.outcome == "done"
    assert "no report, a bug in Trainyard: ValueError" in record.note
    assert "Traceback" in capsys.readouterr().err
    assert list((team.context.home / "outbox" / "pending").glob("*.eml"))


def test_a_damaged_record_is_left_out_with_a_note(team):
    folder = accepted(team)
    (folder.root / "validate" / "result.json").write_bytes(b"{")
    _, page = report(team, folder)
    assert "Left out of this report: validate/result.json: not JSON" in page.words


def test_a_run_that_has_nothing_new_gets_a_report_and_no_mail(team):
    folder = team.run()
    end(folder, "fetch", "enough", "nothing that matters is new")
    record = execute.run_step(team.context, folder, "notify")
    assert record.note == "no mail: nothing is new"
    assert (folder.root / "report" / "index.html").exists()
