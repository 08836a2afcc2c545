"""`trainyard registry`: what people and scripts see of the registry."""

import argparse
import json
from hashlib import sha256

import pytest
from attested import attested
from registry_parts import acceptance, promote, publish, release

from pipelines.commands import registry as command
from pipelines.config.schema import Config, Registry, Repositories
from registry import candidates
from registry.errors import ConfigError, Corrupt
from registry.stores import open_store


@pytest.fixture
def run(tmp_path, capsys):
    config = Config(
        model="digits",
        repositories=Repositories("code", "dataset", "tests"),
        registry=Registry(f"file://{tmp_path / 'registry'}"),
    )

    def run(*arguments, code=0):
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        command.add_arguments(parser)
        assert command.main(parser.parse_args(arguments), config) == code
        said = capsys.readouterr().out
        return json.loads(said) if "--json" in arguments else said

    return run


@pytest.fixture
def store(tmp_path):
    store = open_store(f"file://{tmp_path / 'registry'}")
    for run in ("one", "two"):
        publish(store, tmp_path, run)
    candidates.append_acceptance(store, acceptance(store, 1, accepted=False))
    candidates.append_acceptance(store, acceptance(store, 1))
    candidates.append_acceptance(store, acceptance(store, 2, accepted=False))
    promote(store, 1, "token")
    return store


def test_list_shows_the_newest_first_and_which_is_live(run, store):
    two, one = run("list").splitlines()[-2:]
    assert two.split() == ["2", "2026-11-21T00:00:00Z", "trained", "accuracy", "0.970", "rejected"]
    assert one.split() == ["1", "2026-11-21T00:00:00Z", "trained", "accuracy", "0.970", "accepted", "*"]
    as_json = run("list", "--json")
    assert [(each["version"], each["tried"], each["live"]) for each in as_json] == [
        (2, "refused", False),
        (1, "accepted", True),
    ]


def test_list_shows_twenty_versions_and_all_when_asked(run, tmp_path):
    store = open_store(f"file://{tmp_path / 'registry'}")
    for number in range(22):
        publish(store, tmp_path, f"run-{number}")
    assert [each["version"] for each in run("list", "--json")] == list(range(22, 2, -1))
    assert "--all" in run("list")
    assert [each["version"] for each in run("list", "--all", "--json")] == list(range(22, 0, -1))
    assert "--all" not in run("list", "--all")


def test_an_empty_registry_is_not_an_error(run):
    assert "no version yet" in run("list")
    assert "no release yet" in run("history")
    assert run("list", "--json") == run("history", "--json") == []
    assert run("verify", "--json") == {"problems": [], "notes": []}
    with pytest.raises(ConfigError, match="no version yet"):
        run("show")


def test_show_names_where_a_version_comes_from_and_what_it_is(run, store):
    said = run("show", "digits", "1")
    for each in (
        "digits version 1",
        "run one",
        "c" * 40,
        "model.tflite, by litert: it gives the same answers as Keras",
        "0.970",
        "rejected: one test failed",
        "any x 8 x 8 x 1",
        "zero, one",
        "keras",
        candidates.manifest_digest(store, "digits", 1),
    ):
        assert each in said
    assert run("show").startswith("digits version 2")


def test_show_names_the_key_that_a_version_is_attested_with_and_its_file(run, store, tmp_path):
    assert run("show", "digits", "1", "--json")["signer"] is None
    assert "attested" not in run("show", "digits", "1")
    attested(store, tmp_path, "one", 1)
    public = tmp_path / "registry/test/digits/attestations/1/signer.pem"
    key = sha256(public.read_bytes()).hexdigest()
    assert run("show", "digits", "1", "--json")["signer"] == {"key": key, "public": str(public)}
    said = run("show", "digits", "1")
    assert key in said
    assert str(public) in said


def test_show_as_json_is_the_manifest_and_the_acceptance_tests(run, store):
    shown = run("show", "digits", "1", "--json")
    assert shown["card"]["files"] == candidates.manifest(store, "digits", 1).files
    assert shown["sha256"] == candidates.manifest_digest(store, "digits", 1)
    assert [each["accepted"] for each in shown["acceptances"]] == [False, True]


def test_history_shows_who_released_what_and_who_approved(run, store):
    release(store, 1, by="bob")
    release(store, None, by="carol")
    rows = [line.split() for line in run("history").splitlines()[-3:]]
    assert [(*row[:3], row[4:]) for row in rows] == [
        ("3", "withdrawal", "none", ["carol"]),
        ("2", "rollback", "1", ["bob"]),
        ("1", "promotion", "1", ["ada", "ada"]),
    ]
    as_json = run("history", "--json")
    assert [(each["number"], each["kind"], each["version"], each["approved_by"]) for each in as_json] == [
        (3, "withdrawal", None, None),
        (2, "rollback", 1, None),
        (1, "promotion", 1, "ada"),
    ]


def test_history_distinguishes_a_person_called_trainyard_from_an_automatic_revert(run, store):
    release(store, 1, by="trainyard")
    release(store, 1, by="trainyard", kind="revert")
    assert [each["kind"] for each in run("history", "--json")] == ["revert", "rollback", "promotion"]
    assert "automatic revert" in run("history").splitlines()[-3]
    assert "automatic revert" not in run("history").splitlines()[-2]


def test_verify_says_so_when_all_is_well_and_ends_with_2_when_not(run, store):
    candidates.claim(store, "digits", "begun")
    said = run("verify")
    assert "every file is as it was written" in said
    assert "note: test/digits/3: was begun by run begun" in said
    path = store.path("test/digits/2/model.keras")
    path.chmod(0o644)
    path.write_bytes(b"altered")
    said = run("verify", code=2)
    assert "test/digits/2/model.keras: checksum mismatch" in said
    assert "backup" in said
    assert any(
        each.startswith("test/digits/2/model.keras") for each in run("verify", "digits", "--json", code=2)["problems"]
    )


def test_an_altered_manifest_is_not_shown(run, store):
    path = store.path("test/digits/2/card.json")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"0.97", b"0.99"))
    for action in ("list", "show"):
        with pytest.raises(Corrupt, match=r"test/digits/2/card\.json: checksum mismatch"):
            run(action)


@pytest.mark.parametrize("action", ["list", "show", "history", "verify"])
def test_an_unknown_model_is_reported_with_those_that_are_there(run, store, action):
    with pytest.raises(ConfigError, match="flowers") as error:
        run(action, "flowers")
    assert "digits" in error.value.hint


def test_an_unknown_version_is_reported(run, store):
    with pytest.raises(ConfigError, match="no such version"):
        run("show", "digits", "7")
