"""The reference says of the holdout what the prediction log would: the same columns, with the same values."""

import gzip
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_log_parts import answer, image_model, model_of
from scipy import stats

from pipelines.workers.label_queue import ACTIONS
from pipelines.workers.reference import maker
from registry.records import Signature, TensorSpec
from retraining.monitoring.names import log_fields
from retraining.monitoring.reference import from_bytes, to_bytes
from retraining.monitoring.sketches import Numbers, numbers
from retraining.monitoring.two_samples import kolmogorov_smirnov
from serving.prediction_log.lines import header, lines
from serving.prediction_log.rules import make_plan
from serving.prediction_log.tables import header_of, segment_tables
from training.data.spec import Column, DataSpec

BATCH = 7
CLASSES = ("no", "yes")
RULES = ("", "value", "bin", "hash", "no")


def tensors(**shapes):
    return tuple(TensorSpec(name, (None, *shape), dtype) for name, (dtype, *shape) in shapes.items())


def mixed_model(classes=CLASSES, out=2):
    """One input of each kind."""
    inputs = tensors(
        age=("float32", 1),
        precise=("float64",),
        count=("int64", 1),
        flag=("bool", 1),
        city=("string", 1),
        note=("string", 1),
        signal=("float32", 3),
        long=("float32", 2000),
    )
    columns = (
        Column("age", "numeric", 40.0, 100.0),
        Column("city", "categorical", vocabulary=("Bern", "Thun", "Zug"), common=("Bern", "Thun")),
    )
    task = "classification" if classes else "regression"
    signature = Signature(task, "table", inputs, tensors(out=("float32", out)), classes)
    return model_of(signature, DataSpec("table", task, inputs, classes, columns))


def mixed_rows(rows, seed=0):
    random = np.random.default_rng(seed)
    age = random.normal(40, 10, (rows, 1)).astype(np.float32)
    age[random.random(rows) < 0.1] = np.nan
    return {
        "age": age,
        "precise": random.normal(size=rows) / 3,
        "count": random.integers(0, 5, (rows, 1)),
        "flag": random.random((rows, 1)) < 0.3,
        "city": random.choice(["Bern", "Thun", "Zug", ""], (rows, 1)).astype(object),
        "note": np.array([[f"secret {each}"] for each in range(rows)], dtype=object),
        "signal": random.random((rows, 3)).astype(np.float32),
        "long": random.random((rows, 2000)).astype(np.float32),
    }


def distribution(rows, classes=2, seed=1):
    scores = np.random.default_rng(seed).random((rows, classes)) + 0.01
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def reference_of(model, inputs, outputs, right=None):
    """As the evaluate worker makes it, batch by batch, the last one first."""
    rows = len(next(iter(outputs.values())))
    data = model.data or DataSpec("npz", model.signature.task, model.signature.inputs, model.signature.classes)
    made = maker(model.signature, data, {name: each[:3] for name, each in outputs.items()})
    for start in reversed(range(0, rows, BATCH)):
        part = slice(start, start + BATCH)
        made.add(start, {name: each[part] for name, each in inputs.items()}, {n: e[part] for n, e in outputs.items()})
    return from_bytes(to_bytes(made.make(inputs, right)))


def logged(folder, model, rules, inputs, outputs):
    """The columns of the log of the same rows, by the names of monitoring: NumPy arrays, or lists of names."""
    plan = make_plan(model.signature, model.data, rules, "features")
    shares = outputs["out"] if model.signature.classes else None
    rows = len(outputs["out"])
    answered = answer(model, inputs, "r", rows, "")._replace(outputs=outputs, probabilities=shares)
    path = folder / "x.v1.jsonl.gz"
    path.write_bytes(gzip.compress(header(model, plan) + b"".join(lines([answered], plan, b"k" * 32))))
    table = pa.concat_tables(segment_tables(path)).combine_chunks()
    for field in log_fields(header_of(table.schema)):
        values = table[field.path[0]]
        for key in field.path[1:]:
            values = pc.struct_field(values, key)
        listed = values.to_pylist()
        if not field.is_list:
            yield field.name, typed(field, values)
        else:
            for place in range(len(listed[0])):
                yield field.at(place), typed(field, pc.list_element(values, place))


