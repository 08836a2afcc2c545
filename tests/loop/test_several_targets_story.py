"""The how-to about several numbers per sample: from three repositories to numbers by name, by its own commands."""

from __future__ import annotations

import json
import re
import shutil
import tomllib

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT

PAGE = (ROOT / "docs" / "how-to" / "several-targets.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
BLOCKS = [block for kind, block in FENCED if kind == "sh"]
SAID = [line for kind, block in FENCED if not kind for line in block.splitlines()]


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "measures")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve measures --stop")


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the API with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_two_measures_of_a_penguin(newcomer):
    data, train, ask = BLOCKS
    newcomer(data)
    accepted = newcomer(train)
    assert "accepted" in accepted.stdout + accepted.stderr
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    asked = newcomer(ask)
    for line in SAID:
        assert line in asked.stdout
    answer, end = json.JSONDecoder().raw_decode(asked.stdout[asked.stdout.index('{"model"') :])
    (predicted,) = answer["predictions"]
    assert 4000 < predicted["values"]["body_mass_g"] < 7000
    assert 200 < predicted["values"]["flipper_length_mm"] < 240
    explained = json.JSONDecoder().raw_decode(asked.stdout[asked.stdout.index('{"model"') :][end:].lstrip())[0]
    (why,) = explained["explanations"]
    assert (why["target"], why["value"]) == ("body_mass_g", pytest.approx(predicted["values"]["body_mass_g"], rel=1e-3))
    report = next((newcomer.folder / ".trainyard" / "runs").glob("*/report/index.html")).read_text(encoding="utf-8")
    assert "target" in report
    assert "flipper_length_mm" in report


def test_what_the_page_shows_of_dataset_toml_is_toml():
    shown = [tomllib.loads(block) for kind, block in FENCED if kind == "toml"]
    assert [next(iter(each.values()))["task"] for each in shown] == ["regression", "regression"]
