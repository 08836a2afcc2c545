"""NumPy archives: what is prepared, and what is found before any training."""

import zipfile

import numpy as np
import pytest
from data_makers import job_folder, messages, outputs, packages_loaded, run

from training.data.spec import SPLITS, load_split

HEAD = 'format = "npz"\n'


def arrays(count=120, seed=0):
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(count, 4, 3)), "y": np.arange(count) % 3}


@pytest.fixture
def dataset(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD)
    np.savez(folder / "a.npz", **arrays(120, 0))
    np.savez_compressed(folder / "b.npz", **arrays(80, 1))
    return folder


def prepared(dataset):
    return {name: load_split(outputs(dataset) / "data" / name) for name in SPLITS}


def test_good_archives_give_three_splits_that_a_model_can_use(dataset):
    found = run(dataset)
    assert (found.ok, found.format, sum(found.samples.values())) == (True, "npz", 200)
    source = {"a": arrays(120, 0), "b": arrays(80, 1)}
    for split in prepared(dataset).values():
        (tensor,) = split.spec.inputs
        assert (tensor.name, tensor.shape, tensor.dtype, split.spec.classes) == (
            "x",
            (None, 4, 3),
            "float32",
            ("0", "1", "2"),
        )
        assert split.x["x"].dtype == np.float32
        for name, x, y in zip(split.names, split.x["x"], split.y, strict=True):
            file, row = name[0], int(name.rpartition(" ")[2])
            assert np.array_equal(x, source[file]["x"][row].astype(np.float32))
            assert y == source[file]["y"][row]
        files = [np.load(split.files / f"{name}.npz") for name in "ab"]
        assert sum(len(file["y"]) for file in files) == len(split.y)
        assert all(file["x"].dtype == np.float64 for file in files)


def test_several_inputs_of_several_types(dataset):
    (dataset / "b.npz").unlink()
    (dataset / "dataset.toml").write_text(HEAD + '[npz]\nfiles = "*.npz"\nx = ["pixels", "on", "word", "far"]\n')
    for file in "ab":
        np.savez(
            dataset / f"{file}.npz",
            pixels=np.random.default_rng(ord(file)).integers(0, 256, (100, 5, 5), dtype=np.uint8),
            on=np.arange(100) % 2 == 0,
            word=np.array(["w" * (i % 9 + ord(file) - 96) for i in range(100)]),
            far=np.arange(100) << 33,
            y=np.array(["no", "yes"])[np.arange(100) % 2],
        )
    assert run(dataset).ok
    train = prepared(dataset)["train"]
    assert [(each.dtype, each.shape, each.low, each.high) for each in train.spec.inputs] == [
        ("uint8", (None, 5, 5), 0, 255),
        ("uint8", (None, 1), 0, 1),
        ("string", (None, 1), None, None),
        ("int64", (None, 1), float(-(2**63)), float(2**63 - 1)),
    ]
    assert [str(values.dtype) for values in train.x.values()] == ["uint8", "uint8", "<U10", "int64"]
    assert train.spec.classes == ("no", "yes")


def test_regression(dataset):
    (dataset / "dataset.toml").write_text(HEAD + '[npz]\nfiles = "a.npz"\ntask = "regression"\n')
    np.savez(dataset / "a.npz", **arrays() | {"y": np.linspace(0, 1, 120)[:, None]})
    found = run(dataset)
    assert found.ok
    train = prepared(dataset)["train"]
    assert (train.y.dtype, train.y.shape, train.spec.task) == (np.float32, (found.samples["train"],), "regression")


def test_class_names_are_the_names_of_the_numbers_in_y(dataset):
    (dataset / "dataset.toml").write_text('classes = ["shirt", "shoe", "bag"]\n' + HEAD)
    assert set(run(dataset).classes["train"]) == {"shirt", "shoe", "bag"}
    train = prepared(dataset)["train"]
    assert train.spec.classes == ("shirt", "shoe", "bag")
    assert (
        train.y[0]
        == {"a": arrays(120, 0), "b": arrays(80, 1)}[train.names[0][0]]["y"][int(train.names[0].rpartition(" ")[2])]
    )


