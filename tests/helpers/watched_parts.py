"""What the tests of the monitor share: a model of two numbers and a city, its log, and its reference."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
from prediction_log_parts import log_job, model_of

from pipelines.workers.jobs import MonitoredRelease, MonitorJob, MonitorRules
from registry.records import Signature, TensorSpec
from retraining.monitoring.calibration import calibrate
from retraining.monitoring.reference import Reference, to_bytes
from retraining.monitoring.sketches import categories, numbers
from serving.prediction_log.lines import Answered
from serving.prediction_log.writer import PredictionLog
from training.data.spec import Column, DataSpec

DEFAULT = MonitorRules()
CLASSES = ("cat", "dog", "owl")
MINUTE = 60.0
HOURS_AGO = float(int(time.time() / 3600) * 3600 - 4 * 3600)
"""Where logs of tests begin, in seconds since 1970: nothing of them is too old to be kept."""


def short(values):
    """As the log has them."""
    return np.asarray(values, dtype=np.float32)


def utc(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def pet_model(release=2, names=("age", "mass", "city"), classes=CLASSES, version=5, text=False):
    """`text`: the second input is a text."""
    kinds = ("float32", "string" if text else "float32", "string")
    inputs = tuple(TensorSpec(name, (None, 1), kind) for name, kind in zip(names, kinds, strict=True))
    output = TensorSpec("out", (None, len(classes) or 1), "float32")
    task = "classification" if classes else "regression"
    signature = Signature(task, "table", inputs, (output,), tuple(classes))
    columns = (Column(names[2], "categorical", vocabulary=("Bern", "Thun"), common=("Bern", "Thun")),)
    if text:
        columns += (Column(names[1], "categorical", vocabulary=("s",), common=("s",)),)
    model = model_of(signature, DataSpec("table", task, inputs, classes, columns), release)
    model.manifest = SimpleNamespace(model="m", version=version)
    return model


class Pets:
    """Samples: age and mass are normal, the city is one of two, and the answer is right as often as its confidence says."""

    def __init__(self, count, seed=1, *, shift=0.0, bern=0.5, sure=0.9):
        random = np.random.default_rng(seed)
        self.age = random.normal(40 + 10 * shift, 10, count)
        self.mass = random.normal(4000, 500, count)
        self.city = np.where(random.random(count) < bern, "Bern", "Thun").astype(object)
        self.predicted = random.integers(0, 3, count)
        self.confidence = np.clip(random.normal(sure, 0.05, count), 0.4, 0.99).round(5)
        self.right = random.random(count) < self.confidence
        self.truth = np.where(self.right, self.predicted, (self.predicted + 1) % 3)

    def __len__(self):
        return len(self.age)

    @property
    def shares(self):
        rest = (1 - self.confidence) / 2
        shares = np.repeat(rest[:, None], 3, axis=1)
        shares[np.arange(len(self)), self.predicted] = self.confidence
        return shares.astype(np.float32)

    def reference(self, *, calibrated=True):
        shares = self.shares.astype(float)
        columns = {
            "inputs.age": numbers(short(self.age)),
            "inputs.mass": numbers(short(self.mass)),
            "inputs.city.bin": categories(self.city),
            "class": categories([CLASSES[each] for each in self.predicted]),
            "confidence": numbers(short(self.confidence)),
        }
        columns |= {f"outputs.out[{i}]": numbers(short(shares[:, i].round(6))) for i in range(3)}
        curve = calibrate(self.confidence, self.right) if calibrated else None
        return Reference(len(self), columns, curve)

    def labels(self):
        return [CLASSES[each] for each in self.truth]


def answered(model, pets, at, request_id, *, status=200, seconds=0.004, outputs=None):
    names = [each.name for each in model.signature.inputs]
    rows = len(pets)
    second = np.full(rows, "s", object) if model.signature.inputs[1].dtype == "string" else pets.mass.astype(np.float32)
    inputs = {
        names[0]: pets.age.astype(np.float32).reshape(-1, 1),
        names[1]: second.reshape(-1, 1),
        names[2]: pets.city.reshape(-1, 1),
    }
    shares = pets.shares if outputs is None else outputs
    probabilities = shares if model.signature.classes else None
    return Answered(
        request_id, at, "ada", "instances", status, seconds, model, inputs, rows, {"out": shares}, probabilities, 100
    )


def refused(at, status=500, request_id="bad"):
    return Answered(request_id, at, "ada", "instances", status, 0.001)


def write_log(folder, answers, **settings):
    """One closed segment per release among the answers."""
    log = PredictionLog(log_job(folder, **settings), lambda _: None)
    log.start()
    for each in answers:
        log.offer(each)
    log.close()


def traffic(model, minutes, rows=20, seed=1, every=1.0, start=HOURS_AGO, **pets):
    """A request with so many rows every minute, or `every` few."""
    count = int(minutes / every)
    return [
        answered(model, Pets(rows, seed * 1000 + i, **pets), start + i * every * MINUTE, f"r-{seed}-{i}")
        for i in range(count)
    ]


def monitored(folder, number=2, at=HOURS_AGO - 3600, reference=None, **fields):
    """`reference`: put into a file below `folder`."""
    path = ""
    if reference is not None:
        path = folder / f"reference-{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_bytes(reference))
    defaults = {"classes": CLASSES, "output": "out", "metric": "accuracy", "then": {"accuracy": 0.9}, "samples": 2000}
    return MonitoredRelease(number, utc(at), 5, **defaults | {"reference": str(path)} | fields)


def job(folder, releases, since=HOURS_AGO, until=HOURS_AGO + 3600, rules=DEFAULT, **fields):
    return MonitorJob(
        "m",
        str(folder / "log"),
        str(folder / "labels.sqlite"),
        utc(since),
        utc(until),
        tuple(releases),
        rules,
        **fields,
    )
