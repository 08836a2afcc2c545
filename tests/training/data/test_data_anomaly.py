"""Data without labels, and with marks for some samples: what is prepared, left out and refused."""

import math

import numpy as np
import pytest
from data_makers import job_folder, messages, outputs, run

from registry.errors import ConfigError
from training.data.dataset_toml import load_dataset_file
from training.data.spec import SPLITS, load_split

HEAD = 'format = "npz"\n[npz]\ntask = "anomaly"\n'
TABLE = 'format = "table"\n[table]\nfile = "a.csv"\ntask = "anomaly"\n'
GIVEN = '[split]\nby = "given"\ncolumn = "side"\n'
ROWS = 200
SIDES = ["train"] * 120 + ["validation"] * 30 + ["holdout"] * 50


@pytest.fixture
def dataset(tmp_path):
    return job_folder(tmp_path)


def archive(dataset, text=HEAD, **more):
    (dataset / "dataset.toml").write_text(text)
    x = np.random.default_rng(1).normal(size=(ROWS, 4)).astype("f4")
    np.savez(dataset / "a.npz", **{"x": x} | more)
    return x


def table(dataset, text, marks, sides=SIDES):
    (dataset / "dataset.toml").write_text(text)
    x = np.random.default_rng(1).normal(size=ROWS)
    lines = [f"{x[row]:.6f},{marks[row]},{sides[row]}" for row in range(ROWS)]
    (dataset / "a.csv").write_text("\n".join(["a,odd,side", *lines]) + "\n")
    return x


def marked(*rows, of=(150, 200)):
    """Marks of all rows between `of`: 1 for `rows`, else 0; the others have none."""
    return ["1" if row in rows else "0" if of[0] <= row < of[1] else "" for row in range(ROWS)]


def splits(dataset):
    return {name: load_split(outputs(dataset) / "data" / name) for name in SPLITS}


def test_an_archive_needs_no_labels(dataset):
    archive(dataset, HEAD + "quantile = 0.95\n")
    found = run(dataset)
    assert (found.ok, found.task, sum(found.samples.values())) == (True, "anomaly", ROWS), messages(found)
    assert any("the gate can go by mean_score and false_alarms only" in each for each in found.notes)
    for name, each in splits(dataset).items():
        assert (each.spec.task, each.spec.classes, each.spec.target, each.spec.quantile) == ("anomaly", (), "", 0.95)
        assert [spec.name for spec in each.spec.inputs] == ["x"]
        assert np.isnan(each.y).all() if name == "holdout" else not each.y.any()


def test_what_an_archive_marks_as_anomalous_is_left_out_of_what_is_learned_from(dataset):
    y = np.where(np.arange(ROWS) % 4 == 0, 1.0, np.where(np.arange(ROWS) % 4 == 1, 0.0, math.nan))
    x = archive(dataset, HEAD + 'y = "y"\n', y=y)
    found = run(dataset)
    assert found.ok, messages(found)
    left_out = ROWS - sum(found.samples.values())
    assert left_out > 20
    assert any(
        f"{left_out} samples marked as anomalous would be in train or validation" in each for each in found.notes
    )
    where = {each.tobytes(): row for row, each in enumerate(x)}
    for name, each in splits(dataset).items():
        rows = np.array([where[sample.tobytes()] for sample in np.asarray(each.x["x"])])
        assert len(rows) == found.samples[name]
        if name == "holdout":
            assert np.array_equal(each.y, y[rows].astype("f4"), equal_nan=True)
            assert found.classes[name] == {
                "anomalous": (y[rows] == 1).sum(), "not anomalous": (y[rows] == 0).sum(), "not marked": np.isnan(y[rows]).sum(),
            }  # fmt: skip
        else:
            assert not (y[rows] == 1).any()
            assert not each.y.any()


@pytest.mark.parametrize("words", [("0", "1"), ("false", "True")])
def test_a_column_of_a_table_marks_some_rows(dataset, words):
    marks = [words[int(each)] if each else "" for each in marked(160, 170, 199)]
    x = table(dataset, TABLE + 'target = "odd"\n' + GIVEN, marks)
    found = run(dataset)
    assert found.ok, messages(found)
    assert found.samples == {"train": 120, "validation": 30, "holdout": 50}
    assert found.classes["holdout"] == {"anomalous": 3, "not anomalous": 47, "not marked": 0}
    assert found.classes["train"]["not marked"] == 120
    held = splits(dataset)["holdout"]
    assert [each.name for each in held.spec.inputs] == ["a"]
    rows = [int(np.abs(x - each).argmin()) for each in np.asarray(held.x["a"])[:, 0]]
    assert sorted(row for row, y in zip(rows, held.y, strict=True) if y == 1) == [160, 170, 199]


