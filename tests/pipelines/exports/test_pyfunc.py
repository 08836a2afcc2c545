"""What MLflow loads gives the numbers of the prediction API."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from attested import REPOSITORIES
from versions import CREATED_AT, SOURCES, candidate

from pipelines.exports import mlmodel, version_files
from registry import codec
from registry.records import Run, Served, Signature
from serving.engines.base import load_engine

OTHER_TOOLS = os.environ.get("TRAINYARD_TEST_TOOLS", "")
MODELS = ("thirds", "shop", "sum", "pair", "halves")
RUN = Run("run", "tiny", "code", SOURCES, "f" * 64, None, None, CREATED_AT)
LOAD_AND_PREDICT = """
import json, sys
import mlflow, numpy, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
given = json.load(sys.stdin)
if isinstance(given, dict):
    rows = pandas.DataFrame(given)
else:
    rows = numpy.asarray(given, dtype=sys.argv[2])
print(json.dumps(numpy.asarray(model.predict(rows), dtype="float64").tolist()))
"""


@pytest.fixture(scope="module", params=MODELS)
def version(request, tiny_models, tmp_path_factory):
    """The folder of a version, its signature, and rows as a client of the API has them."""
    return make_version(tiny_models / request.param, tmp_path_factory.mktemp(request.param))


def make_version(source: Path, folder: Path):
    signature = codec.from_json(Signature, (source / "signature.json").read_bytes(), "signature")
    served = codec.from_json(Served, (source / "served.json").read_bytes(), "served")
    (folder / served.path).write_bytes((source / served.path).read_bytes())
    manifest = candidate("tiny", signature=signature, served=served, packages={})
    for name, data in version_files.build(RUN, manifest, REPOSITORIES).files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder, signature, served


def rows_for(signature: Signature, count: int = 37):
    """More rows than go into the engine at once, as it takes them."""
    random, inputs = np.random.default_rng(1), {}
    for spec in signature.inputs:
        shape = (count, *spec.shape[1:])
        if spec.dtype == "string":
            inputs[spec.name] = random.choice(["red", "blue", ""], shape).astype(object)
        else:
            inputs[spec.name] = random.integers(0, 256, shape).astype(spec.dtype)
    return inputs


def loaded(folder: Path):
    """The module that is in the version, as MLflow imports it."""
    found = importlib.util.spec_from_file_location("of_a_version", folder / "pyfunc" / "trainyard_pyfunc.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module._load_pyfunc(str(folder))


def of_the_api(folder, signature, served, inputs):
    return load_engine(folder, signature, served)(inputs)[signature.outputs[0].name]


@pytest.mark.tensorflow
@pytest.mark.parametrize("count", [1, 32, 37])
def test_the_numbers_are_those_of_the_api(version, count):
    folder, signature, served = version
    inputs = rows_for(signature, count)
    given = {name: array.reshape(-1) for name, array in inputs.items()} if signature.kind == "table" else inputs
    if len(inputs) == 1:
        (given,) = inputs.values()
    np.testing.assert_array_equal(loaded(folder).predict(given), of_the_api(folder, signature, served, inputs))


@pytest.mark.tensorflow
def test_what_the_api_refuses_is_refused(tiny_models, tmp_path):
    folder, *_ = make_version(tiny_models / "shop", tmp_path)
    model = loaded(folder)
    assert model.predict({"age": [20.0], "colour": ["red"]}).shape == (1, 2)
    for wrong, says in (
        ({"age": [20.0]}, "colour: this input is missing"),
        ({"age": [float("nan")], "colour": ["red"]}, "age: a value is missing"),
        ({"age": ["old"], "colour": ["red"]}, "age: not every value is a number"),
        ({"age": [20.0], "colour": [1]}, "colour: not every value is a text"),
        ({"age": [20.0, 30.0], "colour": ["red"]}, "same number of rows"),
        ({"age": [], "colour": []}, "one row or more"),
    ):
        with pytest.raises(ValueError, match=says):
            model.predict(wrong)


@pytest.mark.tensorflow
def test_a_shape_that_does_not_fit_is_refused(tiny_models, tmp_path):
    folder, *_ = make_version(tiny_models / "thirds", tmp_path)
    with pytest.raises(ValueError, match="image: shape"):
        loaded(folder).predict(np.zeros((1, 6, 7, 1), np.uint8))


@pytest.mark.tensorflow
def test_an_answer_that_is_no_number_is_an_error_as_in_the_api(tiny_models, tmp_path):
    folder, *_ = make_version(tiny_models / "nothing", tmp_path)
    image = np.zeros((2, 6, 6, 1), np.uint8)
    image[1] = 255
    with pytest.raises(ValueError, match="row 1: the model has no answer"):
        loaded(folder).predict(image)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.skipif(not OTHER_TOOLS, reason="TRAINYARD_TEST_TOOLS names no Python with mlflow and ai-edge-litert")
def test_the_real_mlflow_gives_the_numbers_of_the_api(version):
    folder, signature, served = version
    inputs = rows_for(signature)
    first = signature.inputs[0]
    lists = {name: array.reshape(-1).tolist() for name, array in inputs.items()}
    given = lists if signature.kind == "table" else inputs[first.name].tolist()
    done = subprocess.run(
        [OTHER_TOOLS, "-W", "ignore", "-c", LOAD_AND_PREDICT, folder, first.dtype],
        input=json.dumps(given), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = of_the_api(folder, signature, served, inputs)
    np.testing.assert_array_equal(np.asarray(json.loads(done.stdout.splitlines()[-1])), wanted.astype(np.float64))


def test_the_module_in_a_version_is_the_one_that_is_tested_here():
    source = Path(mlmodel.CODE)
    assert (
        source.read_bytes()
        == mlmodel.files(RUN, candidate().signature, candidate().served, {})["pyfunc/trainyard_pyfunc.py"]
    )
