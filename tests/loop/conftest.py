"""Teams for the tests of the whole loop."""

from __future__ import annotations

import pytest
from digits_model import MODEL, TESTS, digits
from team import Team


def founded(folder) -> Team:
    """A team whose three repositories hold a first, good commit each; no hook yet, nothing run yet."""
    team = Team(folder)
    team.write("dataset", {"dataset.toml": 'format = "images"\n', **digits(0, 800)})
    team.write("tests", {"test_model.py": TESTS})
    team.write("code", {"model.py": MODEL})
    return team


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """One team for a module's story; its API is stopped at the end."""
    team = founded(tmp_path_factory.mktemp("team"))
    yield team
    team.stop_api()


@pytest.fixture
def new_team(tmp_path):
    """A team of the test's own, with everything pushed."""
    team = founded(tmp_path)
    for repository in ("dataset", "tests", "code"):
        team.push(repository, f"first {repository}")
    return team


@pytest.fixture
def broken(new_team):
    """A new team whose dataset holds a file that is not an image, so that each of its runs is short."""
    new_team.write("dataset", {"1/broken.png": b"not an image"})
    new_team.push("dataset")
    return new_team
