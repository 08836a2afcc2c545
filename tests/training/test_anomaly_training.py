"""Training without labels, in real workers: the score, the threshold that follows from it, and what is said of a model that does not suit."""

import numpy as np
import pytest
from training_parts import make_job, run_jobs

from registry import codec
from registry.errors import ConfigError, WorkerFailed
from registry.records import TensorSpec
from serving.engines.base import load_engine
from serving.engines.scored import answering
from training.data.spec import Column, DataSpec
from training.loop.history import History

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]
AUTOENCODER = """
import keras
from keras import layers, ops

def build_model(spec, attempt):
    inputs = [keras.Input((1,), name=column.input_name) for column in spec.columns]
    reading = layers.Concatenate()(inputs)
    again = layers.Dense(len(inputs))(layers.Dense(1)(reading))
    score = ops.mean(ops.square(reading - again), axis=-1, keepdims=True)
    model = keras.Model(inputs, score)
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mae")
    return model
"""
SCORE = "    score = ops.mean(ops.square(reading - again), axis=-1, keepdims=True)\n"
CASES = {
    "reconstruction": (
        ConfigError, ["answers with shape [2, 3] for 2 samples", "one number, its score, per sample"], "the error of its reconstruction",
        {"code": AUTOENCODER.replace(SCORE, "    score = again\n")},
    ),
    "loss": (
        WorkerFailed, ["model.py: the model could not be trained"], "compile with mae, which makes the mean score small",
        {"code": AUTOENCODER.replace('loss="mae"', 'loss="categorical_crossentropy", metrics=["no such metric"]')},
    ),
    "metric": (ConfigError, ["[gate] metric: 'accuracy' is not measured for anomaly"], "mean_score", {"metric": "accuracy"}),
}  # fmt: skip


def readings(samples, seed):
    """Three numbers that say the same, but for a little noise."""
    random = np.random.default_rng(seed)
    load = random.normal(size=(samples, 1))
    x = {name: (load + random.normal(0, 0.05, load.shape)).astype(np.float32) for name in ("a", "b", "c")}
    inputs = tuple(TensorSpec(name, (None, 1), "float32") for name in x)
    columns = tuple(Column(name, "numeric", 0.0, 1.0) for name in x)
    spec = DataSpec("table", "anomaly", inputs, (), columns, "odd", train_samples=samples, quantile=0.95)
    return spec, x, np.zeros(samples, np.float32)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    at = tmp_path_factory.mktemp("anomalies")
    common = {"code": AUTOENCODER, "data": readings, "samples": 320, "metric": "roc_auc", "threshold": 0.9}
    made = [make_job(at / name, **(common | more)) for name, (_, _, _, more) in CASES.items()]
    good = make_job(at / "good", **common | {"epochs": 12, "max_attempts": 3})
    aimed = make_job(at / "aimed", **common | {"metric": "mean_score", "threshold": 1e-9, "max_attempts": 2})
    return run_jobs([*made, good, aimed])


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_suit_is_refused_with_the_next_action(jobs, name):
    kind, words, hint, _ = CASES[name]
    jobs[name].must_have_failed(kind, words, hint)


def test_an_autoencoder_is_trained_and_its_threshold_is_the_quantile_of_the_train_split(jobs):
    found = jobs["good"].result
    signature = found.signature
    assert (signature.task, signature.outputs[0].name, signature.outputs[0].shape) == ("anomaly", "score", (None, 1))
    engine = answering(load_engine(jobs["good"].outputs, signature, found.served), signature)
    _, x, _ = readings(320, 1)
    said = engine(x)
    assert said["anomalous"].mean() == pytest.approx(0.05, abs=0.004)
    assert set(np.unique(said["threshold"])) == {np.float32(signature.threshold)}
    odd = engine({name: np.array([[value]], np.float32) for name, value in (("a", 2.0), ("b", -2.0), ("c", 0.0))})
    assert odd["anomalous"].tolist() == [True]
    assert odd["score"].shape == (1,)


def test_the_first_attempt_is_good_enough_as_nothing_that_is_trained_on_is_marked(jobs):
    found, history = jobs["good"].result, codec.read(History, jobs["good"].outputs / "history.json")
    assert (found.reached, found.attempt, len(history.rounds)) == (True, 0, 1)
    assert found.validation.keys() == {"mean_score", "false_alarms"}
    assert history.metric == "mean_score"


def test_a_mean_score_that_the_gate_asks_for_is_aimed_at(jobs):
    found, history = jobs["aimed"].result, codec.read(History, jobs["aimed"].outputs / "history.json")
    assert (found.reached, len(history.rounds)) == (False, 2)