def typed(field, values):
    if field.kind == "categories":
        return values.cast(pa.string()).to_pylist()
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


@pytest.mark.parametrize("rule", RULES)
def test_a_column_of_the_log_of_the_same_rows_has_the_very_sketch_of_the_reference(tmp_path, rule):
    rows = 60
    model, inputs, outputs = mixed_model(), mixed_rows(rows), {"out": distribution(rows)}
    reference = reference_of(model, inputs, outputs, np.ones(rows, dtype=bool))
    rules = {name: rule for name in (*inputs, "out") if rule}
    found = dict(logged(tmp_path, model, rules, inputs, outputs))
    compared = found.keys() & reference.columns.keys()
    for name in compared:
        then, now = reference.columns[name], found[name]
        if isinstance(then, Numbers):
            same_sketch(then, numbers(now))
        else:
            counts = Counter(each for each in now if each is not None)
            rest = sum(counts[each] for each in counts.keys() - then.counts.keys())
            assert ({each: counts[each] for each in then.counts}, rest) == (dict(then.counts), then.rest)
            assert then.missing == now.count(None)
    assert compared == EXPECTED[rule] | {"class", "confidence"}
    assert reference.rows == rows


def features(*names):
    return {f"inputs.{name}.{each}" for name in names for each in ("mean", "deviation", "low", "high", "missing")}


NUMBERS = {"inputs.age", "inputs.precise", "inputs.count", "inputs.flag"}
OUT = {"outputs.out[0]", "outputs.out[1]"}
PLACES = {f"inputs.signal[{place}]" for place in range(3)}
EXPECTED = {
    "": NUMBERS | {"inputs.city.bin"} | features("signal", "long") | OUT,
    "value": NUMBERS | {"inputs.city"} | PLACES | features("long") | OUT,
    "bin": {"inputs.age.bin", "inputs.city.bin"} | features("signal", "long") | OUT,
    "hash": set(),
    "no": set(),
}
"""Rule of the log → what can be compared, beside `class` and `confidence`."""


def same_sketch(one, other):
    assert (one.count, one.missing) == (other.count, other.missing)
    for each in ("knots", "below", "upto"):
        assert getattr(one, each).tolist() == getattr(other, each).tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_of_images_their_features_are_the_columns(tmp_path, channels):
    model = image_model(8, channels)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, channels)).astype(np.uint8)
    outputs = {"out": distribution(40)}
    reference = reference_of(model, {"image": pixels}, outputs)
    found = dict(logged(tmp_path, model, {}, {"image": pixels}, outputs))
    assert reference.columns.keys() == found.keys()
    assert ("inputs.image.hues[7]" in found) == (channels == 3)
    for name, sketch in reference.columns.items():
        if isinstance(sketch, Numbers):
            same_sketch(sketch, numbers(found[name]))


def test_of_a_long_output_the_place_and_size_of_its_largest_numbers(tmp_path):
    classes = tuple(f"c{each}" for each in range(50))
    model = mixed_model(classes, 50)
    outputs = {"out": distribution(40, 50)}
    reference = reference_of(model, mixed_rows(40), outputs)
    found = dict(logged(tmp_path, model, {}, mixed_rows(40), outputs))
    assert reference.columns["outputs.out.top[0]"].counts == Counter(found["outputs.out.top[0]"])
    same_sketch(reference.columns["outputs.out.values[4]"], numbers(found["outputs.out.values[4]"]))
    assert "outputs.out.top[1]" not in reference.columns


def test_a_text_that_only_a_few_samples_share_is_nowhere_in_the_file():
    rows = 60
    model, inputs = mixed_model(), mixed_rows(rows)
    inputs["city"][0] = "a rare secret"
    reference = reference_of(model, inputs, {"out": distribution(rows)})
    data = json.dumps(sorted(str(each) for each in reference.columns.items())) + to_bytes(reference).decode("latin-1")
    assert "secret" not in data
    shown = {name: set(each.counts) for name, each in reference.columns.items() if name.startswith("inputs.city")}
    assert shown["inputs.city.bin"] == {"Bern", "Thun"}
    assert shown["inputs.city"] <= {"Bern", "Thun", "Zug", ""}
    assert reference.columns["inputs.city"].rest >= 1


