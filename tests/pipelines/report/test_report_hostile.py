"""Repositories and workers say and write what they like: nothing of it becomes markup, and no file of theirs is a trap."""

import os
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from report_parts import (
    HOSTILE,
    SOURCES,
    Page,
    Team,
    accepted,
    end,
    evaluation,
    expected,
    fetched,
    history,
    measured,
    metrics,
    png,
    prepared,
    trained,
    with_acceptance,
)
from ruamel.yaml import YAML

from pipelines.report import write_report
from pipelines.report.comparison import draw_comparison
from pipelines.report.curves import draw_curves
from pipelines.report.files import MAX_FILE, junit_problem, png_size
from registry import codec
from registry.records import Evaluation, Policy, Sources, TestCase, TestReport, Verdict
from training.data.spec import FailedCheck
from training.junit import write_junit

JUNIT = b'<?xml version="1.0"?><testsuites><testsuite name="t"><testcase name="a"/></testsuite></testsuites>'


@pytest.fixture
def team(tmp_path):
    return Team(tmp_path)


@pytest.fixture
def hostile(team):
    """The report of a run in which every word that others choose is hostile; gives its folder."""
    live = team.publish("0" * 12)
    folder = team.run(parent=live, candidate=live, reason=HOSTILE, sources=Sources("a" * 40, "b" * 40, HOSTILE))
    fetched(folder, HOSTILE, HOSTILE)
    prepared(folder, FailedCheck(HOSTILE, 2, (HOSTILE,), HOSTILE))
    expected(folder)
    report = TestReport(HOSTILE, (TestCase(HOSTILE, "failed", message=HOSTILE),))
    codec.save(report, folder.job("expectations") / "result.json")
    trained(folder, history(metric=HOSTILE))
    new, old = (metrics(each, (HOSTILE, "seven")) for each in (0.98, 0.97))
    found = replace(evaluation(), candidate=new, live=old)
    for each in (new, old):
        each.values[HOSTILE] = 0.5
    measured(folder, found)
    codec.save(Verdict(False, (HOSTILE,), Policy(metric=HOSTILE)), folder.root / "gate" / "verdict.json")
    version = team.publish(folder.run.id, found, note=HOSTILE, how=HOSTILE, packages={HOSTILE: HOSTILE})
    with_acceptance(folder, team.accept(folder.run.id, version, (HOSTILE, f"first line\n  {HOSTILE}")))
    end(folder, "accept", "rejected", HOSTILE, HOSTILE)
    write_report(team.context, folder)
    return folder.root / "report"


def test_hostile_words_stay_words_on_the_page(hostile):
    page = Page(hostile / "index.html")
    assert not page.errors
    assert {tag for tag, _ in page.tags} == {
        "html", "head", "meta", "title", "link", "body", "header", "h1", "p", "main", "div", "ul", "li", "dl", "dt", "dd",
        "nav", "a", "section", "h2", "h3", "table", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption",
        "details", "summary", "pre",
    }  # fmt: skip
    known = {
        "lang",
        "charset",
        "name",
        "content",
        "rel",
        "href",
        "id",
        "class",
        "aria-labelledby",
        "aria-label",
        "scope",
    }
    known |= {"src", "alt", "width", "height", "role", "tabindex"}
    assert {name for _, attributes in page.tags for name in attributes} == known
    assert page.words.count("<script>alert(1)</script>") >= 15
    for each in page.all("a", "href") + page.all("img", "src") + page.all("link", "href"):
        assert re.fullmatch(r"#?[a-z0-9/.-]+", each)
    raw = (hostile / "index.html").read_text("utf-8")
    assert not set(raw) & set("\x1b\u202e\x00\r")


def test_the_page_has_no_style_and_no_script_of_its_own(hostile):
    page = Page(hostile / "index.html")
    assert not {tag for tag, _ in page.tags} & {"script", "style", "iframe", "object", "base", "form", "svg"}
    assert page.all("link", "href") == ["report.css"]
    css = (hostile / "report.css").read_text("utf-8")
    assert not re.search(r"url\(|@import|@font-face|expression", css)
    assert css.count("{") == css.count("}")


@pytest.mark.parametrize("name", ["comparison.svg", "curves.svg"])
def test_hostile_words_stay_words_in_a_drawing(hostile, name):
    data = (hostile / name).read_bytes()
    elements = list(ET.fromstring(data).iter())
    space = "{http://www.w3.org/2000/svg}"
    shapes = {"svg", "title", "rect", "line", "polyline", "circle", "text"}
    assert {each.tag for each in elements} <= {f"{space}{name}" for name in shapes}
    assert not {name for each in elements for name in each.attrib if name in {"style", "class"} or ":" in name}
    assert b"http" not in data.replace(b"http://www.w3.org/2000/svg", b"")
    assert any("script" in (each.text or "") for each in elements if each.tag == f"{space}text")


def test_hostile_words_stay_words_in_the_card(hostile):
    text = (hostile / "card.md").read_text("utf-8")
    _, head, body = text.split("---\n", 2)
    read = YAML(typ="safe").load(head)
    assert set(read) == {"model_name", "version", "library_name", "pipeline_tag", "tags", "metrics", "model-index"}
    assert "<" not in body
    assert ">" not in body
    assert len(re.findall(r"^#", body, flags=re.MULTILINE)) == 10
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in body.splitlines() if line.startswith("|")}
    assert cells <= {3, 4, 5, 6}


