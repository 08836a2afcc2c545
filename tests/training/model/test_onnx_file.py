"""What is in an ONNX file is looked through before ONNX Runtime loads it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import attribute, classical, end, graph, linear, mixed, model, network, node, sum_of, tensor, varint
from saved_models import field

from registry.errors import ConfigError, Corrupt
from training.model.onnx_file import MAX_DEPTH, check_onnx
from training.model.onnx_operators import ALLOWED

IDENTITY = node("Identity", ["x"], ["y"])
X, Y = end("x", 1, "batch", 2), end("y", 1, "batch", 2)


@pytest.fixture
def said(tmp_path):
    """What is said of a file; empty when it is taken."""

    def say(data, kind=ConfigError):
        path = tmp_path / "model.onnx"
        path.write_bytes(data)
        try:
            check_onnx(path)
        except (ConfigError, Corrupt) as error:
            assert type(error) is kind, error
            assert str(error).startswith(str(path))
            assert error.hint
            return str(error)
        return ""

    return say


def of(*nodes, weights=(), **more):
    return model(graph(nodes, [X], [Y], weights), **more)


@pytest.mark.parametrize(
    "data", [mixed(), linear("ab", [[1, 0], [0, 1]], [0, 0]), network([[1, 0]], [0, 0]), sum_of("ab", [2, 3])]
)
def test_a_model_of_standard_operators_is_taken(said, data):
    assert said(data) == ""


def test_the_names_of_classes_and_the_metadata_are_read(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear(["cat", "dog"], [[1, 0], [0, 1]], [0, 0], metadata={"classes": ["cat", "dog"]}))
    found = check_onnx(path)
    assert found.classes == (("cat", "dog"),)
    assert found.metadata == {"classes": '["cat", "dog"]'}


def test_whole_numbers_as_names_of_classes_are_read_with_their_sign(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(
        of(classical("LinearClassifier", ["x"], ["l", "y"], attribute("classlabels_ints", ints=(-1, 0, 300))))
    )
    assert check_onnx(path).classes == (("-1", "0", "300"),)


@pytest.mark.parametrize(
    ("domain", "operator"),
    [("my.company", "Magic"), ("com.microsoft", "FusedMatMul"), ("", "RandomNormal"), ("", "ImageDecoder"), ("", ""),
     ("ai.onnx.training", "Adam"), ("ai.onnx.ml", "MatMul"), ("", "TreeEnsemble")],
)  # fmt: skip
def test_an_operator_that_is_not_of_the_standard_is_refused_with_its_node(said, domain, operator):
    words = said(of(IDENTITY, node(operator, ["x"], ["z"], domain=domain, name="layer_3")))
    assert f"operator {operator} of the domain {domain or 'ai.onnx'} is not allowed" in words
    assert "layer_3" in words


def test_an_operator_in_the_body_of_another_one_is_found(said):
    inner = graph([node("Magic", ["x"], ["z"], domain="my.company")])
    assert "Magic" in said(of(node("If", ["c"], ["y"], attribute("then_branch", graph=inner))))


def test_graphs_within_graphs_have_a_bound(said):
    inner = graph([IDENTITY])
    for _ in range(MAX_DEPTH + 2):
        inner = graph([node("If", ["c"], ["y"], attribute("then_branch", graph=inner))])
    assert "nested deeper" in said(model(inner), Corrupt)


@pytest.mark.parametrize(
    "data",
    [
        of(IDENTITY, weights=[tensor("w", [1.0], [1], external=True)]),
        of(node("Constant", [], ["y"], attribute("value", tensor_of=tensor("w", [1.0], [1], external=True)))),
        of(
            node(
                "If",
                ["c"],
                ["y"],
                attribute("else_branch", graph=graph([], weights=[tensor("w", [1.0], [1], external=True)])),
            )
        ),
        model(graph([IDENTITY], [X], [Y]) + field(15, field(1, tensor("w", [1.0], [1], external=True)))),
    ],
    ids=["initializer", "constant", "branch", "sparse"],
)
def test_numbers_in_another_file_are_refused_wherever_they_are_named(said, data):
    assert "the numbers of w are in another file" in said(data)


def test_a_tensor_of_absurd_size_is_refused(said):
    assert "elements" in said(of(IDENTITY, weights=[tensor("w", [1.0], [1 << 20, 1 << 20])]), Corrupt)


def test_versions_that_the_runtime_does_not_know_are_refused(said):
    assert "opset 99 of ai.onnx, ONNX Runtime knows up to" in said(of(IDENTITY, opset=99))
    assert "opset 99 of ai.onnx.ml" in said(of(IDENTITY, classical_opset=99))
    assert "IR version 99" in said(of(IDENTITY, ir=99))
    assert "no version" in said(field(7, graph([IDENTITY])), Corrupt)


def test_a_training_in_the_file_is_refused(said):
    assert "holds a training" in said(of(IDENTITY, more=field(20, b"")))


def function(name, *nodes, domain="my.company"):
    return field(1, name) + b"".join(field(7, each) for each in nodes) + field(10, domain)


def test_functions_of_the_file_are_taken_and_what_they_are_made_of_is_checked(said):
    call = node("Twice", ["x"], ["y"], domain="my.company")
    good = function("Twice", node("Add", ["x", "x"], ["y"]))
    assert said(of(call, functions=[good], domains=["my.company"])) == ""
    assert "Magic" in said(of(call, functions=[function("Twice", node("Magic", [], [], domain="other"))]))
    assert "defines the operator Relu of the domain ai.onnx itself" in said(
        of(IDENTITY, functions=[function("Relu", domain="")])
    )
    circle = [function(a, node(b, [], [], domain="my.company")) for a, b in (("A", "B"), ("B", "A"))]
    assert "in a circle" in said(of(IDENTITY, functions=circle))


def test_operators_of_the_standard_are_all_that_is_allowed():
    assert {"MatMul", "Conv", "If", "Loop"} <= ALLOWED[""]
    assert "TreeEnsembleClassifier" in ALLOWED["ai.onnx.ml"]
    assert not {"RandomNormal", "Bernoulli", "Multinomial", "ImageDecoder"} & ALLOWED[""]


@pytest.mark.parametrize("data", [b"", b"no model", varint(1, 8), b"PK\x03\x04" + bytes(100)])
def test_what_is_no_onnx_file_is_reported_as_damaged(said, data):
    assert said(data, Corrupt)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_altered_byte_is_taken_or_refused_and_never_raises_anything_else(tmp_path, data):
    whole = bytearray(mixed(metadata={"classes": ["no", "yes"]}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        check_onnx(path)
    except (ConfigError, Corrupt) as error:
        assert str(path) in str(error)
