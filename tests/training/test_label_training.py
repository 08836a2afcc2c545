"""Training with several labels per sample, in real workers: what comes out, and what is said of a model that does not suit them."""

import numpy as np
import pytest
from training_parts import make_job, run_jobs, weather

from registry.errors import ConfigError, WorkerFailed
from serving.engines.base import load_engine

pytestmark = pytest.mark.tensorflow
SIGMOIDS = """
import keras
from keras import layers

def build_model(spec, attempt):
    model = keras.Sequential([
        keras.Input(spec.input_shape),
        layers.Dense(16, activation="relu"),
        layers.Dense(len(spec.classes), activation="sigmoid"),
    ])
    model.compile(optimizer=keras.optimizers.Adam(0.03), loss="binary_crossentropy", metrics=["accuracy"])
    return model
"""
SOFTMAX = SIGMOIDS.replace('"sigmoid"', '"softmax"')
LOAD = """
import numpy as np

def load_data(folder):
    archive = np.load(folder / "a.npz")
    return archive["x"], {}
"""
HINT = "Dense(len(spec.classes), activation='sigmoid')"
CASES = {
    "softmax": (ConfigError, ["the model ends with a softmax, whose answers add up to 1"], HINT, {"code": SOFTMAX}),
    "softmax_layer": (
        ConfigError, ["the model ends with a softmax"], HINT,
        {"code": SIGMOIDS.replace(', activation="sigmoid"),', "), layers.Softmax(),")},
    ),
    "hidden_softmax": (
        ConfigError, ["gives each of 40 samples probabilities that add up to 1", "have several labels or none"], HINT,
        {"code": SOFTMAX.replace("    ])", "        layers.Reshape((3,)),\n    ])")},
    ),
    "width": (
        ConfigError, ["[2, 5]", "3 probabilities, one per label"], HINT, {"code": SIGMOIDS.replace("len(spec.classes)", "5")},
    ),
    "logits": (
        ConfigError, ["not probabilities: they are not between 0 and 1"], HINT,
        {"code": SIGMOIDS.replace('activation="sigmoid"', 'bias_initializer="ones"')},
    ),
    "loss": (
        WorkerFailed, ["model.py: the model could not be trained"], "the loss is sparse_categorical_crossentropy, for one class per sample",
        {"code": SIGMOIDS.replace("binary_crossentropy", "sparse_categorical_crossentropy")},
    ),
    "metric": (ConfigError, ["[gate] metric: 'mcc' is not measured for multi-label"], "micro_f1", {"metric": "mcc"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    at = tmp_path_factory.mktemp("labels")
    common = {"code": SIGMOIDS, "data": weather, "samples": 120, "metric": "micro_f1"}
    made = [make_job(at / name, **(common | more)) for name, (_, _, _, more) in CASES.items()]
    good = make_job(at / "good", **common | {"samples": 400, "epochs": 25})
    strict = make_job(at / "strict", **common | {"metric": "accuracy"})
    return run_jobs([*made, good, strict])


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_suit_labels_is_refused_with_the_next_action(jobs, name):
    kind, words, hint, _ = CASES[name]
    jobs[name].must_have_failed(kind, words, hint)


def test_a_model_with_a_sigmoid_per_label_is_trained_measured_and_served(jobs):
    found = jobs["good"].result
    signature = found.signature
    assert (signature.task, signature.classes, signature.threshold) == ("multi-label", ("rain", "wind", "fog"), 0.5)
    assert (signature.outputs[0].name, signature.outputs[0].shape) == ("probabilities", (None, 3))
    assert found.validation["micro_f1"] > 0.85
    engine = load_engine(jobs["good"].outputs, signature, found.served)
    said = engine({"x": np.array([[3, 3, 3, 0, 0, 0], [-3, -3, -3, -4, 0, 0]], np.float32)})["probabilities"]
    assert (said >= 0.5).tolist() == [[True, True, False], [False, False, False]]


def test_the_accuracy_that_is_aimed_at_is_that_of_whole_answers_and_not_what_keras_calls_so(jobs):
    found = jobs["strict"].result
    best = max(each["value"] for each in jobs["strict"].events("epoch"))
    assert found.validation["accuracy"] == pytest.approx(best)
    assert found.validation["accuracy"] < 1 - found.validation["hamming_loss"]
