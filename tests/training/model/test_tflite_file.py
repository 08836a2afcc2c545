"""A `.tflite` file is looked through before LiteRT maps it."""

import os
import random
import signal
import struct

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_models import (
    ADD,
    CONV_2D,
    CUSTOM,
    SPLIT,
    WHILE,
    buffer,
    code,
    graph,
    model,
    operator,
    packed,
    tensor,
)

from registry.errors import Corrupt
from training.model import flatbuffer, tflite_schema
from training.model.tflite_file import check_tflite

GOOD = packed(model())


@pytest.fixture
def refused(tmp_path):
    """What is said of these bytes; empty when they are taken."""

    def said(data):
        path = tmp_path / "model.tflite"
        path.write_bytes(data)
        try:
            check_tflite(path)
        except Corrupt as error:
            assert str(error).startswith(f"{path}: ")
            assert error.hint
            return str(error).removeprefix(f"{path}: ")
        return ""

    return said


def test_a_good_file_is_taken_and_loaded(refused):
    from ai_edge_litert.interpreter import Interpreter

    assert refused(GOOD) == ""
    runner = Interpreter(model_content=GOOD).get_signature_runner("serving_default")
    assert next(iter(runner.get_output_details())) == "x"


def changed(change):
    each = model()
    change(each, each.subgraphs[0])
    return packed(each)


def set_(target, **values):
    for name, value in values.items():
        setattr(target, name, value)


def uses_subgraphs(found, first, bodies):
    """The first subgraph runs a loop, and each of `bodies` is the subgraph that the next ones run in turn."""
    found.operatorCodes.append(code(WHILE))
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = bodies[0], bodies[0]
    first.tensors.append(tensor())
    first.operators.append(operator([2], [3], 1, options))
    for each in bodies[1:]:
        again = schema.WhileOptionsT()
        again.condSubgraphIndex, again.bodySubgraphIndex = each, each
        found.subgraphs.append(graph([tensor(), tensor()], [operator([0], [1], 1, again)], [0], [1]))


def texts(data, shape=(2,)):
    def change(found, first):
        found.buffers.append(buffer(data))
        first.tensors[1] = tensor(2, shape, kind=5)

    return change


