"""Several numbers per sample: how a dataset says which, what is prepared, and what is refused before any training."""

import numpy as np
import pytest
from data_makers import job_folder, messages, outputs, run

from registry.errors import ConfigError
from training.data.dataset_toml import load_dataset_file
from training.data.spec import SPLITS, load_split

NPZ = 'format = "npz"\n[npz]\ntask = "regression"\n'
TABLE = 'format = "table"\n[table]\nfile = "birds.csv"\ntask = "regression"\n'
NAMES = ("+1 h", "+2 h", "+3 h")


def series(count=200, seed=0, steps=3):
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(count, 4)), "y": random.normal(50, 3, size=(count, steps))}


@pytest.fixture
def npz(tmp_path):
    """Writes dataset.toml and one archive or more; gives the dataset's folder."""

    def write(settings="", **archives):
        folder = job_folder(tmp_path)
        (folder / "dataset.toml").write_text(NPZ + settings)
        for name, arrays in (archives or {"a": series()}).items():
            np.savez(folder / f"{name}.npz", **arrays)
        return folder

    return write


@pytest.fixture
def table(tmp_path):
    """Writes dataset.toml and birds.csv, with changes in its lines; gives the dataset's folder."""

    def write(settings='targets = ["wing", "weight"]\n', change=lambda line: line):
        folder = job_folder(tmp_path)
        (folder / "dataset.toml").write_text(TABLE + settings)
        rows = [[f"{i / 7:.3f}", f"{180 + i % 23}", f"{3000.5 + 11 * i}"] for i in range(200)]
        lines = ["bill,wing,weight", *(",".join(row) for row in rows)]
        (folder / "birds.csv").write_text("\n".join(change(line) for line in lines) + "\n")
        return folder

    return write


def train_of(folder):
    return load_split(outputs(folder) / "data" / "train")


def test_an_array_with_several_numbers_per_sample_is_prepared_as_it_is(npz):
    arrays = series()
    folder = npz('targets = ["+1 h", "+2 h", "+3 h"]\n', a=arrays)
    assert run(folder).ok, messages(run(folder))
    for name in SPLITS:
        split = load_split(outputs(folder) / "data" / name)
        rows = [int(each.rpartition(" ")[2]) for each in split.names]
        assert np.array_equal(split.y, arrays["y"][rows].astype(np.float32))
        assert (split.spec.targets, split.spec.target, split.spec.classes) == (NAMES, "y", ())
        with np.load(split.files / "a.npz") as kept:
            assert kept["y"].shape == (len(rows), 3)


def test_columns_without_names_are_called_by_their_place(npz):
    folder = npz()
    assert run(folder).ok
    assert train_of(folder).spec.targets == ("y[0]", "y[1]", "y[2]")


def test_several_columns_of_a_table_are_targets_and_no_inputs(table):
    folder = table()
    assert run(folder).ok
    split = train_of(folder)
    assert ([each.name for each in split.spec.inputs], split.spec.targets) == (["bill"], ("wing", "weight"))
    assert (split.y.dtype, split.y.shape) == (np.float32, (len(split.names), 2))
    number = [round(7 * each) for each in split.x["bill"][:, 0].tolist()]
    assert split.y.tolist() == [[180 + i % 23, 3000.5 + 11 * i] for i in number]


@pytest.mark.parametrize("settings", ['targets = ["wing", "weight"]\n', 'target = "weight"\nignore = ["wing"]\n'])
def test_mean_and_deviation_of_each_target_are_those_of_the_train_split(table, settings):
    folder = table(settings)
    assert run(folder).ok
    split = train_of(folder)
    columns = split.y.reshape(len(split.y), -1).astype(np.float64)
    assert split.spec.target_means == pytest.approx(columns.mean(axis=0))
    assert split.spec.target_deviations == pytest.approx(columns.std(axis=0))
    assert len(split.spec.target_means) == columns.shape[1]


