"""ONNX Runtime as an engine: a team's own file, by the names of the dataset."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from onnx_models import FLOAT, INT64, end, graph, mixed, model, node, tensor
from training_parts import shop

from registry.errors import ConfigError, Corrupt
from registry.records import OnnxWiring, Served, Signature, TensorSpec

pytest.importorskip("onnxruntime")
from serving.engines.base import BadInput, EngineError, load_engine

SERVED = Served("onnx", "model.onnx", "a test", onnx=OnnxWiring("probabilities", (0, 1)))
SIGNATURE = Signature(
    "classification", "table",
    (TensorSpec("age", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string")),
    (TensorSpec("probabilities", (None, 2), "float32", 0.0, 1.0),), ("no", "yes"),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(mixed())
    return tmp_path


@pytest.mark.parametrize("rows", [1, 3, 32, 100])
def test_it_answers_at_every_batch_size(folder, rows):
    _, x, y = shop(100, 5)
    answers = load_engine(folder, SIGNATURE, SERVED)({name: each[:rows] for name, each in x.items()})
    assert answers.keys() == {"probabilities"}
    assert answers["probabilities"].dtype == np.float32
    assert (answers["probabilities"].argmax(axis=1) == y[:rows]).all()


def test_threads_at_once_get_their_own_answers(folder):
    _, x, y = shop(60, 5)
    engine = load_engine(folder, SIGNATURE, SERVED, threads=4)
    engine.renew(most=8, many=1, at_once=1)
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda i: engine({name: each[i : i + 20] for name, each in x.items()}), list(range(40)) * 5)
        )
    for i, answer in zip(list(range(40)) * 5, found, strict=True):
        assert (answer["probabilities"].argmax(axis=1) == y[i : i + 20]).all()


@pytest.mark.parametrize("kind", ["U", "S", object])
def test_texts_are_taken_in_every_form_that_requests_and_files_have(folder, kind):
    _, x, y = shop(20, 5)
    answers = load_engine(folder, SIGNATURE, SERVED)({"age": x["age"], "colour": x["colour"].astype(kind)})
    assert (answers["probabilities"].argmax(axis=1) == y).all()
    as_bytes = np.array([[each.encode()] for each in x["colour"][:, 0]], object)
    answers = load_engine(folder, SIGNATURE, SERVED)({"age": x["age"], "colour": as_bytes})
    assert (answers["probabilities"].argmax(axis=1) == y).all()


def test_what_does_not_fit_the_signature_is_refused_before_it_runs(folder):
    engine = load_engine(folder, SIGNATURE, SERVED)
    with pytest.raises(BadInput, match="the model takes age, colour"):
        engine({"age": np.zeros((1, 1), np.float32)})


def test_a_value_that_the_model_cannot_take_is_an_engine_error_and_the_engine_still_works(tmp_path):
    nodes = [node("Gather", ["table", "place"], ["prediction"])]
    ends = [end("place", INT64, "batch", 1)], [end("prediction", FLOAT, "batch", 1)]
    (tmp_path / "model.onnx").write_bytes(model(graph(nodes, *ends, [tensor("table", [1.0, 2.0], [2])])))
    takes, gives = TensorSpec("place", (None, 1), "int64"), TensorSpec("prediction", (None, 1), "float32")
    served = replace(SERVED, onnx=OnnxWiring("prediction"))
    engine = load_engine(tmp_path, Signature("regression", "table", (takes,), (gives,)), served)
    with pytest.raises(EngineError, match="idx=7"):
        engine({"place": np.array([[7]])})
    assert engine({"place": np.array([[1], [0]])})["prediction"].tolist() == [[2.0], [1.0]]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda path: path.unlink(), Corrupt, "the served file is missing"),
        (lambda path: path.write_bytes(b"no model"), Corrupt, "damaged"),
        (lambda path: path.write_bytes(mixed().replace(b"colour", b"colors")), Corrupt, "not those of the signature"),
        (lambda path: path.write_bytes(mixed().replace(b"OneHotEncoder", b"OneHotSpinner")), ConfigError, "not allowed"),
        (lambda path: path.write_bytes(mixed().replace(b"wide", b"void")), None, ""),
        (lambda path: path.write_bytes(mixed().replace(b"Reshape", b"Flatten")), Corrupt, "does not load it"),
    ],
)  # fmt: skip
def test_a_file_that_must_not_be_served_is_refused(folder, change, error, said):
    change(folder / "model.onnx")
    if error is None:
        load_engine(folder, SIGNATURE, SERVED)
        return
    with pytest.raises(error, match=said):
        load_engine(folder, SIGNATURE, SERVED)


def test_a_manifest_without_the_wiring_is_corrupt(folder):
    with pytest.raises(Corrupt, match="does not say how"):
        load_engine(folder, SIGNATURE, replace(SERVED, onnx=None))
