"""NumPy archives with several labels per sample: what is prepared, and what is found before any training."""

import numpy as np
import pytest
from data_makers import job_folder, messages, outputs, run

from registry.errors import ConfigError
from training.data.dataset_toml import load_dataset_file
from training.data.spec import SPLITS, load_split

HEAD = 'format = "npz"\nclasses = ["rain", "wind", "fog"]\n[npz]\ntask = "multi-label"\n'
ROWS = 200


def labels():
    rows = np.arange(ROWS)
    return np.stack([rows % 2 == 0, rows % 3 == 0, rows % 5 == 0], axis=1)


@pytest.fixture
def dataset(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD)
    return folder


def write(dataset, y, **more):
    x = np.random.default_rng(1).normal(size=(len(y), 4)).astype("f4")
    np.savez(dataset / "a.npz", **{"x": x, "y": y} | more)
    return x


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_each_sample_keeps_its_labels(dataset, dtype):
    x = write(dataset, labels().astype(dtype))
    (dataset / "dataset.toml").write_text(HEAD + "threshold = 0.3\n")
    found = run(dataset)
    assert (found.ok, found.task, sum(found.samples.values())) == (True, "multi-label", ROWS)
    counts = {name: sum(each[name] for each in found.classes.values()) for name in ("rain", "wind", "fog")}
    assert counts == {"rain": 100, "wind": 67, "fog": 40}
    alone = int((labels().sum(axis=1) == 0).sum())
    assert f"{alone} of 200 samples have no label at all, which is an answer, too" in found.notes
    where = {each.tobytes(): row for row, each in enumerate(x)}
    for name in SPLITS:
        split = load_split(outputs(dataset) / "data" / name)
        assert (split.spec.task, split.spec.classes, split.spec.threshold) == (
            "multi-label", ("rain", "wind", "fog"), 0.3,
        )  # fmt: skip
        assert split.y.dtype == np.float32
        rows = [where[each.tobytes()] for each in np.asarray(split.x["x"])]
        assert np.array_equal(split.y, labels()[rows])


def changed(place, value, kind="f4"):
    y = labels().astype(kind)
    y[place] = value
    return y


WRONG = {
    "another number": (changed((7, 1), 2), ["label 'wind' is 2.0 in a.npz row index 7", "store 1 where the sample has"]),
    "a probability": (changed((0, 0), 0.5), ["label 'rain' is 0.5 in a.npz row index 0"]),
    "a missing value": (changed((3, 2), np.nan), ["label 'fog' has no value (NaN) in a.npz row index 3"]),
    "minus one": (changed((9, 0), -1, "i4"), ["label 'rain' is -1 in a.npz row index 9"]),
    "too few columns": (labels()[:, :2], ["'y' has shape (200, 2); `classes` in dataset.toml names 3 labels",
                                          "name each of its 2 columns"]),
    "one column": (np.arange(ROWS) % 3, ["has shape (200,)", 'where each sample has exactly one, set task = \\"classification']),
    "three dimensions": (labels()[:, :, None], ["has shape (200, 3, 1)", "with a column for each label"]),
    "texts": (np.full((ROWS, 3), "yes"), ["'y' has dtype <U3, which is neither 0 nor 1"]),
    "a label without a sample": (changed((slice(None), 2), 0), ["no sample has the label 'fog'", "or leave the label out"]),
    "a label that a split lacks": (changed((slice(1, None), 2), 0), ["no sample of label 'fog' (samples of it in all: 1)"]),
}  # fmt: skip


