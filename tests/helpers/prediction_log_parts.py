"""What the tests of the prediction log share: a model that only says what it is, and answers of it."""

import time
from types import SimpleNamespace

import numpy as np

from registry.records import Signature, TensorSpec
from serving.job import PredictionLogJob
from serving.prediction_log.key import make_key
from serving.prediction_log.lines import Answered
from training.data.spec import Column, DataSpec

CLASSES = ("no", "yes")


def log_job(folder, **settings):
    """The job of a log in `folder`, with a key beside it."""
    make_key(folder.parent / "key" / "secret")
    return PredictionLogJob(str(folder), str(folder.parent / "key" / "secret"), **settings)


def model_of(signature, data=None, release=2):
    """A stand-in for serving.model.Model, which the log only asks what it is."""
    warm = {
        each.name: np.zeros(
            (1, *(size or 2 for size in each.shape[1:])), object if each.dtype == "string" else each.dtype
        )
        for each in signature.inputs
    }
    manifest = SimpleNamespace(model="m", version=5)
    return SimpleNamespace(signature=signature, data=data, manifest=manifest, release=release, warm_inputs=warm)


def table_model(names=("age", "city", "note"), release=2):
    """age: a number with mean 40 and deviation 10; city: categorical, "Bern" is common; note: free text."""
    age, city, note = names
    inputs = (
        TensorSpec(age, (None, 1), "float32"),
        TensorSpec(city, (None, 1), "string"),
        TensorSpec(note, (None, 1), "string"),
    )
    columns = (
        Column(age, "numeric", 40.0, 100.0),
        Column(city, "categorical", vocabulary=("Bern", "Thun"), common=("Bern",)),
    )
    output = TensorSpec("out", (None, 2), "float32")
    signature = Signature("classification", "table", inputs, (output,), CLASSES)
    return model_of(signature, DataSpec("table", "classification", inputs, CLASSES, columns), release)


def image_model(side=8, channels=1, release=2):
    inputs = (TensorSpec("image", (None, side, side, channels), "uint8"),)
    signature = Signature("classification", "image", inputs, (TensorSpec("out", (None, 2), "float32"),), CLASSES)
    return model_of(signature, None, release)


def table_answer(model, request_id="r-1", rows=1, caller="ada", at=None, age=41.5, city="Bern", note="a secret"):
    names = [each.name for each in model.signature.inputs]
    inputs = {
        names[0]: np.full((rows, 1), age, np.float32),
        names[1]: np.full((rows, 1), city, object),
        names[2]: np.full((rows, 1), note, object),
    }
    return answer(model, inputs, request_id, rows, caller, at)


def image_answer(model, request_id="r-1", rows=1, caller="ada", at=None):
    shape = (rows, *model.signature.inputs[0].shape[1:])
    pixels = np.random.default_rng(len(request_id)).integers(0, 256, shape).astype(np.uint8)
    return answer(model, {"image": pixels}, request_id, rows, caller, at)


def answer(model, inputs, request_id, rows, caller, at=None):
    shares = np.tile(np.float32([0.25, 0.75]), (rows, 1))
    at = time.time() if at is None else at
    return Answered(request_id, at, caller, "instances", 200, 0.004, model, inputs, rows, {"out": shares}, shares, 100)


def refused(request_id="bad", status=400, at=None):
    return Answered(request_id, time.time() if at is None else at, "ada", "instances", status, 0.001)