def test_samples_keep_their_split_when_an_archive_is_added(dataset):
    run(dataset)
    before = {name: set(split.names) for name, split in prepared(dataset).items()}
    np.savez(dataset / "0.npz", **arrays(50, 2))
    assert run(dataset).ok
    assert all(before[name] <= set(split.names) for name, split in prepared(dataset).items())


def test_a_group_stays_together(dataset):
    (dataset / "dataset.toml").write_text(HEAD + '[npz]\nfiles = "a.npz"\ngroup = "who"\n')
    np.savez(dataset / "a.npz", **arrays(300), who=np.arange(300) % 40)
    assert run(dataset).ok
    groups = [set(np.load(split.files / "a.npz")["who"].tolist()) for split in prepared(dataset).values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40


def saved(**changes):
    return lambda folder: np.savez(folder / "a.npz", **{k: v for k, v in (arrays() | changes).items() if v is not None})


def cut(folder):
    data = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(data[:-100])


def flip(folder):
    data = bytearray((folder / "a.npz").read_bytes())
    data[2000] ^= 0xFF
    (folder / "a.npz").write_bytes(bytes(data))


def poke(row, value):
    x = arrays()["x"]
    x[row, 0, 0] = value
    return x


BAD = {
    "empty": (lambda folder: (folder / "a.npz").write_bytes(b""), "a.npz is empty (0 bytes)"),
    "truncated": (cut, "a.npz cannot be read: it is not an .npz archive, or truncated"),
    "damaged": (flip, "a.npz cannot be read: Bad CRC-32"),
    "lfs": (
        lambda folder: (folder / "a.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        "a.npz is a Git LFS pointer, not the data",
    ),
    "objects": (saved(x=np.array([{}] * 120)), "it holds Python objects, which are never unpickled"),
    "no y": (saved(y=None), "a.npz has no array 'y'"),
    "lengths": (saved(y=np.zeros(7, int)), "the arrays hold different or no numbers of samples (x: 120, y: 7)"),
    "no samples": (saved(x=np.zeros((0, 2)), y=np.zeros(0, int)), "(x: 0, y: 0)"),
    "nothing in a sample": (saved(x=np.zeros((120, 0))), "a sample of 'x' has shape (0,): nothing"),
    "nan": (saved(x=poke(4, np.nan)), "a.npz: 'x' holds NaN or infinity in 1 samples, the first: row index 4"),
    "infinity": (saved(x=poke(0, np.inf)), "'x' holds NaN or infinity in 1 samples, the first: row index 0"),
    "too large": (saved(x=poke(9, 1e300)), "'x' holds NaN or infinity in 1 samples, the first: row index 9"),
    "complex": (saved(x=np.zeros((120, 2), complex)), "a.npz: 'x' has dtype complex128"),
    "one-hot": (saved(y=np.eye(3, dtype=int)[arrays()["y"]]), "'y' has shape (120, 3), one label per sample"),
    "no label": (saved(y=np.where(np.arange(120) == 6, np.nan, 1.0)), "a.npz row index 6 has no label (NaN)"),
    "no text label": (saved(y=np.array(["a"] * 119 + [""])), "a.npz row index 119 has no label (an empty text)"),
    "far": (
        lambda folder: [
            (folder / "dataset.toml").write_text(HEAD + '[npz]\ntask = "regression"\n'),
            saved(y=np.where(np.arange(120) == 6, 1e300, 1.0))(folder),
        ],
        "a.npz row index 6: 'y' is a number that float32 cannot hold (beyond ±3.4e38)",
    ),
    "decimal classes": (saved(y=np.linspace(0, 1, 120)), "'y' has dtype float64 and holds no classes"),
    "label in two spellings": (
        saved(y=np.array(["cat", "dog", "cat ", "dog"] * 30)),
        "array 'y' holds one value in 2 spellings: 'cat' (30 samples, the first: a.npz row index 0) and 'cat '",
    ),
    "one class": (
        lambda folder: [np.savez(folder / f"{n}.npz", **arrays() | {"y": np.zeros(120, int)}) for n in "ab"],
        "a classifier needs at least two classes, there is only '0'",
    ),
    "other shape": (saved(x=np.ones((120, 4))), "b.npz: a sample of 'x' is float32 (4, 3), in a.npz float32 (4,)"),
    "two labels": (
        saved(x=poke(1, 0) * 0 + np.arange(40).repeat(3)[:, None, None]),
        "equal samples: a.npz row index 0 (0)",
    ),
}


@pytest.mark.parametrize(("act", "message"), BAD.values(), ids=BAD)
def test_bad_data_are_reported_with_their_place_and_nothing_is_prepared(dataset, act, message):
    act(dataset)
    found = run(dataset)
    assert not found.ok
    assert message in messages(found)
    assert all(each.hint for each in found.faults)
    assert not (outputs(dataset) / "data").exists()


def test_a_label_without_a_name(dataset):
    (dataset / "dataset.toml").write_text('classes = ["shirt", "shoe"]\n' + HEAD)
    assert "label '2' (66 samples) is not among `classes`" in messages(run(dataset))


def test_texts_are_refused_as_numbers_to_regress(dataset):
    (dataset / "dataset.toml").write_text(HEAD + '[npz]\ntask = "regression"\n')
    np.savez(dataset / "a.npz", **arrays() | {"y": np.array(["a"] * 120)})
    assert "'y' has dtype <U1, which is not a number" in messages(run(dataset))


def test_equal_samples_with_two_labels_may_be_different_things(dataset):
    x = (np.arange(120) % 6)[:, None].astype(np.float32)
    for name in "ab":
        np.savez(dataset / f"{name}.npz", x=x, y=np.random.default_rng(ord(name)).integers(0, 2, 120))
    (failed,) = run(dataset).faults
    assert failed.hint.startswith('if they are different things that look the same, set [npz] duplicates = "allow"')
    (dataset / "dataset.toml").write_text(HEAD + '[npz]\nduplicates = "allow"\n')
    assert run(dataset).ok
    splits = prepared(dataset)
    assert all(len(set(split.x["x"][:, 0].tolist())) == 6 for split in splits.values())
    assert splits["train"].spec.split == "holdout 0.15, validation 0.15, by content of x, equal ones apart"


def test_arrays_may_have_any_name(dataset):
    names = ["file", "_id", "self", "X", "x", "km/h"]
    for part in "ab":
        random = np.random.default_rng(ord(part))
        arrays = {name: random.normal(size=(120, 2)) for name in names}
        with zipfile.ZipFile(dataset / f"{part}.npz", "w") as archive:
            for name, array in (arrays | {"y": np.arange(120) % 2}).items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
    (dataset / "dataset.toml").write_text(f"{HEAD}[npz]\nx = {names}\n")
    assert run(dataset).ok
    train = prepared(dataset)["train"]
    assert list(train.x) == names
    with np.load(train.files / "a.npz") as kept:
        assert set(kept.files) == {*names, "y"}


def test_preparing_archives_loads_numpy_alone(dataset):
    loaded = packages_loaded(dataset)
    assert not loaded & {"PIL", "pyarrow", "pandas", "great_expectations", "tensorflow", "keras"}


def test_the_rule_of_the_split_is_kept(dataset):
    assert run(dataset).ok
    assert prepared(dataset)["train"].spec.split == "holdout 0.15, validation 0.15, by content of x"


def test_the_same_samples_in_floats_of_another_width_are_in_the_same_split(dataset):
    wide = arrays(120)
    np.savez(dataset / "b.npz", x=wide["x"].astype(np.float32), y=wide["y"])
    found = run(dataset)
    assert found.ok
    assert any("120 samples repeat another one of the same split and label" in note for note in found.notes)
