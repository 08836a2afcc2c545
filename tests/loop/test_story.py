"""The whole loop as a team lives it: push, approve, more data, stricter tests, roll back. Each fixture is a chapter."""

from __future__ import annotations

import json
import threading

import pytest
import requests
from digits_model import digits

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(600)]


def answer(team, image: bytes) -> dict:
    done = requests.post(f"{team.url}/predict", data=image, headers={"Content-Type": "image/png"}, timeout=10)
    assert done.status_code == 200, done.text
    return done.json()


def push_notes(team, text: str) -> None:
    """A push that no model can depend on: it is answered from the run of the same files."""
    cards, mails = len(team.cards()), len(team.mails())
    team.write("code", {"NOTES.md": text})
    _sha, seen = team.push("code", "notes only")
    assert "NOTHING TO DO" in seen
    assert "the same files" in seen
    assert (len(team.cards()), len(team.mails())) == (cards, mails)


@pytest.fixture(scope="module")
def first_push(team):
    team.push("dataset", "first data")
    team.push("tests", "first tests")
    team.trainyard("hooks", "install")
    return team.push("code", "first model")


@pytest.fixture(scope="module")
def promoted(team, first_push):
    team.promote()
    return team


@pytest.fixture(scope="module")
def more_data(team, promoted):
    team.write("dataset", digits(800, 1797, inverted=True))
    return team.push("dataset", "data that look different")


@pytest.fixture(scope="module")
def promoted_again(team, more_data):
    team.promote()
    return team


@pytest.fixture(scope="module")
def stricter_tests(team, promoted_again):
    team.write(
        "tests",
        {"test_strict.py": "def test_it_knows_eight_classes(card):\n    assert len(card.signature.classes) == 8\n"},
    )
    return team.push("tests", "a test that nobody passes")


@pytest.fixture(scope="module")
def rolled_back(team, stricter_tests):
    team.trainyard("rollback", "digits")
    return team


class TestThePushOfCode:
    def test_streams_progress_and_the_verdict_to_the_pusher(self, first_push):
        _sha, seen = first_push
        remote = [line.removeprefix("remote: ").rstrip() for line in seen.splitlines() if line.startswith("remote: ")]
        assert any("epoch 8" in line for line in remote)
        assert any(line.startswith("ACCEPTED: push to code, accept: version 1 passed") for line in remote)

    def test_registers_a_candidate_whose_card_names_its_sources(self, team, first_push):
        sha, _ = first_push
        card = team.cards()[0]
        assert (card["version"], card["sources"]["code"], card["how"]) == (1, sha, "trained")
        assert card["served"]["engine"] == "litert"
        assert card["authors"] == ["dev@example.org <dev@example.org>"]
        assert card["evaluation"]["candidate"]["values"]["accuracy"] >= 0.8

    def test_never_shows_the_holdout_to_the_training_worker(self, team, first_push):
        (run,) = team.runs("code")
        inputs = {path.name: path.resolve() for path in (run / "train" / "inputs").iterdir()}
        assert inputs.keys() == {"code", "train", "validation"}
        names = {
            split: set(json.loads((run / "validate/outputs/data" / split / "names.json").read_text()))
            for split in ("train", "validation", "holdout")
        }
        assert not names["holdout"] & (names["train"] | names["validation"])

    def test_mails_the_product_owner_with_the_command_to_promote(self, team, first_push):
        mail = next(mail for mail in team.mails() if "version 1 accepted" in mail["Subject"])
        text = mail.get_body(("plain",)).get_content()
        assert "first model" in text
        assert "--approval" in text

    def test_leaves_junit_for_data_gate_and_acceptance(self, team, first_push):
        (run,) = team.runs("code")
        for name in ("validate/outputs/junit.xml", "gate/junit.xml", "accept/version-1/outputs/junit.xml"):
            assert "<testcase" in (run / name).read_text(encoding="utf-8")

    def test_to_another_branch_does_nothing(self, team, first_push):
        before = len(team.runs("code"))
        _sha, seen = team.push("code", "an idea", branch="idea")
        assert "pipeline" not in seen
        assert len(team.runs("code")) == before

    def test_run_again_is_nothing_new(self, team, first_push):
        done = team.trainyard("run", "code", "--commit", first_push[0])
        assert "nothing new" in done.stderr
        assert [card["version"] for card in team.cards()][:1] == [1]

    def test_of_notes_alone_finds_out_nothing_and_mails_nobody(self, team, first_push):
        push_notes(team, "once more")


class TestThePromotion:
    def test_starts_the_api(self, team, promoted):
        (name, image), *_ = digits(0, 20).items()
        said = answer(team, image)
        assert (said["model"], said["version"], said["release"]) == ("digits", 1, 1)
        assert said["predictions"][0]["class"] == name.partition("/")[0]

    def test_is_recorded_with_its_approval(self, team, promoted):
        production = team.home / "registry/production/digits"
        approval = json.loads((production / "approvals/000001.json").read_bytes())
        release = json.loads((production / "releases/000001.json").read_bytes())
        assert (release["version"], release["approval"], release["card"]) == (1, 1, approval["card"])
        assert release["by"] == approval["by"] != ""

    def test_leaves_nothing_to_find_out_for_a_push_of_notes(self, team, promoted):
        push_notes(team, "after the promotion")

    def test_with_a_tampered_token_changes_nothing(self, team, promoted):
        *_command, token = team.promotion_command()
        altered = token[:-3] + ("AAA" if not token.endswith("AAA") else "BBB")
        releases = sorted((team.home / "registry/production/digits/releases").iterdir())
        done = team.trainyard("promote", "digits", "1", "--approval", altered, code=3)
        assert "token" in done.stderr
        assert token not in done.stderr
        assert sorted((team.home / "registry/production/digits/releases").iterdir()) == releases


