"""A live release with other classes is not comparable: everything that people read says so, in one sentence, and no number of it."""

import email
import email.policy
import re

import pytest
from report_parts import MODEL, Page, Team, end, fetched, measured, metrics, prepared, trained, with_acceptance

from pipelines import execute
from pipelines.__main__ import main
from pipelines.promotion.compare import Compared
from pipelines.promotion.promote import _draft
from pipelines.promotion.request import Request
from pipelines.steps import evaluate as evaluate_step
from pipelines.steps import gate as gate_step
from registry.records import Evaluation
from retraining.policy import other_classes

WHY = other_classes(("one", "eight"), ("one", "seven"))
NOTE = f"live version 1 was not measured: {WHY}; the gate decides by the thresholds alone"
FOUND = Evaluation(metrics(0.981), live_note=NOTE)
COMPARED = re.compile(
    r"(better|worse) by|of the same samples|95 % confidence|live \d\.\d|live version 1, which is live now"
)


def says_so(text):
    """Whether a text has the sentence, and no comparison."""
    plain = " ".join(text.replace("\\", "").split())
    return NOTE[1:] in plain and not COMPARED.search(plain)


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    return Team(tmp_path_factory.mktemp("team"))


@pytest.fixture(scope="module")
def run(team):
    """A run to its end: version 2, while version 1 is live and not comparable."""
    live = team.publish("0" * 12)
    folder = team.run(parent=live, candidate=live)
    fetched(folder)
    prepared(folder)
    trained(folder)
    measured(folder, FOUND)
    version = team.publish(folder.run.id, FOUND)
    with_acceptance(folder, team.accept(folder.run.id, version))
    end(folder, "accept")
    assert execute.run_step(team.context, folder, "notify").outcome == "done"
    return folder


def test_the_lines_of_the_run_say_so(team, run):
    assert says_so(evaluate_step._in_words(FOUND, "accuracy"))
    assert says_so(gate_step.main(team.context, run))


def test_the_gate_skips_the_comparison_and_says_so(run):
    assert says_so((run.job("gate") / "junit.xml").read_text(encoding="utf-8"))


def test_the_report_says_so(run):
    assert says_so(Page(run.root / "report" / "index.html").words)


def test_the_model_card_says_so(run):
    assert says_so((run.root / "report" / "card.md").read_text(encoding="utf-8"))


def test_the_mail_says_so_in_text_in_html_and_in_its_subject(team, run):
    (path,) = (team.context.home / "outbox" / "pending").glob("*.eml")
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert "accuracy 0.981 (not comparable with live)" in mail["Subject"]
    for kind in ("plain", "html"):
        assert says_so(re.sub("<[^>]*>", " ", mail.get_body((kind,)).get_content()))


def test_the_registry_says_so(team, run, capsys):
    config = team.folder / "trainyard.toml"
    config.write_text(
        f'model = "{MODEL}"\nhome = "{team.context.home}"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n'
        f'[registry]\nurl = "{team.context.config.registry.url}"\n'
    )
    assert main(["registry", "show", MODEL, "2", "--config", str(config)]) == 0
    assert says_so(capsys.readouterr().out)
    assert main(["registry", "list", "--config", str(config)]) == 0
    assert "accuracy 0.981 (not comparable with live)" in capsys.readouterr().out


def test_the_release_says_so():
    asked = Request(MODEL, 2, "token", "ada", "ada@laptop")
    assert says_so(_draft(asked, "ada", "c" * 64, (4,), Compared(note=NOTE)).reason)