@pytest.mark.parametrize(("y", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_the_labels_is_said_with_its_place(dataset, y, said):
    write(dataset, y)
    found = run(dataset)
    assert not found.ok
    for each in said:
        assert each in messages(found)


def test_a_label_that_every_sample_has_is_noted(dataset):
    write(dataset, changed((slice(None), 0), 1))
    found = run(dataset)
    assert found.ok
    assert "every sample has the label 'rain': there is nothing to learn about it" in found.notes


def test_equal_samples_with_other_labels_are_refused(dataset):
    x = write(dataset, labels().astype("u1"))
    x[1] = x[0]
    write(dataset, labels().astype("u1"), x=x)
    found = messages(run(dataset))
    assert "equal samples have the same labels" in found
    assert "a.npz row index 0 (rain, wind, fog)" in found
    assert "a.npz row index 1 (no label)" in found


def test_equal_samples_may_be_different_things_here_too(dataset):
    (dataset / "dataset.toml").write_text(HEAD + 'duplicates = "allow"\n')
    write(dataset, labels().astype("u1"), x=np.repeat(np.random.default_rng(1).normal(size=(100, 4)), 2, axis=0))
    assert run(dataset).ok


SETTINGS = {
    "no names": ('format = "npz"\n[npz]\ntask = "multi-label"\n', 'classes: missing; with task = "multi-label" they are'),
    "a name twice": (HEAD.replace("wind", "rain"), "is not a list without repetitions"),
    "a threshold of 1": (HEAD + "threshold = 1.0\n", "[npz] threshold: 1.0 is not a fraction between 0 and 1"),
    "a threshold of classes": ('format = "npz"\n[npz]\nthreshold = 0.4\n', '[npz] threshold: is for task = "multi-label"'),
    "strata of labels": (HEAD + "[split]\nstratify = true\n", "a sample of multi-label has any number of them: name a column"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), SETTINGS.values(), ids=SETTINGS)
def test_a_mistake_in_the_settings_is_reported(tmp_path, text, said):
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_dataset_file(tmp_path)
    assert said in str(caught.value)


def test_strata_may_come_from_an_array(dataset):
    (dataset / "dataset.toml").write_text(HEAD + '[split]\nstratify = "place"\n')
    write(dataset, labels().astype("u1"), place=np.arange(ROWS) % 2)
    assert run(dataset).ok


TABLE = 'format = "table"\n[table]\nfile = "a.csv"\ntask = "multi-label"\ntargets = ["rain", "wind", "fog"]\n'


def write_table(dataset, change=lambda row, cells: cells, words=("0", "1")):
    (dataset / "dataset.toml").write_text(TABLE)
    x = np.random.default_rng(1).normal(size=ROWS)
    rows = [change(row, [words[int(each)] for each in labels()[row]]) for row in range(ROWS)]
    lines = [f"{x[row]:.6f},{','.join(cells)}" for row, cells in enumerate(rows)]
    (dataset / "a.csv").write_text("\n".join(["a,rain,wind,fog", *lines]) + "\n")
    return x


@pytest.mark.parametrize("words", [("0", "1"), ("false", "true"), ("False", "True")])
def test_columns_of_a_table_are_labels_called_by_their_names(dataset, words):
    x = write_table(dataset, words=words)
    found = run(dataset)
    assert (found.ok, found.task) == (True, "multi-label"), messages(found)
    for name in SPLITS:
        split = load_split(outputs(dataset) / "data" / name)
        assert (split.spec.classes, [each.name for each in split.spec.inputs]) == (("rain", "wind", "fog"), ["a"])
        rows = [int(np.abs(x - each).argmin()) for each in np.asarray(split.x["a"])[:, 0]]
        assert split.y.dtype == np.float32
        assert np.array_equal(split.y, labels()[rows])


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("2", "label 'wind' is '2' in a.csv line 6"),
        ("", "a.csv line 6 has no 'wind'"),
        ("yes", "label 'wind' is 'yes' in"),
    ],
)
def test_a_cell_that_is_neither_is_said_with_its_line(dataset, cell, said):
    write_table(dataset, lambda row, cells: [cells[0], cell, cells[2]] if row == 4 else cells)
    found = run(dataset)
    assert not found.ok
    assert said in messages(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("targets =", "target =").replace('["rain", "wind", "fog"]', '"rain"'), "[table] targets: missing"),
        (lambda text: 'classes = ["a", "b"]\n' + text, "classes: the labels are called as their columns"),
        (lambda text: text.replace("multi-label", "regression") + "threshold = 0.3\n", "[table] threshold: is for task"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_settings_of_a_table_is_reported(tmp_path, change, said):
    (tmp_path / "dataset.toml").write_text(change(TABLE))
    with pytest.raises(ConfigError) as caught:
        load_dataset_file(tmp_path)
    assert said in str(caught.value)
