"""docs/how-to/git-lfs-and-submodules.md, block by block: a table in Git LFS and code with a submodule, over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lfs_http import LfsServer
from team import ROOT, clean_environment, free_port

PAGE = (ROOT / "docs/how-to/git-lfs-and-submodules.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs/tutorial/your-own-repositories.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r"```toml\n\[repositories\]\n(.*?)```", PAGE, flags=re.DOTALL)
LFS, SUBMODULE, MOVE = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
pytestmark = pytest.mark.tensorflow


@pytest.fixture
def shell(tmp_path):
    """Runs a block in the folder of the penguins, which is set up as the tutorial says."""
    if not shutil.which("git-lfs"):
        if os.environ.get("TRAINYARD_TEST_LFS") == "1":
            pytest.fail("TRAINYARD_TEST_LFS=1, but git-lfs is not installed", pytrace=False)
        pytest.skip("git-lfs is not installed")
    (tmp_path / ".gitconfig").write_text("[user]\nname = New\nemail = new@example.org\n", encoding="utf-8")
    environment = clean_environment() | {"HOME": str(tmp_path), "TRAINYARD_SERVING_PORT": str(free_port())}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    state = tmp_path / "shell-state"

    def run(block: str, code: int = 0) -> str:
        before = f'. "{state}"\n' if state.exists() else f'cd "{ROOT}"\n'
        script = f'{before}set -euo pipefail\n{block}\n{{ export -p; echo "cd $PWD"; }} > "{state}"\n'
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    set_up, data_and_tests = re.findall(r"```sh\n(.*?)```", TUTORIAL, flags=re.DOTALL)[:2]
    run(set_up)
    run(data_and_tests)
    run(
        'git -C work/code add --all && git -C work/code commit --quiet -m "A first model" && git -C work/code push origin main'
    )
    return run


def test_a_repository_with_lfs_and_a_submodule(tmp_path, shell):
    shell(LFS)
    project = tmp_path / "penguins"
    assert (project / "repositories/dataset.git/lfs/objects").is_dir()
    # as somebody meets it who has not read the page
    commands, _, run = SUBMODULE.rpartition("\ntrainyard run code")
    assert run == "\n"
    shell(commands)
    with LfsServer(project / "repositories") as server:
        config = project / "trainyard.toml"
        text = config.read_text(encoding="utf-8").replace('"repositories/', f'"{server.url}/')
        config.write_text(text, encoding="utf-8")
        said = shell("trainyard run code", code=2)
        assert "in Git LFS" in said or "layers: a submodule" in said
        config.write_text(text.replace("[repositories]\n", f"[repositories]\n{SETTINGS[0]}"), encoding="utf-8")
        assert "ACCEPTED" in shell("trainyard run code")
        assert {path.rpartition("/")[2] for _, path, _ in server.asked} > {"batch"}
        (run_folder,) = (path.parent for path in project.glob(".trainyard/runs/*/register"))
        assert (run_folder / "sources/code/layers/shared_layers/__init__.py").read_text() == "UNITS = 16\n"
        table = next((run_folder / "sources/dataset/").glob("*.csv"))
        assert table.stat().st_size > 1000
        card = json.loads(next(project.glob(".trainyard/registry/test/penguins/1/card.json")).read_bytes())
        assert card

        shell(
            "echo UNITS = 32 > work/layers/shared_layers/__init__.py && git -C work/layers commit -qam Wider && git -C work/layers push -q origin main"
        )
        assert "nothing new" in shell("trainyard run code")  # the model's repository names the older commit
        shell(MOVE)
        shell("trainyard run code --set gate.threshold=0")
        newest = max(
            project.glob(".trainyard/runs/*/sources/code/layers/shared_layers/__init__.py"),
            key=lambda each: each.stat().st_mtime,
        )
        assert newest.read_text() == "UNITS = 32\n"