def test_a_table_without_a_target_has_no_marks(dataset):
    table(dataset, TABLE + 'ignore = ["odd"]\n' + GIVEN, marked())
    found = run(dataset)
    assert found.ok, messages(found)
    assert found.classes["holdout"]["not marked"] == 50


def test_a_column_that_is_empty_is_as_good_as_none(dataset):
    table(dataset, TABLE + 'target = "odd"\n' + GIVEN, [""] * ROWS)
    found = run(dataset)
    assert found.ok, messages(found)
    assert found.classes["holdout"]["not marked"] == 50


def test_a_row_that_is_given_to_train_and_marked_as_anomalous_is_refused_with_its_place(dataset):
    table(dataset, TABLE + 'target = "odd"\n' + GIVEN, marked(3, 140, 160, of=(0, ROWS)))
    found = run(dataset)
    assert not found.ok
    said = messages(found)
    assert "2 samples marked as anomalous in train or validation, the first: a.csv line 5 (train)" in said
    assert "put them into the holdout, where they are measured" in said


def test_by_the_hash_of_a_row_it_is_left_out_and_the_rest_stays_where_it_was(dataset):
    text = TABLE + 'target = "odd"\nignore = ["side"]\n'
    table(dataset, text, [""] * ROWS)
    before = {name: set(each.names) for name, each in (run(dataset), splits(dataset))[1].items()}
    table(dataset, text, marked(*range(0, ROWS, 10), of=(0, ROWS)))
    found = run(dataset)
    assert found.ok, messages(found)
    for name, each in splits(dataset).items():
        assert set(each.names) <= before[name]
        lost = {f"a.csv line {row + 2}" for row in range(0, ROWS, 10)} & before[name]
        assert before[name] - set(each.names) == (set() if name == "holdout" else lost)


def test_equal_samples_may_be_different_things(dataset):
    x = np.repeat(np.random.default_rng(1).normal(size=(ROWS // 2, 4)).astype("f4"), 2, axis=0)
    y = np.where(np.arange(ROWS) % 9 == 0, 0.0, math.nan)
    archive(dataset, HEAD + 'y = "y"\nduplicates = "allow"\n', x=x, y=y)
    assert run(dataset).ok


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("2", "'odd' is '2' in a.csv line 6"),
        ("broken", "'odd' is 'broken' in a.csv line 6"),
        ("0.5", "holds decimal numbers"),
    ],
)
def test_a_cell_that_is_neither_is_said_with_its_line(dataset, cell, said):
    table(
        dataset,
        TABLE + 'target = "odd"\n' + GIVEN,
        [cell if row == 4 else each for row, each in enumerate(marked(160))],
    )
    found = run(dataset)
    assert not found.ok
    assert said in messages(found)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.full(ROWS, 2), "'y' is 2 in a.npz row index 0"),
        (np.full(ROWS, "odd"), "'y' has shape (200,) and dtype <U3; one mark per sample is wanted"),
        (np.zeros((ROWS, 2)), "'y' has shape (200, 2)"),
    ],
)
def test_an_array_that_marks_nothing_is_refused(dataset, y, said):
    archive(dataset, HEAD + 'y = "y"\n', y=y)
    found = run(dataset)
    assert not found.ok
    assert said in messages(found)


SETTINGS = {
    "a threshold": (TABLE + "threshold = 0.5\n", "of anomalies it follows from `quantile`"),
    "a quantile of 1": (HEAD + "quantile = 1.0\n", "[npz] quantile: 1.0 is not a fraction between 0 and 1"),
    "a quantile of classes": ('format = "npz"\n[npz]\nquantile = 0.9\n', '[npz] quantile: is for task = "anomaly"'),
    "classes": ('classes = ["a", "b"]\n' + HEAD, 'classes: a task of "anomaly" has none'),
    "several targets": (TABLE + 'targets = ["a", "b"]\n', "name the column that marks anomalies under `target`"),
    "both": (TABLE + 'target = "a"\ntargets = ["b", "c"]\n', "[table] target: is given beside targets"),
    "strata": (HEAD + "[split]\nstratify = true\n", "goes by the class, and there are none of anomalies"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), SETTINGS.values(), ids=SETTINGS)
def test_a_mistake_in_the_settings_is_reported(tmp_path, text, said):
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_dataset_file(tmp_path)
    assert said in str(caught.value)
