"""What a line holds of inputs and outputs, whatever they are called and whatever they hold."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_log_parts import answer, image_model, model_of, refused, table_answer, table_model

from registry.records import Signature, TensorSpec
from serving.prediction_log.features import of_arrays, of_images, shortened
from serving.prediction_log.lines import header, lines, refused_line
from serving.prediction_log.rules import MOST_TEXT, is_chosen, keyed_hash, make_plan, unknown_columns
from serving.prediction_log.tables import schema_of

KEY = b"k" * 32
RULES = st.sampled_from(["value", "hash", "bin", "no"])


def inputs_of(model, columns=None, images="features", **values):
    plan = make_plan(model.signature, model.data, columns or {}, images)
    (line,) = lines([table_answer(model, **values)], plan, KEY)
    return json.loads(line)["inputs"]


def test_free_text_is_not_kept_unless_the_settings_say_so():
    assert "note" not in inputs_of(table_model())
    assert inputs_of(table_model(), {"note": "value"})["note"] == "a secret"


def test_a_rare_value_of_a_categorical_column_is_not_kept():
    assert inputs_of(table_model(), city="Thun")["city"] is None
    assert inputs_of(table_model(), city="Bern")["city"] == "Bern"


@pytest.mark.parametrize(("age", "found"), [(40.0, 5), (39.9, 4), (10.0, 0), (99.0, 9), (float("nan"), None)])
def test_a_bin_is_a_tenth_of_the_bell_curve_of_the_training_data(age, found):
    assert inputs_of(table_model(), {"age": "bin"}, age=age)["age"] == found


def test_a_bin_without_training_data_is_as_good_as_no():
    model = model_of(table_model().signature)
    assert "age" not in inputs_of(model, {"age": "bin"})


def test_a_hash_is_keyed_and_different_in_every_column():
    found = inputs_of(table_model(), {"city": "hash", "note": "hash"}, city="x", note="x")
    assert found["city"] != found["note"]
    assert found["city"] == keyed_hash(KEY, "city", b"x") != keyed_hash(b"other" * 8, "city", b"x")


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40), rule=st.sampled_from(["hash", "no", "bin"]))
def test_a_text_that_is_hashed_binned_or_left_out_is_nowhere_in_the_line(text, rule):
    secret = f"§{text}§"
    model = table_model()
    plan = make_plan(model.signature, model.data, {"city": rule, "note": rule}, "no")
    (line,) = lines([table_answer(model, city=secret, note=secret)], plan, KEY)
    assert secret not in json.dumps(json.loads(line), ensure_ascii=False)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(
        st.text(min_size=1, max_size=30).filter(lambda name: name.isprintable()), min_size=3, max_size=3, unique=True
    ),
    value=st.text(max_size=30),
    rule=RULES,
)
def test_hostile_names_and_values_stay_in_their_place(names, value, rule):
    _one_line_of_the_schema(names, value, rule)


@pytest.mark.parametrize("name", ["__proto__", "a\nb", 'a"b', "a.b", "inputs", "x" * 10_000, "\\u0000", "😀"])
def test_a_line_stays_one_line_whatever_the_names_are(name):
    _one_line_of_the_schema((name, "b", "c"), "x\n\r\0\u2028" + "y" * 10_000, "value")


def _one_line_of_the_schema(names, value, rule):
    model = table_model(tuple(names))
    plan = make_plan(model.signature, model.data, dict.fromkeys(names, rule), "no")
    (line,) = lines([table_answer(model, city=value, note=value)], plan, KEY)
    assert line.count(b"\n") == 1
    found = json.loads(line)["inputs"]
    assert set(found) <= set(names)
    assert all(len(str(each)) <= MOST_TEXT for each in found.values() if isinstance(each, str))
    schema = schema_of(header(model, plan).rstrip(b"\n"))
    assert schema is not None
    typed = {each.name for each in schema.field("inputs").type} if "inputs" in schema.names else set()
    assert typed == set(found)


@given(st.text(min_size=1, max_size=40), st.floats(0, 1))
def test_a_request_that_is_chosen_is_chosen_with_every_larger_fraction(request_id, fraction):
    chosen = is_chosen(request_id, fraction)
    assert is_chosen(request_id, fraction) == chosen
    assert is_chosen(request_id, min(1.0, fraction * 1.5)) or not chosen


def test_columns_that_the_model_does_not_have_are_named():
    model = table_model()
    plan = make_plan(model.signature, model.data, {"age": "no", "agee": "no"}, "no")
    assert unknown_columns(plan, {"age": "no", "agee": "no"}) == ["agee"]


@pytest.mark.parametrize(("images", "kept"), [("no", False), ("features", True), ("file", True)])
def test_the_settings_say_what_is_kept_of_images(images, kept):
    plan = make_plan(image_model().signature, None, {}, images)
    assert (plan.inputs[0].how != "no") is kept
    assert plan.has_files is (images == "file")


def array_model(size, outputs=2):
    signature = Signature(
        "regression",
        "array",
        (TensorSpec("x", (None, size), "float32"),),
        (TensorSpec("out", (None, outputs), "float32"),),
    )
    return model_of(signature)


def test_a_large_array_is_kept_by_its_features_even_by_value():
    model = array_model(2000)
    plan = make_plan(model.signature, None, {"x": "value"}, "no")
    (line,) = lines([answer(model, {"x": np.ones((1, 2000), np.float32)}, "r", 1, "")], plan, KEY)
    assert json.loads(line)["inputs"]["x"] == {"mean": 1.0, "deviation": 0.0, "low": 1.0, "high": 1.0, "missing": 0.0}


def test_of_a_long_output_the_largest_are_kept():
    model = array_model(2, outputs=1000)
    given_answer = answer(model, {"x": np.ones((1, 2), np.float32)}, "r", 1, "")
    outputs = {"out": np.arange(1000, dtype=np.float32)[None]}
    plan = make_plan(model.signature, None, {}, "no")

    (line,) = lines([given_answer._replace(outputs=outputs, probabilities=None)], plan, KEY)
    assert json.loads(line)["outputs"]["out"] == {"top": [999, 998, 997, 996, 995], "values": [999, 998, 997, 996, 995]}


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_seven_digits_are_what_a_float32_carries(value):
    found = float(shortened(np.array([value], np.float32))[0])
    assert found == pytest.approx(value, rel=1e-6, abs=1e-45)


def test_missing_numbers_of_an_array_are_counted_not_averaged():
    found = of_arrays(np.array([[1, np.nan, 3, np.inf], [np.nan] * 4], np.float32))
    assert found == {
        "mean": [2.0, None], "deviation": [1.0, None], "low": [1.0, None], "high": [3.0, None], "missing": [0.5, 1.0],
    }  # fmt: skip


def noise(side, channels=1, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (1, side, side, channels)).astype(np.uint8)


def test_features_of_images_say_what_they_are_called_for():
    dark, bright = (of_images(np.full((1, 16, 16, 1), value, np.uint8)) for value in (0, 255))
    assert (dark["brightness"], bright["brightness"], bright["contrast"]) == ([0.0], [1.0], [0.0])
    smooth = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))[None, :, :, None]
    assert of_images(noise(16))["sharpness"][0] > of_images(smooth)["sharpness"][0]
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert of_images(red)["hues"] == [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    assert sum(of_images(np.full((1, 16, 16, 3), 9, np.uint8))["hues"][0]) == 0


def test_a_perceptual_hash_is_near_for_near_images_and_far_for_others():
    def bits(batch):
        return int(of_images(batch)["hash"][0], 16)

    image = noise(64) // 4 + np.linspace(0, 180, 64, dtype=np.uint8)[None, :, None, None]
    brighter = (image + 10).astype(np.uint8)
    assert (bits(image) ^ bits(brighter)).bit_count() <= 8
    assert (bits(image) ^ bits(noise(64, seed=5))).bit_count() >= 16


@pytest.mark.parametrize(("side", "channels"), [(1, 1), (2, 3), (28, 1), (130, 3), (300, 4)])
def test_images_of_every_size_have_features(side, channels):
    found = of_images(noise(side, channels))
    assert found["width"] == [side]
    assert all(np.isfinite(found[name]).all() for name in ("brightness", "contrast", "sharpness"))


def test_a_line_says_exactly_who_has_asked_and_when_whatever_their_names_hold():
    model = table_model()
    plan = make_plan(model.signature, model.data, {}, "features")
    asked = [("r-1", "ada", 2), ("r-2", 'a "quoted" \\ name: %d', 1), ("r-3", "é\ud800", 1), ("r-4", "", 1)]
    answers = [table_answer(model, request, rows, caller, at=1_796_000_000.0137) for request, caller, rows in asked]
    slow = answers[0]._replace(request_id="r-5", seconds=12.345678, protocol="")
    found = [json.loads(each) for each in lines([*answers, slow], plan, b"")]
    assert [(each["id"], each["row"], each.get("caller")) for each in found] == [
        ("r-1", 0, "ada"),
        ("r-1", 1, "ada"),
        ("r-2", 0, 'a "quoted" \\ name: %d'),
        ("r-3", 0, "é?"),
        ("r-4", 0, None),
        ("r-5", 0, "ada"),
        ("r-5", 1, "ada"),
    ]
    assert {each["time"] for each in found} == {"2026-11-30T00:53:20.013Z"}
    assert [each["ms"] for each in found] == [4.0] * 5 + [12345.68] * 2
    assert [each.get("protocol") for each in found] == ["instances"] * 5 + [None] * 2


def test_the_line_of_a_refused_request_says_as_much():
    line = json.loads(refused_line(refused("bad", 413, at=1_796_000_000.5), table_model()))
    assert line == {
        "model": "m",
        "version": 5,
        "release": 2,
        "id": "bad",
        "row": None,
        "time": "2026-11-30T00:53:20.500Z",
        "status": 413,
        "caller": "ada",
        "protocol": "instances",
        "ms": 1.0,
    }
