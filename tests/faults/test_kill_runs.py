"""`kill -9` of the controller at every boundary between two steps, and in the middle of each step.

Whatever is killed, the same command goes on with the same run: what has ended is not done again, and in the end there is
one version, one trial and one mail. The tests are one story, in this order; each uses what the one before has made.
"""

from __future__ import annotations

import json

import pytest
from faults_parts import (
    check_whole,
    digits,
    epochs,
    killed_at,
    killed_while,
    message_ids,
    nobody_works_in,
    step_records,
    working_in,
)  # fmt: skip

from pipelines.flow import FLOWS

pytestmark = pytest.mark.tensorflow


class March:
    """One run that is killed again and again; every time the same command is given."""

    def __init__(self, team, trigger):
        self.team, self.trigger, self.command = team, trigger, ("run", trigger)

    @property
    def run(self):
        """The run's folder; there is only one."""
        (run,) = self.team.runs(self.trigger)
        return run

    def at(self, event, path):
        return lambda: killed_at(self.team, event, path, *self.command)

    def in_worker(self, name, ready=lambda: True):
        return lambda: killed_while(self.team, self.run / name, *self.command, ready=ready)

    def middle(self, step):
        """Kills in the middle of a step, in the order in which it does its work."""
        trial = "accept/version-1" if self.trigger == "code" else "accept/version-2"
        return {
            "resolve": [self.at("os.link", "/run.json"), self.at("after:os.link", "/run.json")],
            "fetch": [self.at("os.rename", "/sources/dataset")],
            "validate": [self.in_worker("validate")],
            "train": [self.in_worker("train", lambda: len(epochs(self.run)) >= 2)],
            "retrain": [self.in_worker("before"), self.in_worker("train", lambda: len(epochs(self.run)) >= 2)],
            "evaluate": [self.in_worker("evaluate")],
            "gate": [self.at("os.rename", "/gate/verdict.json")],
            "register": [self.at("os.link", "/claim.json"), self.at("os.link", "/card.json")],
            "accept": [
                self.in_worker(f"{trial}/api"),
                self.in_worker(
                    trial, lambda: set(working_in(self.run / trial)) - set(working_in(self.run / trial / "api"))
                ),
                self.at("after:os.link", "/acceptances/000001.json"),
            ],
            "notify": [self.at("os.link", ".eml"), self.at("after:os.link", ".eml")],
        }[step]

    def go(self):
        """Kill it everywhere, then let it end."""
        for step in FLOWS[self.trigger]:
            record = f"/steps/{step}.json"
            for strike in [*self.middle(step), self.at("os.rename", record), self.at("after:os.rename", record)]:
                before = self.records()
                strike()
                nobody_works_in(self.team.home / "runs")
                check_whole(self.team.home)
                assert before.items() <= self.records().items(), f"a step was done again after a kill in {step}"
        assert "nothing new" in self.team.trainyard(*self.command).stderr
        assert set(self.records()) == set(FLOWS[self.trigger])

    def records(self):
        return step_records(self.run) if self.team.runs(self.trigger) else {}


def tried_by(team, run):
    """The versions that the run has tried, each as often as there is a record of it."""
    records = sorted((team.home / "registry/test/digits").glob("*/acceptances/*.json"))
    return [path.parents[1].name for path in records if json.loads(path.read_bytes())["run"] == run.name]


def test_a_push_to_code_killed_everywhere_ends_as_if_nothing_had_happened(team):
    march = March(team, "code")
    march.go()
    assert [(card["version"], card["run"]) for card in team.cards()] == [(1, march.run.name)]
    assert tried_by(team, march.run) == ["1"]
    assert len(message_ids(team)) == 1
    assert sorted(epochs(march.run)) == [1, 2, 3, 4], "an epoch was repeated or left out"


def test_a_push_to_the_dataset_killed_everywhere_ends_as_if_nothing_had_happened(team):
    team.promote()
    team.write("dataset", digits(300, 420, inverted=True))
    team.push("dataset")
    march = March(team, "dataset")
    march.go()
    first, second = team.cards()
    assert (second["version"], second["run"], second["parent"]) == (2, march.run.name, 1)
    assert tried_by(team, march.run) == ["2"]
    assert len(message_ids(team)) == 2
    assert sorted(epochs(march.run)) == [1, 2, 3, 4], "an epoch was repeated or left out"


def test_a_push_to_the_tests_killed_everywhere_ends_as_if_nothing_had_happened(team):
    team.push("tests")
    march = March(team, "tests")
    march.go()
    assert [card["version"] for card in team.cards()] == [1, 2]
    assert tried_by(team, march.run) == ["1", "2"]
    assert len(message_ids(team)) == 3
