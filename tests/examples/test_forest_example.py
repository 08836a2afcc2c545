"""The random forest of examples/forest, from its files to an accepted version that the API has answered for."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from test_examples_run import EXAMPLES, command, commit

for name in ("onnxruntime", "skl2onnx"):
    pytest.importorskip(name)


@pytest.mark.slow
def test_a_forest_of_scikit_learn_is_trained_measured_registered_and_served(tmp_path):
    example, repositories = EXAMPLES / "forest", tmp_path / "repositories"
    for name in ("code", "tests"):
        shutil.copytree(example / name, repositories / f"{name}.git")
    written = command(
        sys.executable, "-P", EXAMPLES / "write_data.py", repositories / "dataset.git", "penguins", cwd=tmp_path
    )
    assert written.returncode == 0, written.stderr
    for repository in repositories.iterdir():
        commit(repository)
    shutil.copy(example / "trainyard.toml", tmp_path)

    done = command(sys.executable, "-P", "-m", "pipelines", "run", "code", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(done.stdout)
    assert (run["step"], run["outcome"]) == ("accept", "done")
    (path,) = tmp_path.glob(".trainyard/registry/test/forest/*/card.json")
    card = json.loads(path.read_bytes())
    assert card["served"]["engine"] == "onnx"
    assert {"model.onnx", "pyfunc/model.json"} <= card["files"].keys()
    assert sorted(each["name"] for each in card["signature"]["inputs"]) == sorted(
        ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "island", "sex"]
    )
    assert card["evaluation"]["candidate"]["values"]["accuracy"] >= 0.95
    assert "onnxruntime" in card["packages"]
    again = answers_of_mlflow(path.parent)
    assert again.shape == (2, 3)
    assert again.argmax(axis=1).tolist() == [2, 0]


def answers_of_mlflow(folder: Path):
    """What MLflow would answer, by the module in the version."""
    import importlib.util

    import numpy as np

    spec = importlib.util.spec_from_file_location("given_to_mlflow", folder / "pyfunc" / "trainyard_pyfunc.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    birds = {
        "bill_length_mm": [47.5, 38.8], "bill_depth_mm": [15.0, 18.3], "flipper_length_mm": [217.0, 190.0],
        "body_mass_g": [5076.0, 3700.0], "island": ["Biscoe", "Torgersen"], "sex": ["male", "female"],
    }  # fmt: skip
    return module._load_pyfunc(str(folder)).predict({name: np.array(each) for name, each in birds.items()})
