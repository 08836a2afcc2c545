"""The disk of the home is full while labels become a commit: exit code 75 with the place, nothing lost, and the next commit has all."""

from pathlib import Path

import pytest
from label_team import Team, label
from registry_faults_parts import full, small_disk

from pipelines.__main__ import main
from registry.label_store import LabelStore, label_file

pytestmark = pytest.mark.slow
ROOM = (0, 4, 16, 40, 80, 140, 220, 320)
"""KiB that are left, until the commit has enough."""


@pytest.fixture
def team(tmp_path):
    with small_disk(tmp_path / ".trainyard", size="6m"):
        team = Team(tmp_path)
        assert Path(team.config.home) == tmp_path / ".trainyard"
        yield team


def labels(team):
    with LabelStore(label_file(Path(team.config.home), "m")) as store:
        return [(each.request, each.value) for each in store.all()]


def left_over(team):
    return list(Path(team.config.home).rglob(".tmp-*"))


@pytest.mark.parametrize("first", [True, False], ids=["the first commit", "a later one"])
def test_a_commit_of_labels_recovers_from_a_full_disk_once_there_is_space(team, capsys, first):
    command = ["labels", "commit", "--config", str(team.folder / "trainyard.toml")]
    rows = []
    if not first:
        team.label(label("r-8"))
        assert main(command) == 0
        rows.append("a,1008.0")
    given = [("r-1", "a"), ("r-2", "b"), ("r-3", "c")]
    team.label(*(label(*each) for each in given))
    known, refused = labels(team), 0
    for kib in ROOM:
        capsys.readouterr()
        with full(Path(team.config.home), kib):
            code = main(command)
        said = capsys.readouterr().err
        assert left_over(team) == [], f"{kib} KiB"
        if code == 0:
            break
        refused += 1
        assert code == 75, f"{kib} KiB: {said}"
        assert team.config.home in said, f"{kib} KiB: {said}"
        assert "hint: " in said
        assert "space" in said or "room" in said or "full" in said, f"{kib} KiB: {said}"
        assert labels(team) == known
        assert team.rows() == rows
    assert refused
    assert main(command) == 0
    assert team.rows() == [*rows, "a,1001.0", "b,1002.0"]
    assert [each.request for each in team.queue.committed()][-2:] == ["r-1", "r-2"]
    assert [(each.request, each.reason) for each in team.queue.unusable()] == [("r-3", "the dataset has no class 'c'")]
    assert labels(team) == known
