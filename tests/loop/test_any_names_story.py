"""Columns and classes of any name through the whole loop: every page, file, message and answer shows them as what they are."""

from __future__ import annotations

import csv
import io
import random
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
import requests
from browser_form import Page, as_browsers_send
from hostile_names import CLASSES, COLUMNS, VALUES
from prometheus_client.parser import text_string_to_metric_families
from team import ROOT, Team, free_port

from pipelines.text.clean import clean
from registry.files import sha256_file
from retraining.monitoring.reference import from_bytes

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow, pytest.mark.timeout(600)]
NUMBERS, TEXTS = COLUMNS[:30], COLUMNS[30:]
TARGET = 'the "target"'
MARKUP = {"b", "i", "script"}  # tags that only names would bring into a page


def table(rows=400) -> str:
    """Each class has numbers of its own; written by a program that knows nothing of Trainyard."""
    chance, text = random.Random(1), io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, TARGET])
    for i in range(rows):
        own = i % len(CLASSES)
        numbers = [f"{chance.gauss(3 * (j % len(CLASSES) == own), 1):.3f}" for j in range(len(NUMBERS))]
        writer.writerow([*numbers, *(chance.choice(VALUES) for _ in TEXTS), CLASSES[own]])
    return text.getvalue()


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.seen, self.words = set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)

    def handle_data(self, data):
        self.words += f"{data} "


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    team = Team(tmp_path_factory.mktemp("names"))
    team.admin = free_port()
    config = team.config.read_text()
    config = config.replace("threshold = 0.8", "threshold = 0.5\nmin_samples = 10\nclass_floor = 0.1")
    team.config.write_text(f"{config}admin_port = {team.admin}\n")
    team.write("code", {"model.py": (ROOT / "examples" / "penguins" / "code" / "model.py").read_text()})
    toml = f"format = 'table'\n[table]\nfile = 'data.csv'\ntarget = '{TARGET}'\n"
    team.write("dataset", {"data.csv": table(), "dataset.toml": toml})
    team.write("tests", {"test_it.py": "def test_it(card):\n    assert len(card.signature.inputs) == 37\n"})
    for repository in ("dataset", "tests", "code"):
        team.push(repository)
    team.said = team.trainyard("run", "code").stderr
    team.promote()
    yield team
    team.stop_api()


@pytest.fixture(scope="module")
def run(team):
    (run,) = team.runs()
    return run


def test_the_terminal_gets_lines_of_text_only(team):
    shown = team.trainyard("registry", "show", "digits", "1").stdout
    for line in (team.said + shown).splitlines():
        assert line.isprintable()
    assert max(map(len, shown.splitlines())) < 250  # the longest name has 300 characters
    for name in (*CLASSES[:3], CLASSES[4]):
        assert name in shown


def test_the_record_has_each_name_as_the_table_has_it(team):
    signature = team.ask("registry", "show", "digits", "1")["card"]["signature"]
    assert [each["name"] for each in signature["inputs"]] == COLUMNS
    assert sorted(signature["classes"]) == sorted(CLASSES)
    assert signature["target"] == TARGET


def test_the_version_keeps_the_reference_of_every_column(team, run):
    card = team.ask("registry", "show", "digits", "1")["card"]
    path = team.home / "registry" / "test" / "digits" / "1" / "reference.npz"
    assert sha256_file(path) == card["files"]["reference.npz"]
    found = from_bytes(path.read_bytes())
    samples = card["evaluation"]["candidate"]["samples"]
    assert found.rows == samples
    kept = {name for name in COLUMNS if {f"inputs.{name}", f"inputs.{name}.bin"} & found.columns.keys()}
    assert kept == set(COLUMNS)
    said = f"reference.npz, of {samples:,} samples of the holdout"
    assert said in team.trainyard("registry", "show", "digits", "1").stdout
    assert said in Tags((run / "report" / "index.html").read_text(encoding="utf-8")).words
    assert said in (run / "report" / "card.md").read_text(encoding="utf-8")


def test_the_report_shows_names_and_no_markup_of_theirs(run):
    page = Tags((run / "report" / "index.html").read_text(encoding="utf-8"))
    assert not MARKUP & page.seen
    for name in CLASSES:
        assert clean(name) in " ".join(page.words.split())
    for path in run.rglob("junit*/*.xml"):
        ET.parse(path)


def test_the_model_card_escapes_names(run):
    card = (run / "report" / "card.md").read_text(encoding="utf-8")
    assert "<b>" not in card
    rows = [line for line in card.splitlines() if line.startswith("| input |")]
    assert len(rows) == len(COLUMNS)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {5}


def test_the_mail_shows_names_and_no_markup_of_theirs(team):
    for mail in team.mails():
        html = Tags(mail.get_body(("html",)).get_content())
        assert not MARKUP & html.seen
        for line in mail.get_body(("plain",)).get_content().splitlines():
            assert line.isprintable()
            assert len(line) < 120 or "trainyard" in line


def test_the_api_answers_the_example_with_the_names_of_the_table(team):
    example = requests.get(f"{team.url}/example", timeout=10).json()
    assert list(example["instances"][0]) == COLUMNS
    answer = requests.post(f"{team.url}/predict", json=example, timeout=10).json()
    assert set(answer["predictions"][0]["probabilities"]) == set(CLASSES)
    wrong = requests.post(f"{team.url}/predict", json={"instances": [{**example["instances"][0], '"': 1}]}, timeout=10)
    assert (wrong.status_code, wrong.json()["error"]) == (400, 'instances[0].": no such column')


def test_the_form_of_the_first_page_is_answered_as_the_example(team):
    html = requests.get(team.url, headers={"Accept": "text/html"}, timeout=10).text
    page = Page(html)
    assert not MARKUP & page.tags
    body, kind = as_browsers_send(page.controls)
    given = requests.post(f"{team.url}/predict", data=body, headers={"Content-Type": kind}, timeout=10).json()
    example = requests.get(f"{team.url}/example", timeout=10).json()
    wanted = requests.post(f"{team.url}/predict", json=example, timeout=10).json()
    assert given["predictions"] == wanted["predictions"]


def test_the_metrics_can_be_read(team):
    page = requests.get(f"http://127.0.0.1:{team.admin}/metrics", timeout=10).text
    assert "trainyard_confidence" in {family.name for family in text_string_to_metric_families(page)}
