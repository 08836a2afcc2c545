"""A model that answers each of its inputs with the same values, for every type that a signature can carry."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from versions import candidate
from werkzeug.serving import make_server

from registry.records import Evaluation, Metrics, Served, Signature, TensorSpec
from serving.app import create_app
from serving.calls import Limits
from serving.engines.scored import answering
from serving.metrics.counters import CounterTable
from serving.model import Model
from serving.protocols.dialects import predictor_for

DTYPES = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "string",
)  # fmt: skip


def values(dtype, shape):
    """Some values of `dtype`, the same each time."""
    count = int(np.prod(shape))
    if dtype == "string":
        return np.array([f"é{i}" for i in range(count)], object).reshape(shape)
    if dtype == "bool":
        return (np.arange(count) % 3 == 0).reshape(shape)
    return (np.arange(count) % 100).astype(dtype).reshape(shape)


VERSION = 7


def echo_model(dtypes=DTYPES, shape=(3,), targets=()):
    """Version 7 of a model with an input `in_DTYPE` of `shape` per row for each dtype, and an output `out_DTYPE` that is the same."""
    inputs = tuple(TensorSpec(f"in_{each}", (None, *shape), each) for each in dtypes)
    outputs = tuple(TensorSpec(f"out_{each}", (None, *shape), each) for each in dtypes)
    signature = Signature("regression", "array", inputs, outputs, targets=targets)
    warm = {each.name: values(each.dtype, (2, *shape)) for each in inputs}

    def engine(given):
        return {f"out_{each}": np.array(given[f"in_{each}"]) for each in dtypes}

    return _model(signature, engine, warm)


def echo_table(columns):
    """The same with named columns: `columns` has the dtype of each."""
    inputs = tuple(TensorSpec(name, (None, 1), dtype) for name, dtype in columns.items())
    outputs = tuple(TensorSpec(f"out {name}", (None, 1), dtype) for name, dtype in columns.items())
    warm = {each.name: values(each.dtype, (2, 1)) for each in inputs}

    def engine(given):
        return {f"out {name}": np.array(given[name]) for name in columns}

    return _model(Signature("regression", "table", inputs, outputs), engine, warm)


def echo_labels(labels, threshold=0.5):
    """A model of any number of labels: the probabilities that it is given."""
    inputs = (TensorSpec("x", (None, len(labels)), "float32"),)
    outputs = (TensorSpec("probabilities", (None, len(labels)), "float32", 0.0, 1.0),)
    signature = Signature("multi-label", "array", inputs, outputs, tuple(labels), threshold=threshold)
    warm = {"x": np.full((2, len(labels)), 0.5, np.float32)}
    return _model(signature, lambda given: {"probabilities": np.array(given["x"])}, warm)


def echo_scores(threshold):
    """A model of anomalies: its score is the only number that it is given."""
    inputs = (TensorSpec("x", (None, 1), "float32"),)
    signature = Signature("anomaly", "array", inputs, (TensorSpec("score", (None, 1), "float32"),), threshold=threshold)
    warm = {"x": np.array([[0.0], [1.0]], np.float32)}
    engine = answering(lambda given: {"score": np.array(given["x"])}, signature)
    return _model(signature.answered, engine, warm)


def echo_images(signature):
    """The same with the image that `signature` takes: its output `out` is its pixels."""
    (image,) = signature.inputs
    output = TensorSpec("out", image.shape, image.dtype)
    signature = replace(signature, task="regression", outputs=(output,), classes=())
    warm = {image.name: values(image.dtype, (2, *image.shape[1:]))}
    return _model(signature, lambda given: {"out": np.array(given[image.name])}, warm)


def _model(signature, engine, warm):
    manifest = candidate(
        "m",
        VERSION,
        "0" * 16,
        {},
        created_at="2026-01-01T00:00:00Z",
        signature=signature,
        served=Served("litert", "model.tflite", ""),
        evaluation=Evaluation(Metrics("regression", 8, {})),
    )
    return Model(engine, signature, warm, engine(warm), manifest, "0" * 64, 3, None)


class Held:
    error = ""

    def __init__(self, model):
        self.current = predictor_for(model) if model else None


def app_of(model, max_body=1 << 16, max_instances=10):
    """Flask's test client for the API of the model `m`; None: it has none yet."""
    return create_app(Held(model), "m", Limits(max_body, max_instances), CounterTable().counters(0)).test_client()


@contextmanager
def served(model, limits=None, **more):
    """The app of `model` on a free port of the loopback interface: its URL. `more`: what `create_app` takes besides."""
    app = create_app(Held(model), "m", limits or Limits(1 << 20, 64), CounterTable().counters(0), **more)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
