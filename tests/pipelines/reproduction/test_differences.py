"""The worker that compares two models: by the numbers in their files, and by what they predict."""

import io
import json
import shutil
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from pipelines.workers.differences import largest, weights_apart
from pipelines.workers.jobs import CompareJob, Differences, MeasuredModel
from registry import codec
from registry.errors import Corrupt
from registry.files import sha256_file
from registry.records import Served, Signature, TensorSpec
from training.data.spec import DataSpec
from training.worker.protocol import load_failure

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def keras_file(path, weights):
    """A file as Keras writes it, with these weights (name → array)."""
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        for name, array in weights.items():
            file.create_dataset(name, data=array)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", data.getvalue())
    return path


def apart(tmp_path, one, other):
    notes = []
    files = [keras_file(tmp_path / f"{i}.keras", each) for i, each in enumerate((one, other))]
    return weights_apart(*files, notes), notes


def test_the_largest_difference_of_any_weight_is_found(tmp_path):
    changed = KERNEL.copy()
    changed[1, 2] += 0.25
    one = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": np.zeros(3)}
    assert apart(tmp_path, one, one | {"layers/dense/vars/0": changed}) == (0.25, [])
    assert apart(tmp_path, one, one) == (0.0, [])


def test_what_the_optimizer_remembers_is_not_a_weight(tmp_path):
    one = {"layers/dense/vars/0": KERNEL, "optimizer/vars/0": np.int64(5)}
    assert apart(tmp_path, one, one | {"optimizer/vars/0": np.int64(9)}) == (0.0, [])


@pytest.mark.parametrize("other", [{}, {"layers/dense/vars/0": KERNEL.T}, {"layers/lstm/vars/0": KERNEL}])
def test_other_layers_cannot_be_compared(tmp_path, other):
    found, notes = apart(tmp_path, {"layers/dense/vars/0": KERNEL}, other)
    assert found is None
    assert "layers/dense/vars/0" in notes[0]


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ([], [], 0.0),
        ([1.0, np.nan], [1.5, np.nan], 0.5),
        ([np.inf], [np.inf], 0.0),
        ([np.nan], [1.0], np.inf),
        ([np.inf], [-np.inf], np.inf),
        ([True], [False], 1.0),
    ],
)
def test_numbers_that_are_not_finite_are_equal_to_themselves_alone(one, other, distance):
    assert largest(np.array(one), np.array(other)) == distance


@pytest.fixture
def compare(tmp_path, tiny_models):
    """Compare two of the tiny models on images."""

    def compare(then, again, first=0, **changes):
        for name, model in (("then", then), ("again", again)):
            folder = tmp_path / "inputs" / name
            shutil.copytree(tiny_models / model, folder)
            keras_file(folder / "model.keras", {"layers/dense/vars/0": KERNEL})
        made = {name: subject(tmp_path / "inputs" / name, **changes) for name in ("then", "again")}
        write_holdout(tmp_path / "inputs" / "holdout", first)
        codec.save(CompareJob(**made), tmp_path / "job.json")
        command = [sys.executable, "-P", "-m", "pipelines.workers.differences"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode != 1, done.stderr
        if done.returncode:
            raise load_failure(tmp_path)
        return codec.read(Differences, tmp_path / "result.json")

    return compare


def write_holdout(folder, first):
    """Images of which one third is brighter; the first pixel of the first one is `first`."""
    folder.mkdir()
    y = np.arange(90) % 3
    x = np.random.default_rng(1).integers(0, 150, (90, 6, 3, 2), dtype=np.uint8)
    x[np.arange(90), :, y] += 90
    x[0, 0, 0, 0] = first
    image = TensorSpec("image", (None, 6, 6, 1), "uint8")
    codec.save(DataSpec("images", "classification", (image,), ("left", "middle", "right")), folder / "data.json")
    (folder / "names.json").write_text(json.dumps([f"sample {i}" for i in range(90)]))
    np.save(folder / "x0.npy", x.reshape(90, 6, 6, 1))
    np.save(folder / "y.npy", y)


def subject(folder, **changes):
    files = {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    signature, served = codec.read(Signature, folder / "signature.json"), codec.read(Served, folder / "served.json")
    return MeasuredModel(signature, served, files | changes)


@pytest.mark.tensorflow
def test_equal_models_predict_the_same(compare):
    found = compare("thirds", "thirds")
    assert (found.weights, found.predictions, found.samples, found.notes) == (0.0, 0.0, 90, ())
    assert found.then == found.again
    assert found.then["accuracy"] > 0.98


@pytest.mark.tensorflow
def test_the_largest_difference_of_any_prediction_is_found(compare):
    found = compare("thirds", "dull")
    assert found.weights == 0.0
    assert found.predictions > 0.1
    assert found.again["accuracy"] < found.then["accuracy"]


@pytest.mark.tensorflow
def test_a_number_that_only_one_of_them_predicts_has_no_distance_to_anything(compare):
    found = compare("thirds", "nothing", first=255)
    assert (found.weights, found.predictions) == (0.0, None)
    assert found.notes == ("predictions: a number is finite in one of the two models only",)


@pytest.mark.tensorflow
def test_a_file_that_is_not_the_one_of_the_job_is_refused(compare):
    with pytest.raises(Corrupt, match=r"model\.tflite"):
        compare("thirds", "thirds", **{"model.tflite": "0" * 64})
