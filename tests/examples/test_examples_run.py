"""Each example is pushed once, as its README says, and ends with an accepted candidate. `make demo` plays the digits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

DATA = {"penguins": "penguins", "tutorial_script": "digits"}


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


@pytest.fixture(params=DATA)
def project(request, tmp_path) -> Path:
    """A folder with the example's settings and its three repositories."""
    example, repositories = EXAMPLES / request.param, tmp_path / "repositories"
    for name in ("code", "tests"):
        shutil.copytree(example / name, repositories / f"{name}.git")
    data = (repositories / "dataset.git", DATA[request.param], "--part", "first")
    written = command(sys.executable, "-P", EXAMPLES / "write_data.py", *data, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    for repository in repositories.iterdir():
        commit(repository)
    shutil.copy(example / "trainyard.toml", tmp_path)
    return tmp_path


@pytest.mark.tensorflow
def test_a_push_of_code_ends_with_an_accepted_candidate(project):
    done = command(sys.executable, "-P", "-m", "pipelines", "run", "code", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert (run["step"], run["outcome"]) == ("accept", "done")
    records = {path.stem: json.loads(path.read_bytes()) for path in (Path(run["folder"]) / "steps").glob("*.json")}
    assert "accepted" in records["gate"]["note"]
    if project.joinpath("repositories/dataset.git/expectations.json").exists():
        assert "9 expectations hold" in records["validate"]["note"]
    assert list(project.glob(".trainyard/outbox/pending/*.eml"))
