"""A registered version that knows samples of the new holdout is not where a retraining starts from."""

import json

import pytest

from pipelines.runs import RunFolder
from pipelines.steps.retrain import _has_learned
from registry import codec
from registry.files import write_whole
from retraining.policy import LEARNED_UNKNOWN
from training.data.checks import SampleList
from training.data.learned import LEARNED, write_lists
from training.data.spec import DataSpec

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def why(tmp_path):
    """Of a version that was trained on some of the samples, when others are the holdout."""

    def lists(trained, data):
        sides = ["train" if name in trained else "holdout" for name in NAMES]
        contents = [name.encode() * 32 for name in NAMES]
        for split in ("train", "holdout"):
            (data / split).mkdir(parents=True)
        names = [name for name in NAMES if name not in trained]
        write_whole(data / "holdout" / "names.json", json.dumps(names).encode())
        write_lists(data, SampleList(NAMES, sides, contents=contents, keyed=True))

    def ask(then, now, moving=True, listed=True):
        folder = RunFolder(tmp_path / "run")
        lists(then, tmp_path / "version")
        lists(now, folder.split("holdout").parent)
        codec.save(DataSpec("table", "classification", (), moving=moving), folder.split("holdout") / "data.json")
        if not listed:
            (tmp_path / "version" / "train" / LEARNED).unlink()
        return _has_learned(folder, tmp_path / "version" / "train")

    return ask


@pytest.mark.parametrize(
    ("then", "now", "options", "said"),
    [
        ("ab", "abc", {}, ""),
        ("abc", "ab", {}, "it has learned from 1 of the 2 samples that are the holdout now"),
        ("abc", "ab", {"listed": False}, LEARNED_UNKNOWN),
        ("abc", "ab", {"moving": False}, ""),
    ],
    ids=["newer data", "late data", "no list", "by hash"],
)
def test_it_is_trained_from_scratch_when_it_knows_the_holdout(why, then, now, options, said):
    assert why(then, now, **options) == said
