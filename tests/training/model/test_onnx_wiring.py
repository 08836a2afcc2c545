"""A team's ONNX file against the dataset: inputs and classes are matched by name, or refused with the way out."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import (
    DOUBLE,
    FLOAT,
    INT64,
    STRING,
    attribute,
    end,
    graph,
    linear,
    mixed,
    model,
    network,
    node,
    sum_of,
    tensor,
    varint,
    zipped,
)  # fmt: skip
from saved_models import field
from training_parts import images, numbers, shop, weather

from registry.errors import ConfigError
from registry.records import TensorSpec
from training.data.spec import DataSpec
from training.model.onnx_classes import class_columns
from training.model.samples import Samples

pytest.importorskip("onnxruntime")
from training.model.onnx_runtime import OnnxModel
from training.model.onnx_wiring import wire_onnx


def wired(tmp_path, data, dataset, samples=40):
    """The file in use: what it was matched as, and the loaded model with what goes in."""
    spec, x, y = dataset(samples, 3) if callable(dataset) else dataset
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    found = wire_onnx(path, spec, Samples(spec.inputs, x, y), "the model of train.py")
    cast = {e.name: x[e.name] if e.dtype == "string" else x[e.name].astype(e.dtype) for e in found.signature.inputs}
    answers = OnnxModel(path, found.signature, found.wiring)(cast)
    np.testing.assert_allclose(answers, found.answers, rtol=1e-5, atol=1e-6)
    return found, answers, y


def refused(tmp_path, data, dataset):
    with pytest.raises(ConfigError) as error:
        wired(tmp_path, data, dataset)
    assert str(error.value).startswith("the model of train.py: ")
    assert error.value.hint
    return f"{error.value} / {error.value.hint}"


def flat(samples=40, seed=3, classes=("x", "y", "z")):
    """Three numbers, the largest of which is the class."""
    x = np.random.default_rng(seed).normal(0, 3, (samples, 3)).astype(np.float32)
    spec = DataSpec("npz", "classification", (TensorSpec("x", (None, 3), "float32"),), tuple(classes))
    return spec, {"x": x}, x.argmax(axis=1)


EYE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_columns_of_numbers_and_texts_go_in_by_name(tmp_path):
    found, answers, y = wired(tmp_path, mixed(), shop)
    assert [(each.name, each.dtype, each.tensor) for each in found.signature.inputs] == [
        ("age", "float32", "age"), ("colour", "string", "colour"),
    ]  # fmt: skip
    assert (answers.argmax(axis=1) == y).all()
    assert found.signature.kind == "table"


def test_classes_in_another_order_than_the_datasets_are_put_into_it(tmp_path):
    found, answers, y = wired(tmp_path, mixed(("yes", "no")), shop)
    assert found.wiring.classes == (1, 0)
    assert (answers.argmax(axis=1) == y).all()


def test_the_order_of_classes_is_taken_from_labels_where_no_operator_says_it(tmp_path):
    nodes = [
        node("Softmax", ["x"], ["probabilities"]),
        node("ArgMax", ["x"], ["index"], *axis(1, keep=0)),
        node("Gather", ["names", "index"], ["label"]),
    ]
    ends = [end("label", STRING, "batch"), end("probabilities", FLOAT, "batch", 3)]
    names = b"\x08\x03\x10\x08" + b"".join(b"\x32\x01" + each for each in (b"z", b"x", b"y")) + b"\x42\x05names"
    swapped = model(graph([node("Gather", ["given", "places"], ["x"], *axis(1)), *nodes],
                          [end("given", FLOAT, "batch", 3)], ends, [names, places([2, 0, 1])]))  # fmt: skip
    found, answers, y = wired(tmp_path, swapped, flat)
    assert found.wiring.classes == (1, 2, 0)
    assert (answers.argmax(axis=1) == y).all()


def axis(value, keep=None):
    return [attribute("axis", whole=value)] + ([attribute("keepdims", whole=keep)] if keep is not None else [])


def places(values):
    return (
        field(8, "places")
        + varint(1, len(values))
        + varint(2, INT64)
        + field(9, struct.pack(f"<{len(values)}q", *values))
    )


def test_probabilities_alone_want_the_order_of_their_classes_in_the_metadata(tmp_path):
    swapped = [EYE[2], EYE[0], EYE[1]]
    data = network(np.transpose(swapped).tolist(), [0, 0, 0], metadata={"classes": ["z", "x", "y"]})
    found, answers, y = wired(tmp_path, data, flat)
    assert found.wiring.classes == (1, 2, 0)
    assert (answers.argmax(axis=1) == y).all()
    assert "onnx.helper.set_model_props" in refused(tmp_path, network(EYE, [0, 0, 0]), flat)
    wrong = network(EYE, [0, 0, 0], metadata={"classes": ["x", "y", "w"]})
    assert "its metadata classes are x, y, w; the dataset's are x, y, z" in refused(tmp_path, wrong, flat)


def test_names_that_contradict_each_other_are_refused(tmp_path):
    data = linear("xyz", EYE, [0, 0, 0], metadata={"classes": ["y", "z", "x"]})
    assert "its label output contradicts the order y, z, x" in refused(tmp_path, data, flat)
    assert "its label output says q" in refused(tmp_path, linear("xyq", EYE, [0, 0, 0]), flat)


def test_one_input_takes_all_columns_side_by_side_in_the_order_that_the_file_says(tmp_path):
    dataset = lambda samples, seed: shop(samples, seed, text=False)  # noqa: E731
    data = linear(["no", "yes"], [[-1, 1], [0, 0]], [40, -40], columns="X")
    found, answers, _ = wired(tmp_path, data, dataset)
    assert found.wiring.columns == "X"
    assert (answers.argmax(axis=1) == (dataset(40, 3)[1]["age"][:, 0] > 40)).all()
    turned = linear(["no", "yes"], [[0, 0], [-1, 1]], [40, -40], columns="X", metadata={"columns": ["size", "age"]})
    found, answers, _ = wired(tmp_path, turned, dataset)
    assert [each.name for each in found.signature.inputs] == ["size", "age"]
    assert (answers.argmax(axis=1) == (dataset(40, 3)[1]["age"][:, 0] > 40)).all()
    wrong = linear(["no", "yes"], [[0, 0], [-1, 1]], [40, -40], columns="X", metadata={"columns": ["size", "weight"]})
    assert "its metadata columns are not those of the dataset: age, weight" in refused(tmp_path, wrong, dataset)


@pytest.mark.parametrize("shape", [("batch", 1), ("batch",)], ids=["column", "vector"])
def test_a_regression_answers_one_number_per_sample(tmp_path, shape):
    found, answers, y = wired(tmp_path, sum_of(["a", "b"], [2, 3], shape=shape), numbers)
    np.testing.assert_allclose(answers[:, 0], y, rtol=1e-5)
    assert [(each.name, each.shape) for each in found.signature.outputs] == [("prediction", (None, 1))]


def test_a_name_that_skl2onnx_writes_otherwise_is_found(tmp_path):
    spec, x, y = numbers(20, 1)
    named = {"a": "km/h (mean)", "b": "b"}
    inputs = tuple(TensorSpec(named[each.name], each.shape, each.dtype) for each in spec.inputs)
    dataset = (DataSpec("table", "regression", inputs, (), (), "c"), {named[name]: each for name, each in x.items()}, y)
    found, answers, _ = wired(tmp_path, sum_of(["km_h__mean_", "b"], [2, 3]), dataset)
    assert found.signature.inputs[0].tensor == "km_h__mean_"
    np.testing.assert_allclose(answers[:, 0], y, rtol=1e-5)


def one_number(metadata):
    nodes = [node("Sigmoid", ["x"], ["s"]), node("ReduceMean", ["s"], ["p"], *axis_of_mean())]
    return model(
        graph(nodes, [end("x", FLOAT, "batch", 3)], [end("p", FLOAT, "batch", 1)]), opset=13, metadata=metadata
    )


def axis_of_mean():
    return [attribute("axes", ints=(1,))]


@pytest.mark.parametrize(("order", "columns"), [(["a", "b"], (-1, 0)), (["b", "a"], (0, -1))])
def test_one_number_for_two_classes_is_the_probability_of_the_second_name(tmp_path, order, columns):
    spec, x, y = flat()
    dataset = (DataSpec("npz", "classification", spec.inputs, ("a", "b")), x, y % 2)
    found, answers, _ = wired(tmp_path, one_number({"classes": order}), dataset)
    assert found.wiring.classes == columns
    expected = (1 / (1 + np.exp(-x["x"]))).mean(axis=1)
    np.testing.assert_allclose(answers[:, order.index(order[1]) if order == ["a", "b"] else 0], expected, rtol=1e-5)


REFUSED = {
    "zipmap": (zipped(), flat, ["made by ZipMap", '"zipmap": False']),
    "one at a time": (
        model(graph([node("Softmax", ["x"], ["p"])], [end("x", FLOAT, 1, 3)], [end("p", FLOAT, 1, 3)])),
        flat,
        ["takes 1 sample(s) at a time", "dynamic_shapes"],
    ),
    "scores": (
        model(graph([node("Identity", ["x"], ["s"])], [end("x", FLOAT, "batch", 3)], [end("s", FLOAT, "batch", 3)])),
        flat,
        ["not probabilities", "softmax"],
    ),
    "fewer classes": (network([[1, 0]] * 3, [0, 0]), flat, ["the dataset has 3 classes"]),
    "another shape": (network([[1, 0, 0]] * 4, [0, 0, 0]), flat, ["it takes float32 ['?', 4] as x", "into what is exported"]),
    "missing column": (sum_of(["a"], [2]), numbers, ["takes ['?', 1]", "2 columns"]),
    "unknown column": (
        sum_of(["a", "c", "d"], [1, 1, 1]),
        numbers,
        ["3 inputs, the dataset has 2", "not among its inputs: b", "not in the dataset: c, d", "ignore"],
    ),
    "labels only": (
        model(graph([node("ArgMax", ["x"], ["label"])], [end("x", FLOAT, "batch", 3)], [end("label", INT64, "batch")])),
        flat,
        ["the outputs label (tensor(int64))", "predict_proba"],
    ),
    "texts as numbers": (network(EYE, [0, 0, 0]), shop, ["the dataset has 2 of numbers and texts"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_suit_the_dataset_is_refused_with_the_way_out(tmp_path, name):
    data, dataset, words = REFUSED[name]
    said = refused(tmp_path, data, dataset)
    for each in words:
        assert each in said


def test_a_dtype_that_would_change_the_datasets_numbers_is_refused(tmp_path):
    nodes = [node("Cast", ["x"], ["f"], cast_to(FLOAT)), node("Softmax", ["f"], ["p"])]
    data = model(
        graph(nodes, [end("x", INT64, "batch", 3)], [end("p", FLOAT, "batch", 3)]),
        metadata={"classes": ["x", "y", "z"]},
    )
    assert "it takes x as int64, in which the dataset's numbers are other ones" in refused(tmp_path, data, flat)
    whole = (flat()[0], {"x": flat()[1]["x"].round()}, flat()[2])
    found, _, _ = wired(tmp_path, data, whole)
    assert found.signature.inputs[0].dtype == "int64"


def cast_to(kind):
    return attribute("to", whole=kind)


def test_numbers_of_64_bits_are_taken_and_answered_as_the_file_has_them(tmp_path):
    nodes = [node("Cast", ["x"], ["f"], cast_to(FLOAT)), node("Softmax", ["f"], ["p"])]
    data = model(
        graph(nodes, [end("x", DOUBLE, "batch", 3)], [end("p", FLOAT, "batch", 3)]),
        metadata={"classes": ["x", "y", "z"]},
    )
    found, answers, y = wired(tmp_path, data, flat)
    assert found.signature.inputs[0].dtype == "float64"
    assert answers.dtype == np.float32
    assert (answers.argmax(axis=1) == y).all()


def test_an_answer_that_depends_on_the_other_samples_is_refused(tmp_path):
    nodes = [node("Sub", ["x", "m"], ["c"]), node("Softmax", ["c"], ["p"])]
    nodes.insert(0, node("ReduceMax", ["x"], ["m"], *axis_over_rows()))
    data = model(
        graph(nodes, [end("x", FLOAT, "batch", 3)], [end("p", FLOAT, "batch", 3)]),
        opset=13,
        metadata={"classes": ["x", "y", "z"]},
    )
    assert "otherwise when it is in a batch of" in refused(tmp_path, data, flat)


def axis_over_rows():
    return [attribute("axes", ints=(0,)), attribute("keepdims", whole=1)]


def with_holes(missing):
    spec, x, y = numbers(40, 3)
    x["a"][::7] = np.nan
    inputs = tuple(replace(each, may_miss=each.name == "a") for each in spec.inputs)
    columns = tuple(replace(each, has_missing=each.name == "a") for each in spec.columns)
    return replace(spec, inputs=inputs, columns=columns, missing=missing), x, y


def test_missing_values_are_for_the_file_itself_to_fill_in(tmp_path):
    said = refused(tmp_path, sum_of(["a", "b"], [2, 3]), with_holes("impute"))
    assert "inside of a Keras model only" in said
    assert "SimpleImputer" in said
    said = refused(tmp_path, sum_of(["a", "b"], [2, 3]), with_holes("keep"))
    assert "it answers NaN for 6 of 40 validation samples" in said
    nodes = [
        node("IsNaN", ["a"], ["hole"]),
        node("Where", ["hole", "zero", "a"], ["filled"]),
        node("Sum", ["filled", "b"], ["p"]),
    ]
    ends = [end(name, FLOAT, "batch", 1) for name in "ab"], [end("p", FLOAT, "batch", 1)]
    found, answers, _ = wired(tmp_path, model(graph(nodes, *ends, [tensor("zero", [0.0], [1])])), with_holes("keep"))
    assert [each.may_miss for each in found.signature.inputs] == [True, False]
    assert np.isfinite(answers).all()


def test_an_image_goes_in_as_the_dataset_has_it(tmp_path):
    nodes = [node("Cast", ["pixels"], ["f"], cast_to(FLOAT)), node("ReduceMean", ["f"], ["a"], *mean_over_rows()),
             node("Gather", ["a", "places"], ["g"], *axis(1)), node("Softmax", ["g"], ["p"])]  # fmt: skip
    ends = [end("pixels", FLOAT, "batch", 6, 6, 1)], [end("p", FLOAT, "batch", 3)]
    data = model(graph(nodes, *ends, [places([0, 2, 4])]), opset=13, metadata={"classes": ["left", "middle", "right"]})
    found, answers, y = wired(tmp_path, data, images)
    assert found.signature.kind == "image"
    assert (found.signature.inputs[0].low, found.signature.inputs[0].high) == (0.0, 255.0)
    assert (answers.argmax(axis=1) == y).mean() > 0.9


def mean_over_rows():
    return [attribute("axes", ints=(1, 3)), attribute("keepdims", whole=0)]


@given(st.data())
def test_whatever_the_order_of_the_model_each_class_gets_its_own_column(data):
    names = data.draw(
        st.lists(
            st.text(st.characters(categories=("L", "N")), min_size=1, max_size=5), min_size=2, max_size=6, unique=True
        )
    )
    order = data.draw(st.permutations(names))
    rows = np.random.default_rng(data.draw(st.integers(0, 99))).dirichlet(np.full(len(names), 0.2), 60)
    labels = np.array(order)[rows.argmax(axis=1)]
    how = data.draw(st.sampled_from(("metadata", "declared", "observed")))
    metadata = json.dumps(order) if how == "metadata" else ""
    declared = [list(names), list(order)] if how == "declared" else []
    if how == "observed" and len(set(labels)) < len(names) - 1:
        return
    columns = class_columns(names, rows, labels, metadata, declared)
    assert [order[each] for each in columns] == names


def test_an_order_that_nothing_shows_is_refused():
    rows = np.array([[0.8, 0.1, 0.1]] * 9)
    with pytest.raises(ConfigError, match="some class is never the most probable one"):
        class_columns(["a", "b", "c"], rows, ["a"] * 9, "", [])
    with pytest.raises(ConfigError, match="nothing in it says which class"):
        class_columns(["a", "b", "c"], rows, None, "", [["a", "b", "c"], ["c", "b", "a"]])


def test_labels_that_count_are_names_only_beside_the_metadata():
    rows = np.eye(3)[[0, 1, 2, 2]]
    with pytest.raises(ConfigError, match="its label output says 0, 1, 2"):
        class_columns(["a", "b", "c"], rows, np.array([0, 1, 2, 2]), "", [["0", "1", "2"]])
    assert class_columns(["a", "b", "c"], rows, np.array([0, 1, 2, 2]), '["c", "a", "b"]', []) == (1, 2, 0)
    assert class_columns(["0", "1", "2"], rows, np.array([0, 1, 2, 2]), "", [["0", "1", "2"]]) == (0, 1, 2)


def of_two(targets=("near", "far")):
    spec, x, _ = flat()
    y = np.stack([x["x"][:, 0], x["x"][:, 1]], axis=1)
    return replace(spec, task="regression", classes=(), targets=targets), x, y


def regression_of(columns):
    """The first so many of three numbers, as they are."""
    weights = tensor("w", [float(row == column) for row in range(3) for column in range(columns)], [3, columns])
    ends = [end("variable", FLOAT, "batch", columns)]
    return model(graph([node("MatMul", ["x", "w"], ["variable"])], [end("x", FLOAT, "batch", 3)], ends, [weights]))


def test_several_targets_are_the_columns_of_one_output(tmp_path):
    found, answers, y = wired(tmp_path, regression_of(2), of_two())
    assert np.allclose(answers, y)
    assert (found.signature.targets, found.signature.outputs[0].shape) == (("near", "far"), (None, 2))


@pytest.mark.parametrize(
    ("columns", "targets", "said"),
    [(3, ("near", "far"), "2 numbers are wanted, one per target"), (2, (), "one number is wanted")],
)
def test_another_number_of_targets_is_refused(tmp_path, columns, targets, said):
    assert said in refused(tmp_path, regression_of(columns), of_two(targets))


def labels_of(order=(0, 1, 2), end_with="Sigmoid", metadata=None):
    """The weather's labels by its own rules, in this order."""
    rules = {0: {0: 9, 1: 9}, 1: {2: 9}, 2: {3: 9, 0: -9}}
    limits = [[-3.6, -1.8, -8.1][each] for each in order]
    weights = tensor("w", [float(rules[each].get(row, 0)) for row in range(6) for each in order], [6, len(order)])
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "b"], ["s"]),
        node(end_with, ["s"], ["probabilities"]),
    ]
    ends = [end("probabilities", FLOAT, "batch", len(order))]
    inputs = [end("x", FLOAT, "batch", 6)]
    return model(graph(nodes, inputs, ends, [weights, tensor("b", limits, [len(order)])]), metadata=metadata)


