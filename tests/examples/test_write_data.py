"""The data of the examples: real, the same on every machine, in two parts that share nothing."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "write_data.py"


def write(destination: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", SCRIPT, destination, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[tuple[str, str], dict[str, str]]:
    """(dataset, part) → name → SHA-256."""
    folder = tmp_path_factory.mktemp("data")
    found = {}
    for dataset in ("digits", "penguins"):
        for part in ("first", "rest", "all"):
            place = folder / f"{dataset}-{part}"
            assert write(place, dataset, "--part", part).returncode == 0
            found[dataset, part] = digests(place)
    return found


@pytest.mark.parametrize("dataset", ["digits", "penguins"])
def test_the_parts_share_only_the_settings_and_make_the_whole(parts, dataset):
    first, rest = parts[dataset, "first"], parts[dataset, "rest"]
    settings = {path.name for path in (ROOT / "examples" / dataset / "dataset").iterdir()}
    assert first.keys() & rest.keys() == settings
    assert first | rest == parts[dataset, "all"]


def test_there_are_1797_different_digits(parts):
    images = {name: digest for name, digest in parts["digits", "all"].items() if name.endswith(".png")}
    assert len(images) == len(set(images.values())) == 1797
    assert sum(name.endswith(".png") for name in parts["digits", "first"]) == 1080
    assert {Path(name).parent.name for name in images} == set("0123456789")


def test_the_second_part_comes_in_dark_ink(tmp_path):
    write(tmp_path, "digits")
    images = sorted((tmp_path / "pictures" / "7").glob("*.png"), key=lambda path: path.name)
    light, dark = Image.open(images[0]), Image.open(images[-1])
    assert (light.size, light.mode) == (dark.size, dark.mode) == ((8, 8), "L")
    assert light.getpixel((0, 7)) == 0  # the corner is paper
    assert dark.getpixel((0, 7)) == 255


def test_penguins_have_names_of_their_own_and_gaps_are_empty(tmp_path):
    write(tmp_path, "penguins")
    rows = []
    for path in sorted(tmp_path.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    assert len(rows) == len({row["penguin"] for row in rows}) == 344
    assert sum("" in row.values() for row in rows) == 11
    assert "NA" not in {value for row in rows for value in row.values()}


def test_the_second_part_may_follow_into_the_same_folder(tmp_path, parts):
    for part in ("first", "rest"):
        assert write(tmp_path, "digits", "--part", part).returncode == 0
    assert digests(tmp_path) == parts["digits", "all"]


def test_nothing_is_overwritten(tmp_path):
    other = tmp_path / "pictures" / "3" / "digit-0003.png"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    done = write(tmp_path, "digits")
    assert done.returncode == 2
    assert "digit-0003.png is there already" in done.stderr
    assert "hint: " in done.stderr
    assert digests(tmp_path).keys() == {"pictures/3/digit-0003.png"}


def test_writing_twice_does_no_harm(tmp_path):
    write(tmp_path, "penguins")
    before = digests(tmp_path)
    done = write(tmp_path, "penguins")
    assert done.returncode == 0
    assert "0 files" in done.stdout
    assert digests(tmp_path) == before
