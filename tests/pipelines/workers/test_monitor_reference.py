"""What `evaluate` keeps of the holdout and what the API keeps of its answers have the same names and types: every rule, every kind."""

from types import SimpleNamespace

import numpy as np
import pytest
from watched_parts import HOURS_AGO, MINUTE, job, monitored, write_log

from pipelines.workers import monitor
from pipelines.workers.jobs import MonitorRules
from pipelines.workers.reference import maker
from registry.records import Signature, TensorSpec
from serving.prediction_log.lines import Answered
from training.data.spec import Column, DataSpec

ROWS = 400
RULES = MonitorRules(min_rows=200)


def model_of(signature, data):
    warm = {each.name: np.zeros((1, *(size or 2 for size in each.shape[1:])), each.dtype if each.dtype != "string" else object) for each in signature.inputs}  # fmt: skip
    manifest = SimpleNamespace(model="m", version=5)
    return SimpleNamespace(signature=signature, data=data, manifest=manifest, release=2, warm_inputs=warm)


def shares(random, rows, classes):
    sizes = np.exp(random.normal(size=(rows, classes)) * 2)
    return (sizes / sizes.sum(axis=1, keepdims=True)).astype(np.float32)


def images(colours=3, classes=3):
    """Noise of some brightness; the answers are a matter of chance."""
    inputs = (TensorSpec("image", (None, 8, 8, colours), "uint8", 0, 255),)
    names = tuple(f"c{i:02d}" for i in range(classes))
    signature = Signature("classification", "image", inputs, (TensorSpec("out", (None, classes), "float32"),), names)

    def make(random, rows, shift):
        light = random.integers(40, 160, (rows, 1, 1, 1)) + 60 * shift
        pixels = np.clip(light + random.integers(-30, 30, (rows, 8, 8, colours)), 0, 255).astype(np.uint8)
        return {"image": pixels}, {"out": shares(random, rows, classes)}

    return signature, DataSpec("images", "classification", inputs, names), make


def table():
    inputs = (
        TensorSpec("mass, in g", (None, 1), "float32"),
        TensorSpec("city", (None, 1), "string"),
        TensorSpec("count", (None, 1), "int64"),
    )
    columns = (
        Column("mass, in g", "numeric", 100.0, 25.0),
        Column("city", "categorical", vocabulary=("Bern", "Thun"), common=("Bern", "Thun")),
        Column("count", "numeric", 10.0, 9.0),
    )
    signature = Signature("regression", "table", inputs, (TensorSpec("price", (None, 1), "float32"),), target="price")

    def make(random, rows, shift):
        mass = random.normal(100 + 5 * shift, 5, (rows, 1)).astype(np.float32)
        mass[::50] = np.nan
        city = np.where(random.random((rows, 1)) < 0.5, "Bern", "Thun").astype(object)
        count = random.poisson(10, (rows, 1)).astype(np.int64)
        return {"mass, in g": mass, "city": city, "count": count}, {"price": np.nan_to_num(mass) * 2}

    return signature, DataSpec("table", "regression", inputs, columns=columns), make


def signals():
    inputs = (TensorSpec("signal", (None, 4), "float32"), TensorSpec("long", (None, 100), "float32"))
    names = ("a", "b")
    signature = Signature("classification", "array", inputs, (TensorSpec("out", (None, 2), "float32"),), names)

    def make(random, rows, shift):
        x = {"signal": random.normal(shift, 1, (rows, 4)).astype(np.float32), "long": random.normal(size=(rows, 100)).astype(np.float32)}  # fmt: skip
        return x, {"out": shares(random, rows, 2)}

    return signature, DataSpec("npz", "classification", inputs, names), make


CASES = {
    "grey images": (images(1), {}, "inputs.image.brightness"),
    "coloured images": (images(3), {}, "inputs.image.brightness"),
    "many classes": (images(1, 40), {}, "inputs.image.brightness"),
    "a table": (table(), {}, "inputs.mass, in g"),
    "a table in bins": (table(), {"mass, in g": "bin", "count": "bin"}, "inputs.mass, in g.bin"),
    "a table, texts by value": (table(), {"city": "value"}, "inputs.mass, in g"),
    "features of arrays": (signals(), {}, "inputs.signal.mean"),
    "arrays by value": (signals(), {"signal": "value"}, "inputs.signal[2]"),
}


def look(folder, case, shift):
    (signature, data, make), columns, _ = case
    random = np.random.default_rng(7)
    x, outputs = make(random, 4000, 0.0)
    made = maker(signature, data, outputs)
    for start in range(0, 4000, 500):
        part = slice(start, start + 500)
        made.add(
            start, {name: each[part] for name, each in x.items()}, {name: each[part] for name, each in outputs.items()}
        )
    right = np.ones(4000, dtype=bool) if signature.classes else None
    reference = made.make(x, right)
    model, answers = model_of(signature, data), []
    for i in range(10):
        x, outputs = make(random, ROWS // 10, shift)
        probabilities = outputs["out"] if signature.classes else None
        at = HOURS_AGO + i * MINUTE
        answers.append(
            Answered(f"r-{i}", at, "", "instances", 200, 0.001, model, x, ROWS // 10, outputs, probabilities, 1)
        )
    write_log(folder / "log", answers, columns=columns)
    release = monitored(folder, reference=reference, classes=signature.classes, then={"accuracy": 1.0})
    (health,) = monitor.look(job(folder, [release], until=HOURS_AGO + 15 * MINUTE, rules=RULES)).health
    return health, reference


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_log_of_the_same_population_passes_and_leaves_nothing_out(tmp_path, case):
    health, _ = look(tmp_path, case, 0.0)
    assert [each.reason for each in health.failed if each.kind == "drift"] == []
    assert [each for each in health.notes if "reference" in each] == []
    assert case[2] in {each.column for each in health.checks if each.outcome == "passed"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_log_of_another_population_does_not(tmp_path, case):
    health, _ = look(tmp_path, case, 1.0)
    assert case[2] in {each.column for each in health.failed}
