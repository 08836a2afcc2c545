"""`kill -9` of the controller at every boundary between two steps, and in the middle of each step.

Whatever is killed, the same command resumes the same run: what has ended is not done again, and in the end there is
one version, one acceptance test and one mail. The tests are one story, in this order; each uses what the one before has made.
Pushes to the dataset and to the tests are killed in the steps that do something else than after a push to the code, and in all
of them by `make fuzz`.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from digits_model import digits
from faults_parts import (
    HERE,
    check_whole,
    clean_environment,
    epochs,
    killed_after,
    killed_at,
    killed_while,
    left_over,
    message_ids,
    nobody_works_in,
    small_team,
    step_records,
)

from pipelines.flows import names

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
SAY_WHEN = {"MLmodel", "sbom.cdx.json"}
"""Files of a version that say when its run began, as other tools want to know."""
OWN_STEPS = {
    "code": names("code"),
    "dataset": ("resolve", "retrain", "accept"),
    "tests": ("resolve", "accept", "notify"),
}
"""Trigger → the steps that do what they do after no push before; the first one makes the run."""
WITH_WORKERS = ("validate", "train", "evaluate")
API = {"code": "accept/api-1", "dataset": "accept/api-2", "tests": "accept/api-1"}
RECORD = {
    "code": "/acceptances/000001.json",
    "dataset": "/acceptances/000001.json",
    "tests": "/acceptances/000002.json",
}


class March:
    """One run that is killed again and again; every time the same command is given."""

    def __init__(self, team, trigger, *, everywhere=False):
        """`everywhere`: in all steps, else in those of its own."""
        self.team, self.trigger, self.command = team, trigger, ("run", trigger)
        self.everywhere = everywhere

    @property
    def run(self):
        """The run's folder; there is only one."""
        (run,) = self.team.runs(self.trigger)
        return run

    def at(self, event, path):
        return lambda: killed_at(self.team, event, path, *self.command)

    def after(self, words):
        return lambda: killed_after(self.team, words, *self.command)

    def in_worker(self, name):
        return lambda: killed_while(self.team, self.run / name, *self.command)

    def middle(self, step):
        """Kills in the middle of a step, in the order in which it does its work."""
        return {
            "resolve": [self.at("os.link", "/run.json"), self.at("after:os.link", "/run.json")],
            "fetch": [self.at("os.rename", "/sources/dataset")],
            "validate": [self.in_worker("validate")],
            "train": [self.after("epoch 2/4")],
            "retrain": [self.in_worker("before"), self.after("epoch 2/4")],
            "evaluate": [self.in_worker("evaluate")],
            "gate": [self.at("os.rename", "/gate/verdict.json")],
            "register": [self.at("os.link", "/claim.json"), self.at("os.link", "/card.json")],
            "accept": [
                self.in_worker(API[self.trigger]),
                self.after("checks over HTTP"),
                self.at("after:os.link", RECORD[self.trigger]),
            ],
            "notify": [
                self.at("open", "/index.html"),
                self.at("after:os.rename", "/report"),
                self.at("os.link", ".eml"),
                self.at("after:os.link", ".eml"),
            ],
        }[step]

    def go(self):
        """Kill it in the middle of each step, just before its record is written, and just after; then let it end."""
        for step in names(self.trigger) if self.everywhere else OWN_STEPS[self.trigger]:
            record = f"/steps/{step}.json"
            strikes = [*self.middle(step), self.at("after:os.rename", record)]
            if self.everywhere or (self.trigger == "code" and step in WITH_WORKERS):  # others: see the next test
                strikes.insert(-1, self.at("os.rename", record))
            for strike in strikes:
                before = self.records()
                strike()
                nobody_works_in(self.team.home / "runs")
                check_whole(self.team.home)
                assert before.items() <= self.records().items(), f"a step was done again after a kill in {step}"
        if step != "notify":
            self.team.trainyard(*self.command)
        assert "nothing new" in self.team.trainyard(*self.command).stderr
        assert set(self.records()) == set(names(self.trigger))
        assert left_over(self.run) == []

    def records(self):
        return step_records(self.run) if self.team.runs(self.trigger) else {}

    def tried(self):
        """The versions that the run has tried, each as often as there is a record of it."""
        records = sorted((self.team.home / "registry/test/digits").glob("*/acceptances/*.json"))
        return [path.parents[1].name for path in records if json.loads(path.read_bytes())["run"] == self.run.name]


def kill_everywhere(team, home, run, **every):
    """How many kills there were in each step of the same run in `home`; see the script."""
    done = subprocess.run(
        [sys.executable, "-P", str(HERE / "kill_everywhere_in_steps.py"), team.config, home, run, json.dumps(every)],
        env=clean_environment() | {"PYTHONPATH": str(HERE)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def push_to_code(team, **more):
    march = March(team, "code", **more)
    march.go()
    assert [(card["version"], card["run"]) for card in team.cards()] == [(1, march.run.name)]
    assert march.tried() == ["1"]
    assert len(message_ids(team)) == 1
    assert sorted(epochs(march.run)) == [1, 2, 3, 4], "an epoch was repeated or left out"


def push_to_the_dataset(team, **more):
    team.promote()
    team.write("dataset", digits(300, 420, inverted=True))
    team.push("dataset")
    march = March(team, "dataset", **more)
    march.go()
    second = team.cards()[-1]
    assert (second["version"], second["run"], second["parent"]) == (2, march.run.name, 1)
    assert march.tried() == ["2"]
    assert len(message_ids(team)) == 2
    assert sorted(epochs(march.run)) == [1, 2, 3, 4], "an epoch was repeated or left out"


def push_to_the_tests(team, **more):
    team.push("tests")
    march = March(team, "tests", **more)
    march.go()
    assert [card["version"] for card in team.cards()] == [1, 2]
    assert march.tried() == ["1", "2"]
    assert len(message_ids(team)) == 3


def test_a_push_to_code_killed_everywhere_ends_as_if_nothing_had_happened(team):
    push_to_code(team)


def test_the_same_run_step_by_step_killed_before_each_file_operation_gives_the_same(team):
    (run,) = team.runs("code")
    home = team.folder / "another_home"
    home.mkdir()
    kills = kill_everywhere(team, home, run, each=2, resolve=1, fetch=6, validate=8, gate=1, notify=1)
    assert set(kills) == set(names("code"))
    assert min(kills.values()) >= 5, kills
    assert sum(kills.values()) >= 150
    assert left_over(home) == []
    assert len(list(home.glob("outbox/pending/*.eml"))) == 1
    again, first = (json.loads((each / "registry/test/digits/1/card.json").read_bytes()) for each in (home, team.home))
    assert again["files"].keys() == first["files"].keys()
    assert {name for name, digest in first["files"].items() if again["files"][name] != digest} <= SAY_WHEN
    assert [path.name for path in (home / "registry/test/digits").glob("*/card.json")] == ["card.json"]
    assert len(list(home.glob("registry/test/digits/1/acceptances/*.json"))) == 1


def test_a_push_to_the_dataset_killed_in_its_own_steps_ends_as_if_nothing_had_happened(team):
    push_to_the_dataset(team)


def test_a_push_to_the_tests_killed_in_its_own_steps_ends_as_if_nothing_had_happened(team):
    push_to_the_tests(team)


@pytest.mark.long
def test_pushes_killed_in_every_step_end_as_if_nothing_had_happened(tmp_path):
    team = small_team(tmp_path)
    try:
        for push in (push_to_code, push_to_the_dataset, push_to_the_tests):
            push(team, everywhere=True)
    finally:
        team.stop_api()
