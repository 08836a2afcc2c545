"""What a worker leaves is registered as files; a link would publish what is not its own."""

from __future__ import annotations

import os

import pytest

from pipelines.runs import RunFolder
from pipelines.steps import register
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


def test_a_file_of_training_with_the_name_of_one_of_evaluate_is_refused(folder):
    (folder.outputs("train") / "reference.npz").write_text("of the team")
    (folder.outputs("evaluate") / "reference.npz").write_text("of the holdout")
    with pytest.raises(Corrupt, match=r"train/outputs/reference.npz: evaluate leaves a file of this name") as error:
        _gather(folder)
    assert "another name" in error.value.hint


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


def test_what_is_neither_a_file_nor_a_folder_is_refused(folder):
    os.mkfifo(folder.outputs("train") / "pipe")
    with pytest.raises(Corrupt, match="pipe: neither a file nor a folder"):
        _gather(folder)


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "\x1b[2J"])
def test_a_name_that_cannot_be_shown_is_refused(folder, name):
    (folder.outputs("train") / name).touch()
    with pytest.raises(Corrupt, match="a file name that cannot be shown") as error:
        _gather(folder)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(("levels", "good"), [(19, True), (20, False)])
def test_folders_are_nested_twenty_deep_at_most(folder, levels, good):
    deep = folder.outputs("train").joinpath(*["d"] * levels)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    if good:
        assert _gather(folder).joinpath(*["d"] * levels, "file").is_file()
    else:
        with pytest.raises(Corrupt, match="/d: nested deeper than 20 folders"):
            _gather(folder)


@pytest.mark.parametrize("more", [0, 1])
def test_files_and_folders_of_a_worker_are_counted(folder, monkeypatch, more):
    monkeypatch.setattr(register, "MAX_FILES", 5)  # there are one file and one folder
    for number in range(3 + more):
        (folder.outputs("train") / f"f{number}").touch()
    if more:
        with pytest.raises(Corrupt, match="train/outputs: more than 5 files"):
            _gather(folder)
    else:
        assert _gather(folder)


def test_a_file_and_a_folder_of_one_name_are_refused(folder):
    (folder.outputs("train") / "one").write_text("a file")
    (folder.outputs("evaluate") / "one").mkdir()
    (folder.outputs("evaluate") / "one/two").write_text("in a folder")
    with pytest.raises(Corrupt, match="a file and a folder have one name"):
        _gather(folder)


def test_what_the_pipeline_has_written_counts_whatever_a_worker_calls_its_files(folder):
    for name in ("metrics.json", "verdict.json", "data.json"):
        (folder.outputs("train") / name).write_text("of the worker")
    (folder.outputs("train") / "left").write_text("old")
    target = _gather(folder)
    assert {(target / name).read_text() for name in ("metrics.json", "verdict.json", "data.json")} == {"{}"}
    (folder.outputs("train") / "left").unlink()
    assert not (_gather(folder) / "left").exists()