def test_a_card_has_no_links_that_others_chose(team):
    folder = accepted(team)
    run = team.run(run="7" * 12)
    version = team.publish(run.run.id, note="[click](https://evil.example) www.evil.example @everyone `x` $1$ <b>")
    with_acceptance(run, team.accept(run.run.id, version))
    end(run, "accept")
    write_report(team.context, run)
    text = (run.root / "report" / "card.md").read_text("utf-8")
    assert r"\[click\](https:\/\/evil.example) www\.evil.example \@everyone \`x\` \$1\$ &lt;b&gt;" in text
    assert folder.run.sources == SOURCES


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (JUNIT, ""),
        (b'<testsuite name="t"/>', ""),
        (b"", "not XML"),
        (b"<testsuites><testsuite></testsuites>", "not XML"),
        (b"<html/>", "its root is not"),
        (b'<!DOCTYPE testsuites [<!ENTITY a "b">]><testsuites>&a;</testsuites>', "it has a DTD"),
        (b'<!DOCTYPE testsuites SYSTEM "file:///etc/passwd"><testsuites/>', "it has a DTD"),
        (b"<testsuites>&unknown;</testsuites>", "not XML"),
        (b"<testsuites>" + b"<testsuite>" * 100_000, "more than 16 elements within each other"),
        (b'<?xml version="1.0" encoding="nowhere"?><testsuites/>', "not XML"),
        (JUNIT + b"\0", "not XML"),
        (JUNIT[:-4], "not XML"),
    ],
    ids=["good", "one suite", "empty", "not closed", "html", "entity", "external", "unknown entity", "deep", "encoding",
         "bytes behind", "cut"],
)  # fmt: skip
def test_a_junit_file_is_taken_only_when_a_server_can_read_it(data, problem):
    found = junit_problem(data)
    assert found.startswith(problem) if problem else not found


def replace_by(path, how, folder):
    """Put something else into the place of a file."""
    path.unlink()
    if how == "link":
        path.symlink_to("/etc/passwd")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "large":
        path.write_bytes(JUNIT.ljust(MAX_FILE + 1))
    elif how == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    else:
        path.write_bytes(b"<!DOCTYPE x><x/>")


@pytest.mark.parametrize("how", ["link", "pipe", "folder", "large", "sparse", "other"])
def test_what_a_worker_has_put_in_the_place_of_a_file_is_left_out_with_a_note(team, how):
    folder = accepted(team)
    replace_by(folder.root / "accept" / "version-2" / "outputs" / "junit.xml", how, folder)
    replace_by(folder.outputs("evaluate") / "confusion.png", how, folder)
    replace_by(folder.outputs("train") / "history.json", how, folder)
    write_report(team.context, folder)
    report = folder.root / "report"
    names = {path.name for path in report.rglob("*")}
    assert not names & {"acceptance-2.xml", "confusion.png", "curves.svg"}
    assert names >= {"calibration.png", "comparison.svg", "gate.xml", "card.md"}
    page = Page(report / "index.html")
    for name in ("junit/acceptance-2.xml", "confusion.png", "train/outputs/history.json"):
        assert name in page.words[page.words.index("Left out of this report") :]


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(3, 2), (3, 2)),
        (png(3, 2)[:20], None),
        (b"<svg/>", None),
        (png(1, 1)[:16] + b"\xff" * 8 + png(1, 1)[24:], None),
        (b"GIF89a" + bytes(60), None),
    ],
    ids=["good", "cut", "svg", "huge", "gif"],
)
def test_an_image_is_one_that_can_be_drawn(data, size):
    assert png_size(data) == size


def test_all_files_together_are_bounded(team):
    folder = accepted(team)
    large = png().ljust(MAX_FILE, b"\0")
    for name in ("confusion.png", "calibration.png", "scatter.png"):
        (folder.outputs("evaluate") / name).write_bytes(large)
    for path in folder.root.glob("*/**/junit.xml"):
        path.write_bytes(JUNIT.ljust(MAX_FILE))
    write_report(team.context, folder)
    assert sum(path.stat().st_size for path in (folder.root / "report").rglob("*") if path.is_file()) <= 16 << 20
    assert "are too much for a report" in Page(folder.root / "report" / "index.html").words


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e308, -1e308])
def test_numbers_that_have_no_place_on_paper_break_no_drawing(bad):
    found = history(attempts=1, epochs=3)
    found.rounds[0].epochs[1].update(loss=bad, value=bad)
    drawn = draw_curves(replace(found, threshold=bad))
    new, old = metrics(0.9), metrics(0.8)
    new.values["loss"] = bad
    for data in (drawn, draw_comparison(Evaluation(new, old), Policy(threshold=bad), ("version 2", "version 1"))):
        ET.fromstring(data)
        assert not re.search(rb'="[^"]*(nan|inf|e\+)', data)


def test_a_server_is_not_given_what_a_message_forges(team):
    folder = accepted(team)
    forged = TestReport("tests", (TestCase("a", "failed", message="]]></failure><testcase name='forged'/>"),))
    write_junit(folder.root / "accept" / "version-2" / "outputs" / "junit.xml", [forged])
    write_report(team.context, folder)
    root = ET.parse(folder.root / "report" / "junit" / "acceptance-2.xml").getroot()
    assert [case.get("name") for case in root.iter("testcase")] == ["a"]