@pytest.mark.parametrize(("order", "metadata"), [((0, 1, 2), None), ((2, 0, 1), {"classes": ["fog", "rain", "wind"]})])
def test_labels_are_the_columns_of_one_output_in_their_order_or_that_of_the_metadata(tmp_path, order, metadata):
    found, answers, y = wired(tmp_path, labels_of(order, metadata=metadata), weather, 200)
    assert ((answers >= 0.5) == (y == 1)).all()
    signature = found.signature
    assert (signature.task, signature.classes, signature.threshold) == ("multi-label", ("rain", "wind", "fog"), 0.5)
    assert (signature.outputs[0].name, signature.outputs[0].shape) == ("probabilities", (None, 3))
    assert found.wiring.classes == tuple(order.index(each) for each in range(3))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (labels_of(end_with="Softmax"), "end with one sigmoid per label"),
        (labels_of(end_with="Identity"), "are not probabilities: they are not between 0 and 1"),
        (labels_of((0, 1)), "the dataset has 3 labels / one probability per label"),
        (labels_of(metadata={"classes": ["rain", "wind", "snow"]}), "its metadata classes are rain, wind, snow"),
    ],
    ids=["softmax", "logits", "too few", "another label"],
)
def test_a_file_that_does_not_give_one_probability_per_label_is_refused(tmp_path, data, said):
    assert said in refused(tmp_path, data, weather)


def test_a_score_of_anomalies_is_the_only_number_of_a_file(tmp_path):
    spec, x, _ = flat()
    anomalies = replace(spec, task="anomaly", classes=()), x, np.zeros(40, np.float32)
    found, answers, _ = wired(tmp_path, regression_of(1), anomalies)
    assert (found.signature.task, found.signature.outputs[0].name) == ("anomaly", "score")
    assert np.allclose(answers[:, 0], x["x"][:, 0])
    assert "one number is wanted" in refused(tmp_path, regression_of(2), anomalies)
