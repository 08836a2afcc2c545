"""The audit log: appended, chained, bounded; and its page, with what the registry has."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading

import pytest
from console_parts import ConsoleProject
from versions import decision_draft

from pipelines.console.audit import LONGEST, AuditLog
from pipelines.console.pages.audit import cell
from registry import candidates
from registry.decisions import append_decision
from registry.errors import TryAgain


@pytest.fixture
def log(tmp_path):
    return AuditLog(tmp_path / "audit", 100_000)


def add(log, count=3, detail="a reason"):
    for number in range(count):
        log.append("ada", "password", "127.0.0.1", "decide", "digits", f"{detail} {number}")


def file_of(log):
    return next(log._folder.glob("*.jsonl"))


def test_what_was_done_is_kept_in_order(log):
    add(log)
    assert [(each.number, each.detail[-1]) for each in log.entries()] == [(1, "0"), (2, "1"), (3, "2")]
    assert log.problems() == []


def test_writers_at_the_same_time_make_one_chain(log):
    others = [threading.Thread(target=add, args=(AuditLog(log._folder, 100_000), 10)) for _ in range(4)]
    for each in others:
        each.start()
    for each in others:
        each.join()
    assert [each.number for each in log.entries()] == list(range(1, 41))
    assert log.problems() == []


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a changed line", lambda lines: [lines[0], lines[1].replace("reason", "excuse"), lines[2]]),
        ("a line less", lambda lines: [lines[0], lines[2]]),
        ("lines in another order", lambda lines: [lines[1], lines[0], lines[2]]),
        ("a foreign line", lambda lines: [lines[0], '{"who": "me"}', *lines[1:]]),
        ("a line that is not JSON", lambda lines: [lines[0], "\x00", *lines[1:]]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_change_is_found(log, what, change):
    add(log)
    lines = file_of(log).read_text().splitlines()
    assert log.problems() == []
    file_of(log).write_text("\n".join(change(lines)) + "\n")
    assert log.problems(), what


def test_half_a_line_of_a_killed_writer_is_not_an_entry(log):
    add(log)
    with file_of(log).open("a") as file:
        file.write('{"number": 4, "at"')
    add(log, 1)
    assert [each.number for each in log.entries()] == [1, 2, 3, 4]
    assert log.problems() == []


def test_the_oldest_go_and_the_rest_still_is_a_chain(log):
    add(log, 400, "x" * 300)
    kept = [each.number for each in log.entries()]
    assert kept[0] > 1
    assert kept == list(range(kept[0], 401))
    assert log.problems() == []
    assert sum(each.stat().st_size for each in log._folder.glob("*.jsonl")) < 120_000


def test_a_long_text_is_cut_and_any_text_stays_in_its_line(log):
    log.append("a\nb", "password", "", "decide", "digits", "x\r\n\u2028" * LONGEST)
    (entry,) = log.entries()
    assert (entry.who, len(entry.detail)) == ("a\nb", LONGEST)
    assert log.problems() == []


def test_a_log_that_cannot_be_written_stops_what_was_to_be_done(log):
    log._folder.parent.mkdir(exist_ok=True)
    log._folder.write_text("a file is in the way")
    with pytest.raises(TryAgain, match="nothing was done"):
        add(log, 1)


@pytest.fixture
def project(tmp_path):
    project = ConsoleProject(tmp_path)
    project.publish()
    project.release_by_hand(1)
    return project


def test_the_page_has_the_registry_and_the_console(project):
    browser = project.browser("engineer")
    page = browser.get("/audit").text
    assert "release 1: version 1 with approval 1" in page
    assert "sign in" in page
    assert "signed, chain checked" in page
    assert "sign in" not in browser.get("/audit?action=promotion").text.partition("<tbody>")[2]
    assert "0 entries" in browser.get("/audit?until=2001-01-01").text


def test_an_entry_that_does_not_fit_on_the_disk_is_refused_and_the_ones_before_stay(log):
    add(log)
    size = file_of(log).stat().st_size
    code = f"""
import resource, signal, sys
from pathlib import Path
from pipelines.console.audit import AuditLog
from registry.errors import TryAgain
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 20}, {size + 20}))  # the first 20 bytes of it have a place
try:
    AuditLog(Path(sys.argv[1]), 100_000).append("ada", "password", "127.0.0.1", "decide", "digits", "yes")
except TryAgain as error:
    sys.exit("nothing was done" in str(error) and 75)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code, log._folder], check=False)
    assert (done.returncode, len(list(log.entries()))) == (75, 3)
    add(log, 1)
    assert [each.number for each in log.entries()] == [1, 2, 3, 4]
    assert log.problems() == []


def test_a_decision_is_there_with_who_and_how(project):
    version = project.publish()
    card = candidates.manifest_digest(project.store, project.model, version)
    draft = decision_draft(project.model, version, card, "rejected", reason="too many digits")
    append_decision(project.store, draft, 0)
    page = project.browser("engineer").get("/audit?action=decision").text
    assert "version 2, decision 1: rejected. too many digits" in page


def test_the_file_has_the_same_lines(project):
    browser = project.browser("engineer")
    answer = browser.get("/audit.csv?action=promotion")
    assert answer.headers["Content-Disposition"] == "attachment; filename=audit.csv"
    (row,) = csv.DictReader(answer.text.splitlines())
    assert (row["model"], row["action"], row["who"]) == ("thirds", "promotion", "a test")
    assert any(each.action == "audit download" for each in AuditLog(project.home / "console/audit", 1).entries())


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_spreadsheet_takes_nothing_for_a_formula(text):
    assert cell(text) == f"'{text}"


def test_a_record_that_was_altered_is_said_so(project):
    browser = project.browser("engineer")
    path = project.folder / "registry/production/thirds/releases/000001.json"
    record = json.loads(path.read_text())
    path.chmod(0o644)
    path.write_text(json.dumps(record | {"by": "mallory"}))
    page = browser.get("/audit").text
    assert "registry verify" in page
    assert "mallory" not in page
    assert str(project.folder) not in page


def test_a_log_that_was_altered_is_said_so(project):
    browser = project.browser("engineer")
    browser.post("/sign-out")
    browser.as_("a-engineer")
    path = next((project.home / "console/audit").glob("*.jsonl"))
    path.write_text(path.read_text().replace("a-engineer", "somebody", 1))
    assert "was changed after it was written" in browser.get("/audit").text