GOOD_TEXTS = struct.pack("<4i", 2, 16, 17, 19) + b"abc"
WRONG = {
    "no subgraph": (lambda m, _: set_(m, subgraphs=[]), "it has no subgraph"),
    "a tensor that is not there": (lambda _, g: set_(g.operators[0], inputs=[0, 3]), "tensor 3, there are 3"),
    "a negative tensor": (lambda _, g: set_(g.operators[0], inputs=[0, -2]), "tensor -2"),
    "an input left out": (lambda _, g: set_(g.operators[0], inputs=[0, -1]), "tensor -1"),
    "an output that is not there": (lambda _, g: set_(g.operators[0], outputs=[9]), "an output of ADD is tensor 9"),
    "a subgraph's input": (lambda _, g: set_(g, inputs=[7]), "a subgraph's input is tensor 7"),
    "a subgraph's output": (lambda _, g: set_(g, outputs=[7]), "a subgraph's output is tensor 7"),
    "an operator that is not there": (lambda _, g: set_(g.operators[0], opcodeIndex=1), "an operator names code 1"),
    "an unknown operator": (lambda m, _: set_(m, operatorCodes=[code(250)]), "operator 250 is not known"),
    "a custom operator": (lambda m, _: set_(m, operatorCodes=[code(CUSTOM)]), "operator CUSTOM is not allowed"),
    "a named operator": (lambda m, _: set_(m.operatorCodes[0], customCode=b"Mine"), "operator Mine is not allowed"),
    "too few inputs": (lambda _, g: set_(g.operators[0], inputs=[0]), "ADD has 1 inputs"),
    "no inputs": (lambda _, g: set_(g.operators[0], inputs=[]), "ADD has 0 inputs"),
    "a buffer that is not there": (lambda _, g: set_(g.tensors[1], buffer=5), "a tensor names buffer 5"),
    "a constant of another size": (lambda m, _: set_(m.buffers[1], data=[0] * 7), "has 7 bytes, not 8"),
    "a shape larger than its constant": (lambda _, g: set_(g.tensors[1], shape=[3]), "has 8 bytes, not 12"),
    "a huge tensor": (lambda _, g: set_(g.tensors[0], shape=[1 << 30, 1 << 30]), "which is too large"),
    "a negative shape": (lambda _, g: set_(g.tensors[0], shape=[-1]), "shape [-1]"),
    "too many dimensions": (lambda _, g: set_(g.tensors[0], shape=[1] * 9), "shape [1, 1, 1"),
    "an unknown type": (lambda _, g: set_(g.tensors[0], type=99), "type 99"),
    "another signature shape": (lambda _, g: set_(g.tensors[0], shapeSignature=[2, 2]), "signature shape [2, 2]"),
    "an output written to a constant": (
        lambda _, g: set_(g.operators[0], outputs=[1]),
        "writes tensor 1, which has a value",
    ),
    "an output written to an input": (
        lambda _, g: set_(g.operators[0], outputs=[0]),
        "writes tensor 0, which has a value",
    ),
    "an input that is a constant": (lambda _, g: set_(g, inputs=[0, 1]), "input 1 of subgraph 0 has a value already"),
    "a value that is never computed": (
        lambda _, g: set_(g.operators[0], inputs=[0, 2]),
        "which is not computed before",
    ),
    "an answer that is never computed": (
        lambda _, g: set_(g, operators=[]),
        "output 2 of subgraph 0 is never computed",
    ),
    "a signature of another subgraph": (lambda m, _: set_(m.signatureDefs[0], subgraphIndex=3), "names subgraph 3"),
    "a signature of another tensor": (
        lambda m, _: set_(m.signatureDefs[0].inputs[0], tensorIndex=2),
        "neither input nor output",
    ),
    "a signature without a name": (lambda m, _: set_(m.signatureDefs[0], signatureKey=None), "a signature has no name"),
    "a buffer outside": (lambda m, _: set_(m.buffers[1], data=None, offset=64, size=10**9), "lies outside of the file"),
    "metadata outside": (lambda m, _: set_(m, metadataBuffer=[4]), "metadata name buffer 4"),
    "sparse numbers": (lambda _, g: set_(g.tensors[1], sparsity=schema.SparsityParametersT()), "field 6 of Tensor"),
    "a subgraph that is not there": (lambda m, g: uses_subgraphs(m, g, [4]), "WHILE runs subgraph 4"),
    "a loop in itself": (lambda m, g: uses_subgraphs(m, g, [0]), "in a circle: 0"),
    "a circle of loops": (lambda m, g: uses_subgraphs(m, g, [1, 2, 1]), "in a circle: 0, 1, 2"),
    "too few texts": (texts(GOOD_TEXTS, (3,)), "are said to hold 2 texts, 3 are wanted"),
    "texts outside": (texts(struct.pack("<4i", 2, 16, 17, 20) + b"abc"), "texts lie outside"),
    "texts backwards": (texts(struct.pack("<4i", 2, 18, 17, 19) + b"abc"), "texts lie outside"),
    "texts over their own places": (texts(struct.pack("<4i", 2, 4, 17, 19) + b"abc"), "texts lie outside"),
    "no texts": (texts(b"\0\0\0\0"), "are said to hold -1 texts"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_what_would_lead_outside_is_refused(refused, change, said):
    assert said in refused(changed(change))


def test_what_only_looks_like_it_is_taken(refused):
    assert refused(changed(texts(GOOD_TEXTS))) == ""
    assert refused(changed(lambda m, g: uses_subgraphs(m, g, [1]) or m.subgraphs.append(model().subgraphs[0]))) == ""

    def conv(found, first, last):
        found.operatorCodes = [code(CONV_2D)]
        first.operators[0] = operator([0, 1, last], [2], 0, schema.Conv2DOptionsT())

    assert refused(changed(lambda m, g: conv(m, g, -1))) == ""  # it has no bias
    assert "input 2 of CONV_2D is tensor -2" in refused(changed(lambda m, g: conv(m, g, -2)))


@pytest.mark.parametrize(("count", "options"), [(3, True), (1, True), (2, False)])
def test_an_operator_has_as_many_outputs_as_its_options_say(refused, count, options):
    def change(found, first):
        found.operatorCodes = [code(SPLIT)]
        each = schema.SplitOptionsT() if options else schema.AddOptionsT()
        if options:
            each.numSplits = count
        first.tensors.append(tensor())
        first.operators[0] = operator([0, 1], [2, 3], 0, each)

    assert ("another number" if options else "no options of its own") in refused(changed(change))


def test_quantization_fits_the_shape(refused):
    def quantized(scales, zeros, axis):
        each = schema.QuantizationParametersT()
        each.scale, each.zeroPoint, each.quantizedDimension = [1.0] * scales, [0] * zeros, axis
        return changed(lambda _, first: set_(first.tensors[1], quantization=each))

    assert refused(quantized(1, 1, 0)) == refused(quantized(2, 2, 0)) == refused(quantized(2, 0, 0)) == ""
    for scales, zeros, axis in ((3, 3, 0), (2, 1, 0), (2, 2, 1), (2, 2, -1)):
        assert "is quantized with" in refused(quantized(scales, zeros, axis))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0" * 100, GOOD[:4] + b"TFL2" + GOOD[8:]])
def test_other_files_are_no_models(refused, data):
    assert refused(data)


@given(at=st.integers(0, len(GOOD) - 4), value=st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-8, 300)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_in_the_file_is_taken_or_refused(refused, at, value):
    refused(GOOD[:at] + struct.pack("<i", value) + GOOD[at + 4 :])


@given(st.integers(0, len(GOOD)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_cut_is_refused(refused, length):
    assert bool(refused(GOOD[:length])) == (length < len(GOOD) - 3)  # the last bytes are padding


def test_few_bytes_cannot_ask_for_endless_work(refused, monkeypatch):
    monkeypatch.setattr(flatbuffer, "MAX_TABLES", 3)  # tables may be shared: files far smaller than their content exist
    assert "more than 3 tables" in refused(GOOD)


class Counts:
    """A builder that says how many fields a table has."""

    def StartObject(self, fields):
        self.fields = fields


def test_the_schema_is_that_of_the_installed_litert():
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    assert tuple(names[number] for number in sorted(names)) == tflite_schema.OPERATORS
    own, counts = tflite_schema.schema(), Counts()
    for name in tflite_schema.TABLES.split("\n"):
        if name:
            table = name.split()[0]
            getattr(schema, f"{table}Start")(counts)
            assert counts.fields == len(own[table]), table
    for union, prefix in ((schema.BuiltinOptions, "options"), (schema.BuiltinOptions2, "newer options")):
        for name, number in vars(union).items():
            if isinstance(number, int) and (table := own.get(f"{prefix} {number}")) is not None:
                getattr(schema, f"{name}Start")(counts)
                assert counts.fields == len(table), name
    assert len([each for each in vars(schema.BuiltinOptions).values() if isinstance(each, int)]) == 127


def test_every_operator_that_is_counted_is_one():
    counted = {name for line in tflite_schema.TAKES.split("\n") if line for name in line.split()[1:]}
    assert counted | set(tflite_schema.TAKES_BETWEEN) | set(tflite_schema.OPTIONAL_FROM) <= set(tflite_schema.OPERATORS)
    assert tflite_schema.inputs_of("ADD") == (2, 2)
    assert tflite_schema.OPERATORS.index("ADD") == ADD


def ends_by_signal(path):
    """Load and run a file in a process of its own; the signal that ended it, 0 when none did."""
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            signal.alarm(20)
            import numpy as np
            from ai_edge_litert.interpreter import Interpreter

            runner = Interpreter(model_path=str(path), num_threads=1).get_signature_runner("serving_default")
            runner(
                **{
                    name: np.zeros([max(1, each) for each in about["shape_signature"]], about["dtype"])
                    for name, about in runner.get_input_details().items()
                }
            )
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


@pytest.mark.slow
def test_litert_does_not_crash_on_what_is_taken(tmp_path, refused):
    """1,500 changed files, as they come from a disk or from somebody who means harm; what is taken is run."""
    chance, taken = random.Random(20), 0
    for _ in range(1500):
        data = bytearray(GOOD)
        for _ in range(chance.choice((1, 1, 3))):
            at = chance.randrange(len(data) - 4) & ~1
            value = chance.choice((0, 1, 2, 4, 8, 255, 65535, -1, -4, 2**31 - 1, -(2**31), chance.randrange(300)))
            if chance.random() < 0.5:
                struct.pack_into("<i", data, at, value)
            else:
                struct.pack_into("<H", data, at, value & 0xFFFF)
        if not refused(bytes(data)):
            taken += 1
            assert ends_by_signal(tmp_path / "model.tflite") != signal.SIGSEGV, bytes(data)
    assert taken > 100