class TestThePushOfData:
    def test_retrains_from_the_live_model(self, team, more_data):
        card = team.cards()[1]
        assert card["sources"]["dataset"] == more_data[0]
        assert (card["how"], card["parent"]) in {("fine-tuned", 1), ("trained", None)}
        assert card["evaluation"]["comparison"]["live_version"] == 1
        assert card["evaluation"]["comparison"]["difference"] > 0

    def test_says_why_it_retrained(self, more_data):
        assert "it fails the gate on the new data" in more_data[1]

    def test_is_swapped_in_after_approval(self, team, promoted_again):
        image = next(iter(digits(1700, 1797, inverted=True).values()))
        assert answer(team, image)["release"] == 2

    def test_that_are_like_the_old_keep_the_live_model(self, team, promoted_again):
        team.write("dataset", digits(0, 60, inverted=True))
        _sha, seen = team.push("dataset", "more of the same")
        assert "NOTHING TO DO" in seen
        assert len(team.cards()) == 2
        assert "stays" in team.mails()[-1].get_body(("plain",)).get_content()


class TestThePushOfTests:
    def test_tests_what_exists_again_and_appends_the_result(self, team, stricter_tests):
        acceptances = sorted((team.home / "registry/test/digits/2/acceptances").iterdir())
        last = json.loads(acceptances[-1].read_bytes())
        assert last["tests"] == stricter_tests[0]
        assert not last["accepted"]
        assert any("test_it_knows_eight_classes" in reason for reason in last["reasons"])

    def test_trains_nothing(self, team, stricter_tests):
        assert len(team.cards()) == 2

    def test_sounds_the_alarm_when_the_live_release_fails(self, team, stricter_tests):
        mail = team.mails()[-1]
        assert "ALARM" in mail.get_body(("plain",)).get_content()

    def test_makes_a_refused_candidate_unpromotable(self, team, stricter_tests):
        done = team.trainyard("promote", "digits", "2", "--approval", team.promotion_command()[-1], code=3)
        assert "trainyard promote" in done.stderr


class TestTheRollback:
    def test_is_a_new_release_of_the_old_version(self, team, rolled_back):
        said = requests.get(f"{team.url}/version", timeout=10).json()
        assert (said["release"], said["version"]) == (3, 1)

    def test_leaves_a_history_that_verifies(self, team, rolled_back):
        team.trainyard("registry", "verify")


@pytest.mark.slow
def test_both_versions_can_be_trained_again_to_the_bit_and_leave_no_trace(team, rolled_back):
    """The second one was fine-tuned, or trained from scratch as that was not enough: with more data, from the first."""
    registry = team.home / "registry"
    before = {path: path.lstat().st_mtime_ns for path in registry.rglob("*")}
    for version in ("1", "2"):
        found = team.ask("reproduce", "digits", version)
        assert (found["outcome"], found["other"], found["circumstances"]) == ("bit-identical", [], []), found
    assert {path: path.lstat().st_mtime_ns for path in registry.rglob("*")} == before


@pytest.mark.slow
def test_a_sample_is_found_in_the_versions_that_it_went_into(team, rolled_back):
    (name,) = list(digits(0, 3))[:1]
    first = team.ask("lineage", "--row", name)["uses"]
    assert [each["version"] for each in first] == [1, 2]
    (new,) = list(digits(800, 803, inverted=True))[:1]
    assert [each["version"] for each in team.ask("lineage", "--row", new)["uses"]] == [2]
    path = str(team.folder / "work" / "dataset" / new)
    assert [each["version"] for each in team.ask("lineage", "--file", path)["uses"]] == [2]


@pytest.mark.slow
def test_two_pushes_at_once_do_not_mix(team, rolled_back):
    team.write("code", {"model.py": (team.folder / "work/code/model.py").read_text().replace("Dense(32", "Dense(48")})
    team.write("dataset", digits(0, 300, inverted=True))
    before, shas = len(team.cards()), {}

    def push(repository):
        shas[repository] = team.push(repository, "at once")[0]

    threads = [threading.Thread(target=push, args=(name,)) for name in ("code", "dataset")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    new = team.cards()[before:]
    by_run = {card["run"]: card for card in new}
    assert len(by_run) == len(new)
    for run in (*team.runs("code"), *team.runs("dataset")):
        sources = json.loads((run / "run.json").read_bytes())["sources"]
        if run.name in by_run:
            assert by_run[run.name]["sources"] == sources
    assert shas["code"] in {card["sources"]["code"] for card in new}
    team.trainyard("registry", "verify")
