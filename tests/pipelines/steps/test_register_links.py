"""What a worker leaves is registered as files; a link would publish what is not its own."""

from __future__ import annotations

import pytest

from pipelines.runs import RunFolder
from pipelines.steps.register import _gather
from registry.errors import Corrupt


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    for name in ("train", "evaluate"):
        (folder.outputs(name) / "below").mkdir(parents=True)
        (folder.outputs(name) / "below" / f"{name}.txt").write_text(name)
    for path in ("evaluate/result.json", "gate/verdict.json", "validate/outputs/data/train/data.json"):
        (folder.root / path).parent.mkdir(parents=True, exist_ok=True)
        (folder.root / path).write_text("{}")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "secret.txt").write_text("secret")
    return folder


def test_all_files_come_together(folder):
    target = _gather(folder)
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == {
        "below/train.txt", "below/evaluate.txt", "metrics.json", "verdict.json", "data.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["train/outputs", "evaluate/outputs", "train/outputs/more", "train/outputs/below/more"]
)
@pytest.mark.parametrize("to", ["foreign", "foreign/secret.txt", "nowhere"])
def test_a_link_is_refused(folder, name, to):
    place = folder.root / name
    if place.exists():
        place.rename(folder.root / "away")
    place.symlink_to(folder.root.parent / to)
    with pytest.raises(Corrupt, match=f"{name}: a symbolic link"):
        _gather(folder)
    assert not list((folder.root / "register").rglob("secret.txt"))
