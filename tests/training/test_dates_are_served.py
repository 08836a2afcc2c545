"""A column of dates from the file to the answer: prepared, trained on, measured, served by the API's reader, and loaded within MLflow."""

import importlib.util
import json
import shutil
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest
from data_makers import job_folder, messages, outputs, run
from training_parts import TABLE, make_job, run_jobs
from unit_tests_support import run_worker, write_card

from pipelines.exports import mlmodel
from pipelines.workers.jobs import EvaluateJob, MeasuredModel
from registry import codec
from registry.records import Evaluation
from registry.records.run import Run, Sources
from serving.model import load
from serving.protocols.read_instances import Reader

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

DATASET = """
format = "table"
[table]
file = "visits.csv"
target = "shop"
missing = "impute"
duplicates = "allow"
dates = [{ column = "when", parts = ["weekday", "hour"], date_format = "%d.%m.%Y %H:%M" }]
"""
START = datetime(2026, 1, 5)  # noqa: DTZ001


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """Of a model that knows when a shop is open."""
    folder = tmp_path_factory.mktemp("dates")
    dataset = job_folder(folder)
    moments = [START + timedelta(hours=i * 7 % 1000) for i in range(600)]
    texts = ["" if i == 5 else f"{when:%d.%m.%Y %H:%M}" for i, when in enumerate(moments)]
    lines = [f"{text},{i % 10},{'open' if moments[i].hour >= 12 else 'closed'}" for i, text in enumerate(texts)]
    (dataset / "visits.csv").write_text("\n".join(["when,people,shop", *lines]))
    (dataset / "dataset.toml").write_text(DATASET)
    found = run(dataset)
    assert found.ok, messages(found)
    job = make_job(folder / "train", TABLE.replace("name=column.name", "name=column.input_name"), epochs=30)
    for split in ("train", "validation"):
        shutil.rmtree(job / "inputs" / split)
        shutil.copytree(outputs(dataset) / "data" / split, job / "inputs" / split)
    result = run_jobs([job])["train"].result
    version, work = folder / "version", folder / "evaluate"
    shutil.copytree(job / "outputs", version)
    (work / "inputs").mkdir(parents=True)
    (work / "inputs" / "candidate").symlink_to(version)
    (work / "inputs" / "holdout").symlink_to(outputs(dataset) / "data" / "holdout")
    codec.save(EvaluateJob("accuracy", MeasuredModel(result.signature, result.served, result.files)), work / "job.json")
    run_worker("pipelines.workers.evaluate", work)
    evaluation = codec.read(Evaluation, work / "result.json")
    shutil.copytree(work / "outputs", version, dirs_exist_ok=True)
    shutil.copy(work / "inputs" / "holdout" / "data.json", version / "data.json")
    write_card(version, "shop", result.signature, result.served, evaluation)
    return version, result, evaluation


ROWS = [
    {"when": "05.01.2026 14:30", "people": 3},
    {"when": "06.01.2026 03:00", "people": 3},
    {"when": None, "people": 3},
]


def test_the_signature_takes_the_text_and_the_file_the_parts(version):
    _, result, _ = version
    assert [(each.name, each.dtype, each.may_miss) for each in result.signature.inputs] == [
        ("when", "string", True), ("people", "float32", False),
    ]  # fmt: skip
    assert [each.name for each in result.signature.features] == ["when weekday", "when hour", "people"]


def test_the_holdout_is_measured_by_its_texts(version):
    folder, _, evaluation = version
    assert evaluation.candidate.values["accuracy"] > 0.9
    with np.load(folder / "golden.npz") as golden:
        assert golden["in_0"].dtype.kind == "U"


def test_the_api_answers_a_text_as_training_has_read_it(version, tmp_path):
    folder, result, _ = version
    model = load(folder, None, 1, tmp_path)
    inputs, rows = Reader(model.signature, model.data).rows(ROWS, 9)
    (answer,) = model.run(inputs, rows).values()
    shut, opened = result.signature.classes.index("closed"), result.signature.classes.index("open")
    assert answer[0, opened] > 0.8
    assert answer[1, shut] > 0.8
    assert np.isfinite(answer[2]).all()


def test_mlflow_answers_the_same(version, tmp_path, monkeypatch):
    folder, result, _ = version
    model = load(folder, None, 1, tmp_path)
    inputs, rows = Reader(model.signature, model.data).rows(ROWS, 9)
    exported = tmp_path / "exported"
    shutil.copytree(folder, exported)
    sources = Sources("1" * 40, "2" * 40, "3" * 40)
    made = Run("0123456789ab", "shop", "dataset", sources, "4" * 64, None, None, "2026-01-01T00:00:00Z")
    for name, data in mlmodel.files(made, result.signature, result.served, result.packages).items():
        (exported / name).parent.mkdir(exist_ok=True)
        (exported / name).write_bytes(data)
    assert json.loads(json.loads((exported / "MLmodel").read_text())["signature"]["inputs"])[0]["type"] == "string"
    monkeypatch.syspath_prepend(exported / "pyfunc")
    spec = importlib.util.spec_from_file_location("trainyard_pyfunc", exported / "pyfunc" / "trainyard_pyfunc.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    columns = {"when": np.array([each["when"] for each in ROWS], object), "people": np.array([3.0, 3.0, 3.0])}
    (answer,) = model.run(inputs, rows).values()
    np.testing.assert_allclose(module._load_pyfunc(str(exported)).predict(columns), answer, atol=1e-6)
    with pytest.raises(ValueError, match=r"when: not a date as '%d.%m.%Y %H:%M'"):
        module._load_pyfunc(str(exported)).predict(columns | {"when": np.array(["2026-01-05"] * 3, object)})
    sys.modules.pop("trainyard_dates")
