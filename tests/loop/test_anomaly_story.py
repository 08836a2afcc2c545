"""The how-to about anomalies: from three repositories to scores, by its own commands."""

from __future__ import annotations

import json
import re
import shutil
import tomllib

import pytest
from newcomer import newcomer_in, token_in
from team import ROOT

from training.data.dataset_toml import load_dataset_file

PAGE = (ROOT / "docs" / "how-to" / "anomaly.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
BLOCKS = [block for kind, block in FENCED if kind == "sh"]
SAID = [json.loads(line) for kind, block in FENCED if not kind for line in block.splitlines()]


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "pumps")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve pumps --stop")


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks the API with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
def test_the_readings_of_a_pump(newcomer):
    train, ask = BLOCKS
    accepted = newcomer(train)
    said = accepted.stdout + accepted.stderr
    assert "accepted" in said
    assert "2 samples marked as anomalous would be in train or validation" in said
    card = next((newcomer.folder / ".trainyard" / "registry" / "test").rglob("card.json"))
    manifest = json.loads(card.read_bytes())
    measured = manifest["evaluation"]["candidate"]
    assert measured["task"] == "anomaly"
    assert measured["values"].keys() >= {
        "roc_auc",
        "average_precision",
        "precision",
        "recall",
        "mean_score",
        "false_alarms",
    }
    assert manifest["evaluation"]["importance"]["metric"] == "mean_score"
    (report,) = (newcomer.folder / ".trainyard" / "runs").glob("*/report/index.html")
    assert "recall (share of the anomalies that is found)" in report.read_text(encoding="utf-8")
    assert (report.parent / "scores.png").is_file()
    assert "is answered as anomalous" in (report.parent / "card.md").read_text(encoding="utf-8")
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    asked = newcomer(ask)
    answer, end = json.JSONDecoder().raw_decode(asked.stdout[asked.stdout.index('{"model"') :])
    assert [each["anomalous"] for each in answer["predictions"]] == [False, True]
    assert [each.keys() for each in answer["predictions"]] == [each.keys() for each in SAID]
    threshold = pytest.approx(manifest["signature"]["threshold"])
    assert all(each["threshold"] == threshold for each in answer["predictions"])
    v1 = json.JSONDecoder().raw_decode(asked.stdout[asked.stdout.index('{"predictions"') :])[0]
    assert v1["predictions"] == answer["predictions"]
    explained = asked.stdout[asked.stdout.index('{"model"') + end :]
    assert '"output":"score"' in explained
    assert "two.json [0]  usual (score " in asked.stdout
    assert "two.json [1]  anomalous (score " in asked.stdout


def test_what_the_page_shows_of_settings_is_taken(tmp_path):
    dataset, gate = (tomllib.loads(block) for kind, block in FENCED if kind == "toml")
    assert gate["gate"] == {"metric": "false_alarms", "threshold": 0.03}
    shown = "\n".join(f"{key} = {json.dumps(value)}" for key, value in dataset["table"].items())
    (tmp_path / "dataset.toml").write_text(f'format = "table"\n[table]\nfile = "a.csv"\n{shown}\n', encoding="utf-8")
    assert load_dataset_file(tmp_path).source.quantile == 0.99