def test_equal_samples_that_are_different_things_may_have_several_targets(npz):
    arrays = series()
    arrays["x"][:] = np.arange(200)[:, None] // 2
    assert run(npz('duplicates = "allow"\n', a=arrays)).ok


def test_equal_rows_that_are_different_things_may_have_several_targets(table):
    settings = 'targets = ["wing", "weight"]\nduplicates = "allow"\n'
    assert run(table(settings, lambda line: line.replace("0.143,", "0.286,"))).ok


def test_a_missing_target_is_refused_by_its_row_and_name(npz):
    arrays = series()
    arrays["y"][7, 1] = np.nan
    said = messages(run(npz('targets = ["+1 h", "+2 h", "+3 h"]\n', a=arrays)))
    assert "a.npz row index 7 has no '+2 h' (NaN)" in said


def test_a_missing_target_of_a_table_is_refused_by_its_line_and_name(table):
    said = messages(run(table(change=lambda line: line.replace("0.286,182,", "0.286,,"))))
    assert "birds.csv line 4 has no 'wing'" in said


def test_a_target_that_is_text_is_refused(table):
    said = messages(run(table(change=lambda line: line.replace(",18", ",long"))))
    assert "'wing'" in said
    assert "[table] targets: several targets are numbers" in said


@pytest.mark.parametrize(
    ("settings", "arrays", "said"),
    [
        ('targets = ["a", "b"]\n', series(), "'y' has shape (200, 3), and [npz] targets names 2"),
        ('targets = ["a", "b"]\n', series(steps=1), "'y' has shape (200, 1), and [npz] targets names 2"),
        (
            "",
            {**series(), "y": np.zeros((200, 3, 2))},
            "'y' has shape (200, 3, 2), one number per sample, or up to 1,000",
        ),
        (
            "",
            {**series(), "y": np.zeros((200, 1001))},
            "'y' has shape (200, 1001), one number per sample, or up to 1,000",
        ),
        ("", {**series(), "y": np.full((200, 2), np.inf)}, "holds infinity"),
        (
            "",
            {**series(), "y": np.full((200, 2), 1e300)},
            "a.npz row index 0: 'y' is a number that float32 cannot hold",
        ),
        ("", {**series(), "y": np.full((200, 2), "a")}, "'y' has dtype <U1, which is not a number"),
    ],
)
def test_what_is_no_array_of_targets_is_refused(npz, settings, arrays, said):
    assert said in messages(run(npz(settings, a=arrays)))


def test_archives_with_different_numbers_of_targets_are_refused(npz):
    said = messages(run(npz("", a=series(), b=series(seed=1, steps=2))))
    assert "b.npz: y has 2 numbers per sample, in a.npz 3" in said


def test_classes_have_one_label_per_sample(npz):
    folder = npz()
    (folder / "dataset.toml").write_text('format = "npz"\n')
    assert "one label per sample is wanted" in messages(run(folder))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE + 'target = "a"\ntargets = ["b", "c"]\n', "[table] target: is given beside targets"),
        (TABLE, "[table] target: missing; name one column under `target`, or several under `targets`"),
        (TABLE + 'targets = ["a", "b"]\nkey = "b"\n', "[table] key: 'b' already is targets"),
        (TABLE + 'targets = ["a"]\n', "is not a list of 2 to 1,000 names"),
        (
            TABLE.replace("regression", "classification") + 'targets = ["a", "b"]\n',
            "[table] targets: are numbers: set task",
        ),
        ('format = "npz"\n[npz]\ntargets = ["a", "b"]\n', '[npz] targets: are numbers: set task = "regression"'),
        (
            TABLE + 'targets = ["a", "b"]\n[split]\nby = "time"\ntime = "a"\n',
            "[split]: column 'a' already is [table] targets",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, text, said):
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_dataset_file(tmp_path)
    assert said in str(refused.value)
