"""Each version holds what MLflow loads, and a bill of materials that CycloneDX's own validator accepts."""

import dataclasses
import json
import re
import uuid

import pytest
from attested import REPOSITORIES
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from ruamel.yaml import YAML
from versions import CREATED_AT, SOURCES, candidate, image_signature

from pipelines.exports import cyclonedx, mlmodel, version_files
from registry.records import (
    ClassMetrics,
    Comparison,
    Evaluation,
    Metrics,
    Run,
    Served,
    Signature,
    TensorSpec,
)

RUN = Run("run", "digits", "code", SOURCES, "f" * 64, None, None, CREATED_AT)
PACKAGES = {"python": "3.11.2", "numpy": "2.4.6", "ai-edge-litert": "2.3.0", "tensorflow-cpu": "2.21.0+local"}
CLASSES = {"zero": ClassMetrics(0.5, 0.5, 0.5, 7), "öne/☃": ClassMetrics(0.0, float("nan"), 0.0, 0)}
MEASURED = Evaluation(
    Metrics("classification", 100, {"accuracy": 0.97, "loss": float("nan")}, CLASSES),
    None,
    Comparison(3, "accuracy", 0.01, -0.01, 0.03, 100),
)
TABLE = Signature(
    "classification",
    "table",
    (
        TensorSpec("age", (None, 1), "float32", low=0),
        TensorSpec("km/h", (None, 1), "int32"),
        TensorSpec("colour", (None, 1), "string"),
        TensorSpec("new", (None, 1), "bool"),
    ),
    (TensorSpec("p", (None, 2), "float32"),),
    ("yes", "no"),
)


def build(**fields):
    return version_files.build(RUN, candidate(**{"packages": PACKAGES, "evaluation": MEASURED} | fields), REPOSITORIES)


def yaml(data):
    return YAML(typ="safe").load(data.decode())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"signature": TABLE},
        {"packages": {}, "evaluation": Evaluation(Metrics("regression", 1, {}))},
        {"image": "sha256:" + "a" * 64, "files": {"model.tflite": "b" * 64}},
    ],
    ids=["image", "table", "nothing measured", "container"],
)
def test_the_bill_of_materials_is_a_valid_one(fields):
    data = build(**fields).files["sbom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data) is None


def test_the_validator_finds_what_is_not_in_the_format():
    document = json.loads(build().files["sbom.cdx.json"])
    document["metadata"]["component"]["modelCard"]["mood"] = "good"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_the_bill_of_materials_has_packages_data_and_numbers():
    document = json.loads(build(files={"model.tflite": "b" * 64}).files["sbom.cdx.json"])
    model = document["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "digits", "1")
    assert model["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    purls = {each.get("purl") for each in document["components"]}
    assert {"pkg:pypi/numpy@2.4.6", "pkg:pypi/tensorflow-cpu@2.21.0%2Blocal"} < purls
    assert SOURCES.dataset in {each["version"] for each in document["components"] if each["type"] == "data"}
    numbers = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "accuracy", "value": "0.97", "slice": "holdout"} in numbers
    assert not any("nan" in each["value"] for each in numbers), "JSON has no NaN"
    assert {"lowerBound": "-0.01", "upperBound": "0.03"} in [each.get("confidenceInterval") for each in numbers]
    (_, unknown) = model["modelCard"]["considerations"]["technicalLimitations"]
    assert "öne/☃" in unknown
    assert uuid.UUID(document["serialNumber"].removeprefix("urn:uuid:"))


def test_mlmodel_names_the_module_and_its_environment():
    files = build().files
    about = yaml(files["MLmodel"])
    flavor = about["flavors"]["python_function"]
    assert flavor["loader_module"] == "trainyard_pyfunc"
    assert f"{flavor['code']}/{flavor['loader_module']}.py" in files
    assert flavor["env"]["virtualenv"] in files
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", about["utc_time_created"])
    assert yaml(files["python_env.yaml"])["dependencies"] == ["-r requirements.txt"]
    assert files["requirements.txt"].decode().split() == ["mlflow>=2.0.0", "ai-edge-litert==2.3.0", "numpy==2.4.6"]


def test_a_model_that_tensorflow_runs_needs_tensorflow():
    files = build(served=Served("saved_model", "saved_model", "a test")).files
    assert "tensorflow-cpu==2.21.0+local" in files["requirements.txt"].decode().split()


def test_arrays_are_tensors_and_tables_are_columns():
    tensor = yaml(build().files["MLmodel"])["signature"]
    assert json.loads(tensor["inputs"]) == [
        {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 8, 8, 1]}}
    ]
    columns = json.loads(yaml(build(signature=TABLE).files["MLmodel"])["signature"]["inputs"])
    kinds = {each["name"]: each["type"] for each in columns}
    assert kinds == {"age": "double", "km/h": "long", "colour": "string", "new": "boolean"}


def test_pixels_are_bounded_as_in_the_api_and_other_numbers_are_not():
    pixels = dataclasses.replace(image_signature(), inputs=(TensorSpec("image", (None, 8, 8, 1), "float32"),))
    for signature, bounds in ((pixels, (0, 255)), (dataclasses.replace(pixels, kind="array"), (None, None))):
        (about,) = json.loads(build(signature=signature).files["pyfunc/model.json"])["inputs"]
        assert (about["low"], about["high"]) == bounds


def test_several_inputs_are_named():
    inputs = tuple(TensorSpec(name, (None, 4), "float32") for name in "ab")
    signature = dataclasses.replace(image_signature(), kind="array", inputs=inputs)
    found = json.loads(yaml(build(signature=signature).files["MLmodel"])["signature"]["inputs"])
    assert [each["name"] for each in found] == ["a", "b"]


def test_the_same_run_gives_the_same_bytes():
    later = candidate(packages=PACKAGES, evaluation=MEASURED, created_at="2027-01-01T00:00:00Z")
    assert version_files.build(RUN, later, REPOSITORIES) == build()


@pytest.mark.parametrize("left", ["MLmodel", "requirements.txt", "pyfunc/numpy.py", "pyfunc", "MLmodel/a"])
def test_what_the_training_has_left_in_that_place_stays_and_nothing_of_ours_joins_it(left):
    made = build(files={left: "c" * 64, "model.tflite": "b" * 64})
    assert set(made.files) == {"sbom.cdx.json"}
    assert made.notes == (f"no MLmodel: the training has left {left}",)


def test_names_that_are_ours_are_plain_ascii():
    hostile = Signature("regression", "table", (TensorSpec("\u2028'\"{", (None, 1), "float32"),), TABLE.outputs)
    files = mlmodel.files(RUN, hostile, Served("litert", "model.tflite", "a test"), {})
    assert all(data.isascii() for data in files.values())
    assert json.loads(yaml(files["MLmodel"])["signature"]["inputs"])[0]["name"] == "\u2028'\"{"


def test_a_bill_of_materials_needs_no_classes():
    data = cyclonedx.bom(candidate(signature=TABLE), REPOSITORIES, CREATED_AT)
    assert b"considerations" in data