def test_samples_without_an_answer_do_not_count():
    """The API refuses them, so the log never has them."""
    model, inputs, outputs = mixed_model(), mixed_rows(20), {"out": distribution(20)}
    outputs["out"][3:14] = np.nan
    right = np.ones(20, dtype=bool)
    right[3:14] = False
    reference = reference_of(model, inputs, outputs, right)
    assert reference.rows == 9
    same_sketch(reference.columns["inputs.count"], numbers(np.delete(inputs["count"], range(3, 14))))
    assert reference.calibration.right.tolist() == [1.0]
    assert reference.calibration.samples.tolist() == [9]
    outputs["out"][:] = np.nan
    assert reference_of(model, inputs, outputs, right).rows == 0


def test_the_curve_says_how_often_answers_with_a_confidence_were_right():
    rows = 400
    outputs = {"out": distribution(rows)}
    confidence = outputs["out"].max(axis=1)
    right = np.random.default_rng(0).random(rows) < confidence
    curve = reference_of(mixed_model(), mixed_rows(rows), outputs, right).calibration
    assert (np.diff(curve.right) >= 0).all()
    assert curve.samples.sum() == rows
    assert (curve.right * curve.samples).sum() == pytest.approx(right.sum())


def test_scores_that_are_not_probabilities_give_a_class_and_no_confidence():
    outputs = {"out": distribution(30) * 9}
    reference = reference_of(mixed_model(), mixed_rows(30), outputs, np.ones(30, dtype=bool))
    assert "class" in reference.columns
    assert "confidence" not in reference.columns
    assert reference.calibration is None


def test_a_regression_has_neither(tmp_path):
    outputs = {"out": np.random.default_rng(0).normal(size=(30, 1)).astype(np.float32)}
    model = mixed_model((), 1)
    reference = reference_of(model, mixed_rows(30), outputs)
    assert {"class", "confidence"} & reference.columns.keys() == set()
    assert reference.calibration is None
    same_sketch(
        reference.columns["outputs.out"],
        numbers(dict(logged(tmp_path, model, {}, mixed_rows(30), outputs))["outputs.out"]),
    )


def test_a_name_that_two_columns_would_have_is_left_out():
    inputs = tensors(**{"a": ("float32", 2), "a.mean": ("float32", 1)})
    model = model_of(Signature("regression", "array", inputs, tensors(out=("float32", 1))))
    x = {"a": np.ones((9, 2), np.float32), "a.mean": np.ones((9, 1), np.float32)}
    found = reference_of(model, x, {"out": np.ones((9, 1), np.float32)}).columns
    assert "inputs.a.mean" not in found
    assert {"inputs.a.low", "inputs.a[0]"} <= found.keys()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 3000),
    form=st.sampled_from(["normal", "skewed", "spikes", "steps"]),
    shift=st.floats(-1, 1),
)
def test_a_later_sample_is_as_far_from_the_reference_as_from_the_holdout_itself(seed, rows, form, shift):
    random = np.random.default_rng(seed)
    raw = {
        "normal": lambda: random.normal(size=rows),
        "skewed": lambda: random.lognormal(0, 2, rows),
        "spikes": lambda: np.where(random.random(rows) < 0.5, 0.0, random.normal(size=rows)),
        "steps": lambda: random.integers(0, 7, rows).astype(float),
    }[form]().astype(np.float32)
    inputs = tensors(a=("float32", 1))
    model = model_of(Signature("regression", "table", inputs, tensors(out=("float32", 1))))
    made = reference_of(model, {"a": raw[:, None]}, {"out": raw[:, None]}).columns["inputs.a"]
    now = random.choice(raw, 500) + np.float32(shift)
    rounded = np.array([float(f"{each:.7g}") for each in raw], np.float32)  # as the log has it
    assert kolmogorov_smirnov(made, now).statistic == pytest.approx(stats.ks_2samp(rounded, now).statistic, abs=0.005)


