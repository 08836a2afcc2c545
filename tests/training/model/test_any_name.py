"""Columns and arrays of any name, from the dataset to the answer of what is served."""

import json
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from data_makers import job_folder, run
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from training_parts import PARITY, TABLE, run_jobs

from registry import codec
from registry.records import TrainJob
from registry.spelling import name_spelling
from serving.engines.base import load_engine
from serving.protocols.read_instances import Reader
from training.data.spec import load_split

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

BY_INPUT_NAME = TABLE.replace("name=column.name", "name=column.input_name")
RECURRENT = """
import keras
def build_model(spec, attempt):
    inputs = [keras.Input(each.shape[1:], name=each.input_name) for each in spec.inputs]
    steps = keras.layers.LSTM(4)(keras.layers.Concatenate()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(steps))
    model.compile(keras.optimizers.Adam(0.05), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20).filter(name_spelling),
    unique_by=name_spelling,
    min_size=3,
    max_size=8,
).filter(lambda names: "the label" not in map(name_spelling, names))


def trained(tmp_path, code):
    """What a training worker makes of the prepared dataset in `tmp_path`."""
    folder = tmp_path / "train"
    (folder / "inputs" / "code").mkdir(parents=True)
    (folder / "inputs" / "code" / "model.py").write_text(code)
    for split in ("train", "validation"):
        shutil.copytree(tmp_path / "job" / "outputs" / "data" / split, folder / "inputs" / split)
    job = TrainJob("tiny", 1, 25, 16, 1, 25, "accuracy", 0.0, parity_command=PARITY)
    codec.save(job, folder / "job.json")
    return run_jobs([folder])["train"]


def answered(outcome, holdout):
    """The share of right answers that the served file gives to requests with the users' names."""
    result = outcome.result
    engine = load_engine(outcome.outputs, result.signature, result.served)
    rows = [
        {name: array[i].tolist() if array.ndim > 2 else array[i].tolist()[0] for name, array in holdout.x.items()}
        for i in range(len(holdout.y))
    ]
    inputs, _ = Reader(result.signature, holdout.spec).instances(json.dumps({"instances": rows}).encode(), 1000)
    answers = engine(inputs)[result.signature.outputs[0].name]
    return float((answers.argmax(axis=1) == holdout.y).mean())


@pytest.mark.parametrize(
    "names", [["_id", "self", "A", "a", "dense", "km/h", "größe", "None", "concatenate", '{"a": 1}', "<b>", "file"]]
)
def test_columns_of_odd_names_are_trained_served_and_asked_for_by_them(tmp_path, names):
    trained_and_served(tmp_path, names)


@pytest.mark.long
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(NAMES)
def test_columns_of_any_name_are_trained_served_and_asked_for_by_it(tmp_path_factory, names):
    trained_and_served(tmp_path_factory.mktemp("any"), names)


def trained_and_served(tmp_path, names):
    """A table with these columns: prepared, trained, exported, and asked with the users' names."""
    dataset = job_folder(tmp_path)
    (dataset / "dataset.toml").write_text('format = "table"\n[table]\nfile = "a.parquet"\ntarget = "the label"\n')
    random = np.random.default_rng(1)
    y = np.arange(200) % 2
    columns = {name: random.normal(0, 1, 200) for name in names}
    columns[names[0]] = random.normal(0, 0.3, 200) + np.where(y, 2, -2)  # this one alone says the class
    columns[names[1]] = [("red", "green")[each] for each in random.integers(0, 2, 200)]
    table = pa.Table.from_arrays([*map(pa.array, columns.values()), pa.array(y)], names=[*columns, "the label"])
    parquet.write_table(table, dataset / "a.parquet")
    found = run(dataset)
    assert found.ok, found.faults
    outcome = trained(tmp_path, BY_INPUT_NAME)
    assert [each.name for each in outcome.result.signature.inputs] == names
    assert outcome.result.served.engine == "litert"
    assert answered(outcome, load_split(tmp_path / "job" / "outputs" / "data" / "holdout")) > 0.95


def test_arrays_of_any_name_are_served_also_by_a_recurrent_model(tmp_path):
    names = ["X", "x", "self", "file", "_id"]
    dataset = job_folder(tmp_path)
    (dataset / "dataset.toml").write_text(f'format = "npz"\n[npz]\nx = {names}\n')
    random = np.random.default_rng(1)
    y = np.arange(200) % 2
    arrays = {name: random.normal(0, 1, (200, 4, 2)) for name in names}
    arrays["X"] = random.normal(0, 0.3, (200, 4, 2)) + np.where(y, 2, -2)[:, None, None]
    with zipfile.ZipFile(dataset / "a.npz", "w") as archive:
        for name, array in (arrays | {"y": y}).items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)
    assert run(dataset).ok
    outcome = trained(tmp_path, RECURRENT)
    assert outcome.result.served.batches == (1, 8)
    assert [each.name for each in outcome.result.signature.inputs] == names
    assert answered(outcome, load_split(tmp_path / "job" / "outputs" / "data" / "holdout")) > 0.95
