"""Small `.tflite` files, built without TensorFlow."""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

ADD, WHILE, CUSTOM, SPLIT, CONV_2D = 0, 119, 32, 49, 3


def tensor(buffer=0, shape=(2,), kind=0, **more):
    found = schema.TensorT()
    found.shape, found.type, found.buffer, found.name = list(shape), kind, buffer, b"t"
    for name, value in more.items():
        setattr(found, name, value)
    return found


def operator(inputs, outputs, code=0, options=None):
    found = schema.OperatorT()
    found.opcodeIndex, found.inputs, found.outputs = code, list(inputs), list(outputs)
    if options is not None:
        found.builtinOptions = options
        found.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return found


def buffer(data=b""):
    found = schema.BufferT()
    found.data = list(data) or None
    return found


def code(number):
    found = schema.OperatorCodeT()
    found.deprecatedBuiltinCode, found.builtinCode, found.version = min(number, 127), number, 1
    return found


def graph(tensors, operators, inputs, outputs):
    found = schema.SubGraphT()
    found.tensors, found.operators, found.inputs, found.outputs = tensors, operators, list(inputs), list(outputs)
    return found


def named(number):
    found = schema.TensorMapT()
    found.name, found.tensorIndex = b"x", number
    return found


def model():
    """y = x + c of two numbers."""
    found = schema.ModelT()
    found.version = 3
    found.operatorCodes = [code(ADD)]
    found.buffers = [buffer(), buffer(bytes(8))]
    found.subgraphs = [graph([tensor(), tensor(1), tensor()], [operator([0, 1], [2])], [0], [2])]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [named(0)], [named(2)]
    found.signatureDefs = [signature]
    return found


def packed(found):
    builder = flatbuffers.Builder(1024)
    builder.Finish(found.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
