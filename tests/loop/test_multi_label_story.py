"""The how-to about several labels: from a `.npz` to an accepted version and answers, by the page's own commands."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT

PAGE = (ROOT / "docs" / "how-to" / "multi-label.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
LABELS = ["rain", "wind", "fog"]


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "weather")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve weather --stop")


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the API with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_weather_with_several_labels(newcomer):
    train, ask = BLOCKS
    accepted = newcomer(train)
    assert "accepted" in accepted.stdout + accepted.stderr
    card = next((newcomer.folder / ".trainyard" / "registry" / "test").rglob("card.json"))
    manifest = json.loads(card.read_bytes())
    measured = manifest["evaluation"]["candidate"]
    assert (measured["task"], measured["classes"].keys()) == ("multi-label", set(LABELS))
    assert measured["values"].keys() >= {"accuracy", "micro_f1", "macro_f1", "hamming_loss", "loss"}
    assert manifest["evaluation"]["importance"]["metric"] == "hamming_loss"
    (report,) = (newcomer.folder / ".trainyard" / "runs").glob("*/report/index.html")
    page = report.read_text(encoding="utf-8")
    assert "label, weakest first" in page
    assert (report.parent / "labels.png").is_file()
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    asked = newcomer(ask)
    answer, _ = json.JSONDecoder().raw_decode(asked.stdout[asked.stdout.index('{"model"') :])
    assert [each["labels"] for each in answer["predictions"]] == [["rain", "wind"], []]
    assert all(list(each["probabilities"]) == LABELS for each in answer["predictions"])
    assert "two.json [0]  rain, wind" in asked.stdout
    assert "two.json [1]  no label" in asked.stdout
