"""A team whose model and tests import packages of its own: they are in the workers, in the manifest, and not in the API."""

from __future__ import annotations

import pytest
import requests
from digits_model import MODEL, TESTS, digits
from wheels import only_from, wheel

pytestmark = [pytest.mark.tensorflow, pytest.mark.long, pytest.mark.timeout(900)]


def test_the_packages_of_two_files_are_where_each_is_needed(new_team, tmp_path, monkeypatch):
    only_from(tmp_path / "index", monkeypatch)
    wheel(tmp_path / "index", "greets", {"greets.py": "UNITS = 32\n"}, version="2.5")
    wheel(tmp_path / "index", "checks", {"checks.py": "LEAST = 0.5\n"})
    model = MODEL.replace("import keras\n", "import keras\nimport greets\n", 1).replace(
        "Dense(32", "Dense(greets.UNITS"
    )
    new_team.write("code", {"model.py": model, "requirements.txt": "greets>=2\n"})
    new_team.write("tests", {"test_model.py": "import checks\n" + TESTS.replace("> 0.5", "> checks.LEAST"),
                             "requirements.txt": "checks\n"})  # fmt: skip
    for repository in ("tests", "code"):
        new_team.push(repository, "with packages")
    try:
        assert new_team.ask("run", "code")["outcome"] == "done"
        (card,) = new_team.cards()
        assert card["packages"]["greets"] == "2.5"
        assert len([each for each in (new_team.home / "cache/packages").iterdir() if each.is_dir()]) == 2
        new_team.promote()
        image = next(iter(digits(800, 900).values()))
        answer = requests.post(f"{new_team.url}/predict", data=image, headers={"Content-Type": "image/png"}, timeout=10)
        assert answer.status_code == 200
        new_team.trainyard("run", "code", "--force", "--set", "runner.packages=false", code=2)
    finally:
        new_team.stop_api()
