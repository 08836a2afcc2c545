"""Occlusion: the part that matters is found, in images, series, several inputs and texts."""

import numpy as np
import pytest

from registry.records import Signature, TensorSpec
from serving.explain.explanation import Explainer, Wanted
from serving.explain.heat_map import heat_map
from serving.explain.target import CannotExplain
from training.data.spec import DataSpec

OUT = (TensorSpec("out", (None, 1), "float32"),)


class Clock:
    """Moved by the model alone."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def explain(function, inputs, kind="array", seconds=10.0, per_row=1e-6, specs=None, **signature):
    """The explanation of the first row by a model that takes `per_row` seconds for each, and the clock."""
    clock = Clock()
    specs = specs or tuple(
        TensorSpec(name, (None, *each.shape[1:]), "string" if each.dtype.kind in "UO" else each.dtype.name)
        for name, each in inputs.items()
    )

    def run(arrays, rows):
        clock.now += per_row * rows
        assert all(
            (len(each) == rows and each.dtype.kind == inputs[name].dtype.kind) or each.dtype == object
            for name, each in arrays.items()
        )
        return {"out": np.asarray(function(**arrays), np.float32).reshape(rows, -1)}

    full = Signature("regression", kind, specs, OUT, **signature)
    data = DataSpec("npz", "regression", specs)
    found = Explainer(run, full, data, run(inputs, len(next(iter(inputs.values())))), clock)(
        inputs, 1, Wanted(seconds)
    )[0]
    return found, clock


def image(size=28):
    image = np.full((1, size, size, 1), 40, np.uint8)
    image[0, 6:9, 20:23] = 250
    return image


def corner(image):
    return (image[:, 6:9, 20:23].astype(np.float64) > 200).mean(axis=(1, 2, 3))


def test_the_patch_that_the_model_looks_at_is_the_hottest():
    found, _ = explain(corner, {"image": image()}, "image")
    assert found.method == "occlusion"
    assert found.heat.shape == (16, 16)
    assert not found.degraded
    y, x = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert 3 <= y <= 5
    assert 11 <= x <= 13
    assert found.heat.max() > 0.3
    assert found.heat[8:].tolist() == np.zeros((8, 16)).tolist()


@pytest.mark.parametrize(("per_row", "side"), [(1e-4, 16), (5e-3, 8), (0.02, 4), (0.12, 2)])
def test_a_slow_model_gets_coarser_patches_and_the_answer_says_so(per_row, side):
    found, clock = explain(corner, {"image": image()}, "image", 0.5, per_row)
    assert found.heat.shape == (side, side)
    assert (found.degraded != "") == (side < 16)
    assert side == 16 or f"{side}x{side} patches" in found.degraded
    assert clock.now <= 4 * 0.5


def test_a_model_that_is_too_slow_for_four_patches_is_refused():
    with pytest.raises(CannotExplain, match="needs about 2,5"):
        explain(corner, {"image": image()}, "image", 0.5, 0.5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 60])
def test_every_pixel_of_an_image_of_any_size_is_in_a_patch(size):
    found, _ = explain(
        lambda image: image.reshape(len(image), -1).max(axis=1), {"image": image(28)[:, :size, :size]}, "image"
    )
    assert found.heat.shape == (min(16, size, 28),) * 2


def test_the_place_in_a_series_that_matters_is_found():
    series = np.sin(np.arange(200.0, dtype=np.float32)).reshape(1, 200, 1) / 10
    series[0, 120:124] = 5
    found, _ = explain(lambda series: series[:, 110:140].mean(axis=(1, 2)), {"series": series})
    best = max(found.parts, key=lambda each: each["value"])
    assert len(found.parts) == 64
    assert best["from"] <= 124
    assert best["to"] >= 120


def test_several_inputs_are_covered_one_by_one():
    inputs = {
        "a": np.array([[2.0]], np.float32),
        "b": np.array([[3.0, 1.0]], np.float32),
        "t": np.array([["yes"]], object),
    }
    found, _ = explain(lambda a, b, t: 2 * a[:, 0] + b[:, 0] * (t[:, 0] == "yes"), inputs)
    values = {(each["input"], each.get("from")): each["value"] for each in found.parts}
    assert values == pytest.approx({("a", 0): 4.0, ("b", 0): 1.0, ("b", 1): 0.0, ("t", 0): 3.0})


def test_word_numbers_are_covered_with_0():
    inputs = {"words": np.array([[5, 9, 7]], np.int32)}
    found, _ = explain(lambda words: (words == 9).any(axis=1), inputs)
    assert [each["value"] for each in found.parts] == [0, 1, 0]


def test_the_word_that_matters_is_found_with_its_place():
    text = np.array(["not  so bad at all"], object)
    found, _ = explain(lambda text: [each.count("bad") * 2 - each.count("not") for each in text], {"text": text})
    assert [(each["text"], each["value"]) for each in found.parts] == [
        ("not", -1),
        ("so", 0),
        ("bad", 2),
        ("at", 0),
        ("all", 0),
    ]
    assert all(str(text[0])[each["from"] : each["to"]] == each["text"] for each in found.parts)


def test_of_a_language_without_blanks_each_character_is_a_word():
    found, _ = explain(lambda text: ["好" in each for each in text], {"text": np.array(["不太好"], object)})
    assert [(each["text"], each["value"]) for each in found.parts] == [("不", 0), ("太", 0), ("好", 1)]


def test_a_long_text_has_a_bounded_number_of_parts_and_calls_a_bounded_size():
    text = "word " * 40_000 + "bad"
    sizes = []

    def count(text):
        sizes.append(sum(map(len, text)))
        return ["bad" in each for each in text]

    found, _ = explain(count, {"text": np.array([text], object)})
    assert len(found.parts) == 256
    assert found.parts[-1]["value"] == 1
    assert max(sizes) <= 16 << 20
    assert max(len(each["text"]) for each in found.parts) <= 200


def test_a_text_without_a_word_is_refused():
    with pytest.raises(CannotExplain, match="no word"):
        explain(lambda text: [0] * len(text), {"text": np.array(["  "], object)})


def test_the_heat_map_is_red_where_it_speaks_for_the_answer_and_blue_where_against():
    from io import BytesIO

    from PIL import Image

    heat = np.zeros((4, 4))
    heat[0, 0], heat[3, 3] = 2.0, -2.0
    image = np.asarray(Image.open(BytesIO(heat_map(np.full((28, 28, 1), 128, np.uint8), heat))).convert("RGB"), int)
    assert image.shape == (252, 252, 3)
    red, blue = image[10, 10], image[-10, -10]
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80
    assert image[126, 126].tolist() == pytest.approx([128] * 3, abs=10)