def test_of_a_hundred_columns_it_has_less_than_a_megabyte():
    random = np.random.default_rng(0)
    inputs = tensors(**{f"c{each}": ("float32", 1) for each in range(100)})
    data = DataSpec("table", "regression", inputs, (), tuple(Column(each.name, "numeric") for each in inputs))
    model = model_of(Signature("regression", "table", inputs, tensors(out=("float32", 1))), data)
    x = {each.name: random.normal(size=(1000, 1)).astype(np.float32) for each in inputs}
    reference = reference_of(model, x, {"out": random.normal(size=(1000, 1)).astype(np.float32)})
    assert len(reference.columns) == 2 * 100 + 1
    assert len(to_bytes(reference)) < 300_000


def asked_about(folder, reference, model, rules, answers):
    """Which rows the review queue may ask about, of answers in a real log: request → its inputs and outputs."""
    plan = make_plan(model.signature, model.data, rules, "features")
    given = [
        answer(model, inputs, request, len(outputs["out"]), "")._replace(outputs=outputs, probabilities=outputs["out"])
        for request, (inputs, outputs) in answers.items()
    ]
    (folder / "log" / "segments").mkdir(parents=True)
    path = folder / "log" / "segments" / "20261130T040149123Z-abc-000001-9.v1.jsonl.gz"
    path.write_bytes(gzip.compress(header(model, plan) + b"".join(lines(given, plan, b"k" * 32))))
    (folder / "reference.npz").write_bytes(to_bytes(reference))
    job = {"since": "", "most": 1000, "random_share": 1.0, "by": "margin", "others": [], "labels": str(folder / "labels.sqlite"),
           "reference": str(folder / "reference.npz")}  # fmt: skip
    return {(each["request"], each["row"]) for each in ACTIONS["choose"](folder / "log", job)}


def simple_model():
    """Inputs of which the log keeps all that says which sample it is."""
    found = mixed_model()
    inputs = tuple(each for each in found.signature.inputs if each.name != "long")
    return model_of(replace(found.signature, inputs=inputs), replace(found.data, inputs=inputs))


def test_people_are_not_asked_about_what_is_in_the_holdout(tmp_path):
    model, holdout, new = simple_model(), mixed_rows(40), mixed_rows(9, seed=7)
    for each in (holdout, new):
        del each["long"]
    reference = reference_of(model, holdout, {"out": distribution(40)}, np.ones(40, dtype=bool))
    answers = {"old": (holdout, {"out": distribution(40)}), "new": (new, {"out": distribution(9)})}
    found = asked_about(tmp_path, reference, model, dict.fromkeys(holdout, "value"), answers)
    assert found == {("new", row) for row in range(9)}


def test_what_the_log_does_not_keep_enough_of_may_be_asked_about(tmp_path):
    model, holdout = simple_model(), mixed_rows(20)
    del holdout["long"]
    reference = reference_of(model, holdout, {"out": distribution(20)}, np.ones(20, dtype=bool))
    assert len(reference.marks) == 20
    answers = {"old": (holdout, {"out": distribution(20)})}
    assert len(asked_about(tmp_path, reference, model, {"age": "bin"}, answers)) == 20


def test_images_of_the_holdout_are_known_by_their_hash(tmp_path):
    model = image_model()
    images = np.random.default_rng(3).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    reference = reference_of(model, {"image": images[:20]}, {"out": distribution(20)}, np.ones(20, dtype=bool))
    answers = {
        "old": ({"image": images[:20]}, {"out": distribution(20)}),
        "new": ({"image": images[20:]}, {"out": distribution(10)}),
    }
    found = asked_about(tmp_path, reference, model, {}, answers)
    assert found == {("new", row) for row in range(10)}


def test_a_model_with_a_long_array_has_no_marks():
    rows = mixed_rows(10)
    assert reference_of(mixed_model(), rows, {"out": distribution(10)}, np.ones(10, dtype=bool)).marks == frozenset()
