"""Small ONNX files, written without the package onnx by the field numbers of its protocol buffers."""

import json
import struct

from saved_models import field, number

FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11


def varint(key, value):
    return number(key << 3) + number(value % (1 << 64))


def floats(key, values):
    return b"".join(number(key << 3 | 5) + struct.pack("<f", each) for each in values)


def attribute(name, *, strings=(), ints=(), reals=(), text=None, whole=None, tensor_of=None, graph=None):
    """One attribute of a node; how it says its kind follows from which is given."""
    content, kind = b"", 0
    if strings:
        content, kind = b"".join(field(9, each) for each in strings), 8
    elif ints:
        content, kind = b"".join(varint(8, each) for each in ints), 7
    elif reals:
        content, kind = floats(7, reals), 6
    elif text is not None:
        content, kind = field(4, text), 3
    elif whole is not None:
        content, kind = varint(3, whole), 2
    elif tensor_of is not None:
        content, kind = field(5, tensor_of), 4
    elif graph is not None:
        content, kind = field(6, graph), 5
    return field(5, field(1, name) + content + varint(20, kind))


def node(operator, inputs, outputs, *attributes, domain="", name=""):
    ends = b"".join(field(1, each) for each in inputs) + b"".join(field(2, each) for each in outputs)
    return ends + field(3, name) + field(4, operator) + field(7, domain) + b"".join(attributes)


def classical(operator, inputs, outputs, *attributes):
    return node(operator, inputs, outputs, *attributes, domain="ai.onnx.ml")


def tensor(name, values, dims, *, external=False):
    sizes = b"".join(varint(1, each) for each in dims)
    where = field(13, field(1, "location") + field(2, "weights.bin")) + varint(14, 1) if external else b""
    return sizes + varint(2, FLOAT) + field(8, name) + field(9, struct.pack(f"<{len(values)}f", *values)) + where


def end(name, kind, *dims):
    """An input or an output; a dimension is a number, or the name of an open one."""
    sizes = b"".join(field(1, field(2, each) if isinstance(each, str) else varint(1, each)) for each in dims)
    return field(1, name) + field(2, field(1, varint(1, kind) + field(2, sizes)))


def graph(nodes, inputs=(), outputs=(), weights=()):
    parts = [(1, nodes), (5, weights), (11, inputs), (12, outputs)]
    return b"".join(field(key, each) for key, all_ in parts for each in all_) + field(2, "g")


def model(of, *, opset=21, classical_opset=3, ir=10, metadata=None, functions=(), more=b"", domains=()):
    """The bytes of model.onnx."""
    opsets = [("", opset), ("ai.onnx.ml", classical_opset), *((each, 1) for each in domains)]
    said = b"".join(field(8, field(1, domain) + varint(2, version)) for domain, version in opsets)
    entries = b"".join(field(14, field(1, key) + field(2, json.dumps(each))) for key, each in (metadata or {}).items())
    return varint(1, ir) + field(7, of) + said + entries + b"".join(field(25, each) for each in functions) + more


def scores(weights, biases, *, into="together"):
    """Softmax of `into` (rows, n) times weights (n, classes): nodes and tensors; the output is `probabilities`."""
    n, classes = len(weights), len(biases)
    flat = [each for row in weights for each in row]
    return (
        [node("MatMul", [into, "w"], ["m"]), node("Add", ["m", "b"], ["s"]), node("Softmax", ["s"], ["probabilities"])],
        [tensor("w", flat, [n, classes]), tensor("b", biases, [classes])],
    )


def linear(classes, weights, biases, *, columns="x", metadata=None):
    """What scikit-learn's logistic regression becomes: label and probabilities, with the names of the classes in an attribute."""
    flat = [weights[row][each] for each in range(len(classes)) for row in range(len(weights))]
    of = classical(
        "LinearClassifier",
        [columns],
        ["label", "raw"],
        attribute("classlabels_strings", strings=classes),
        attribute("coefficients", reals=flat),
        attribute("intercepts", reals=biases),
        attribute("post_transform", text="SOFTMAX"),
        attribute("multi_class", whole=1),
    )
    nodes = [of, node("Identity", ["raw"], ["probabilities"])]
    ends = [end("label", STRING, "batch"), end("probabilities", FLOAT, "batch", len(classes))]
    return model(graph(nodes, [end(columns, FLOAT, "batch", len(weights))], ends), metadata=metadata)


def mixed(classes=("no", "yes"), *, metadata=None, label=True):
    """A column of numbers, `age`, and one of texts, `colour`, as skl2onnx has them: `yes` for who is over 40, or red."""
    nodes = [
        classical("OneHotEncoder", ["colour"], ["hot"], attribute("cats_strings", strings=("blue", "green", "red")),
                  attribute("zeros", whole=1)),
        node("Reshape", ["hot", "wide"], ["flat"]),
        node("Sub", ["age", "forty"], ["older"]),
        node("Concat", ["older", "flat"], ["together"], attribute("axis", whole=1)),
    ]  # fmt: skip
    yes = [0.5, 0.0, 0.0, 40.0]
    weights = [[-each, each] if classes[1] == "yes" else [each, -each] for each in yes]
    flat = [weights[row][each] for each in range(2) for row in range(4)]
    nodes.append(
        classical("LinearClassifier", ["together"], ["label", "raw"], attribute("classlabels_strings", strings=classes),
                  attribute("coefficients", reals=flat), attribute("intercepts", reals=[0.0, 0.0]),
                  attribute("post_transform", text="SOFTMAX"), attribute("multi_class", whole=1))
    )  # fmt: skip
    nodes.append(node("Identity", ["raw"], ["probabilities"]))
    ends = [end("label", STRING, "batch")] * label + [end("probabilities", FLOAT, "batch", 2)]
    wide = field(8, "wide") + varint(1, 2) + varint(2, INT64) + field(9, struct.pack("<2q", -1, 3))
    inputs = [end("age", FLOAT, "batch", 1), end("colour", STRING, "batch", 1)]
    return model(graph(nodes, inputs, ends, [tensor("forty", [40.0], [1]), wide]), metadata=metadata)


def zipped(classes=("x", "y", "z")):
    """The same with ZipMap, as skl2onnx converts a classifier unless it is asked not to."""
    nodes = [
        node("Softmax", ["x"], ["raw"]),
        classical("ZipMap", ["raw"], ["output_probability"], attribute("classlabels_strings", strings=classes)),
    ]
    map_ = field(5, varint(1, STRING) + field(2, field(1, varint(1, FLOAT))))
    output = field(1, "output_probability") + field(2, field(4, field(1, map_)))
    return model(graph(nodes, [end("x", FLOAT, "batch", 3)], [output]))


def network(weights, biases, *, kind=FLOAT, batch="batch", metadata=None, name="x"):
    """What PyTorch exports: probabilities, and nothing that says whose."""
    nodes, tensors = scores(weights, biases, into=name)
    ends = [end("probabilities", FLOAT, batch, len(biases))]
    return model(graph(nodes, [end(name, kind, batch, len(weights))], ends, tensors), metadata=metadata)


def sum_of(names, factors, *, shape=("batch", 1)):
    """Regression: a factor times each input, added up."""
    nodes = [node("Mul", [name, f"f{i}"], [f"p{i}"]) for i, name in enumerate(names)]
    nodes.append(node("Sum", [f"p{i}" for i in range(len(names))], ["variable"]))
    weights = [tensor(f"f{i}", [each], [1]) for i, each in enumerate(factors)]
    inputs = [end(name, FLOAT, *shape) for name in names]
    return model(graph(nodes, inputs, [end("variable", FLOAT, *shape)], weights))
