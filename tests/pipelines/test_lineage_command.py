"""`trainyard lineage`: forwards from a version, backwards from a file or a row."""

import argparse
import io
import json

import pytest
from lineage_parts import publish_with_data
from registry_parts import acceptance, promote
from report_parts import Page, Team, accepted

from pipelines.commands import lineage as command
from pipelines.config.schema import Config, Registry, Repositories
from pipelines.mail_facts import collect_facts
from pipelines.report import write_report
from registry import candidates
from registry.errors import ConfigError
from registry.records import TrainJob
from registry.records.data import DatasetLabels
from registry.stores import open_store

DATA = {"a.csv": b"first scanner"}
JOB = TrainJob("digits", 1, 7, 32, 2, 5, "accuracy", 0.9, command=("python", "train.py"))


@pytest.fixture
def run(tmp_path, capsys):
    repositories = Repositories("https://me:secret@git.example/code.git", "dataset", "tests")
    registry = Registry(f"file://{tmp_path / 'registry'}", require_signatures=False)
    config = Config("digits", repositories, registry=registry, home=str(tmp_path / "home"))

    def run(*arguments):
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        command.add_arguments(parser)
        assert command.main(parser.parse_args(arguments), config) == 0
        said = capsys.readouterr().out
        return json.loads(said) if "--json" in arguments else " ".join(said.split())

    return run


@pytest.fixture
def store(tmp_path):
    store = open_store(f"file://{tmp_path / 'registry'}")
    keys = {"train": ["ada"], "holdout": ["bob"]}
    labels = DatasetLabels(1504, {"ann": 1500, "bob": 4})
    made = {"labels": labels, "training": JOB, "machine": {"processor": "a fast one"}, "packages": {"keras": "3.15.1"}}
    publish_with_data(store, tmp_path, "one", DATA, keys, **made)
    publish_with_data(store, tmp_path, "two", None, parent=1, how="fine-tuned")
    candidates.append_acceptance(store, acceptance(store, 1))
    promote(store, 1, "token")
    return store


def test_a_version_is_shown_with_all_that_it_was_made_of_and_what_became_of_it(run, store):
    said = run("digits", "1")
    for words in ("c" * 40, "d" * 40, "e" * 40, "1 files, 13 B", "2 listed", "python train.py", "epochs 7"):
        assert words in said
    for words in ("a fast one", "3.15.1", "acceptance test 1: accepted", "approval 1 by ada", "release 1: promotion"):
        assert words in said
    assert "version 2 began with its weights" in said
    assert "1,504 answers of an API, labelled by ann 1,500, bob 4" in said
    assert "secret" not in said


def test_the_same_as_json(run, store):
    found = run("digits", "1", "--json")
    assert found["dataset"]["tree"]["files"] == 1
    assert found["settings"]["epochs"] == 7
    assert (found["children"], [each["number"] for each in found["releases"]]) == ([2], [1])
    assert [each["accepted"] for each in found["acceptances"]] == [True]


def test_an_older_version_says_what_is_not_known_of_it(run, store):
    said = run("digits")
    assert "digits version 2" in said
    assert "began with version 1" in said
    assert said.count("not known: made before versions kept this") == 3
    assert "nothing yet" in said


def test_a_file_is_found_by_its_path_and_by_its_digest(run, store, tmp_path):
    (tmp_path / "copy.csv").write_bytes(DATA["a.csv"])
    by_path = run("--file", str(tmp_path / "copy.csv"), "--json")
    assert by_path["uses"] == [
        {"version": 1, "places": ["a.csv"], "earlier": []},
        {"version": 2, "places": [], "earlier": [1]},
    ]
    digest = run("digits", "--file", str(tmp_path / "copy.csv")).split()[2]
    assert run("--data", digest.upper(), "--json") == by_path
    assert "not known of version 2" in run("--data", digest)


def test_a_row_is_found_also_by_a_key_that_no_command_line_shows(run, store, monkeypatch):
    assert "train: row" in run("--row", "ada")
    monkeypatch.setattr("sys.stdin", io.StringIO("bob\n"))
    assert run("--row", "-", "--json")["uses"] == [{"version": 1, "places": ["holdout: row"], "earlier": []}]
    assert "no version is known to have it" in run("--row", "eve")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cats",), "no model 'cats'"),
        (("digits", "9"), "digits version 9: there is no such version"),
        (("--data", "abc"), "not a SHA-256"),
        (("--file", "/nowhere"), "no such file"),
        (("digits", "1", "--row", "ada"), "all versions"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(run, store, arguments, words):
    with pytest.raises(ConfigError, match=words) as raised:
        run(*arguments)
    assert raised.value.hint


def test_the_report_draws_where_its_version_comes_from(tmp_path):
    team = Team(tmp_path)
    folder = accepted(team)
    report = write_report(team.context, folder, collect_facts(team.context, folder))
    page = Page(report / "index.html")
    assert "lineage.svg" in page.all("img", "src")
    drawn = (report / "lineage.svg").read_text(encoding="utf-8")
    assert "version 2" in drawn
    assert "acceptance test" in drawn
    assert "<script" not in drawn
