"""The examples with scripts of their own, through the whole pipeline. The demo plays the digits, the README the penguins."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def command(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "GIT_"))}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def commit(repository: Path) -> None:
    author = ("-c", "user.name=A", "-c", "user.email=a@localhost")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-q", "-m", "All")):
        done = command("git", *words, cwd=repository)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with the example's settings and its three repositories."""
    example, repositories = EXAMPLES / "tutorial_script", tmp_path / "repositories"
    for name in ("code", "tests"):
        shutil.copytree(example / name, repositories / f"{name}.git")
    data = (repositories / "dataset.git", "digits", "--part", "first")
    written = command(sys.executable, "-P", EXAMPLES / "write_data.py", *data, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    for repository in repositories.iterdir():
        commit(repository)
    shutil.copy(example / "trainyard.toml", tmp_path)
    return tmp_path


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_script_in_the_style_of_an_old_tutorial_is_accepted(project):
    done = command(sys.executable, "-P", "-m", "pipelines", "run", "code", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert (run["step"], run["outcome"]) == ("accept", "done")
    steps = Path(run["folder"]) / "steps"
    assert "trained by python train.py --batch-size 16" in json.loads((steps / "train.json").read_bytes())["note"]
    assert "accepted" in json.loads((steps / "gate.json").read_bytes())["note"]
    assert list(project.glob(".trainyard/outbox/pending/*.eml"))


def blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.tensorflow
@pytest.mark.timeout(900)
def test_the_commands_of_the_page_about_scripts_find_the_errors_before_the_training(tmp_path):
    set_up, as_it_was, as_it_has_to_be = blocks("docs/tutorial/your-own-script.md")
    (tmp_path / ".gitconfig").write_text("[user]\nname = New\nemail = new@example.org\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "GIT_"))}
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(block: str, folder: Path) -> str:
        script = f'set -euo pipefail\nexport CHECKOUT="{ROOT}"\n{block}'
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    run(set_up, ROOT)
    home = tmp_path / "script"
    said = run(as_it_was, home)
    assert "exit code 2" in said
    page = (ROOT / "docs" / "tutorial" / "your-own-script.md").read_text(encoding="utf-8")
    (quoted,) = re.findall(r"`before its training, in a rehearsal: … (.*?)`", page)
    assert "before its training, in a rehearsal: " in said
    assert quoted in said
    assert "Epoch 2/12" not in said
    said = run(as_it_has_to_be, home)
    assert "fits the dataset" in said
    assert "ACCEPTED: push to code" in said


@pytest.mark.slow
def test_a_forest_of_scikit_learn_is_trained_measured_registered_and_served(tmp_path):
    for name in ("onnxruntime", "skl2onnx"):
        pytest.importorskip(name)
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
