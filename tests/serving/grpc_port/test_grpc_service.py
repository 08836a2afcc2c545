"""The gRPC service over a real socket, with messages as the protocol has them."""

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")

from echo_model import DTYPES, echo_model, values  # noqa: E402
from grpc_parts import grpc_here, refused  # noqa: E402

from serving.grpc_port import inference_pb2 as pb  # noqa: E402
from serving.grpc_port.messages import CONTENTS  # noqa: E402
from serving.protocols.v2 import tensors  # noqa: E402


@pytest.fixture(scope="module")
def here():
    with grpc_here(echo_model(("float32",), (2,))) as found:
        yield found


@pytest.fixture(scope="module")
def call(here):
    return here.call


@pytest.fixture(scope="module")
def two():
    """A client of a model with an input of whole numbers and one of texts."""
    with grpc_here(echo_model(("uint8", "string"), (2,))) as found:
        yield found.call


def tensor(array, dtype="float32", **more):
    return pb.ModelInferRequest.InferInputTensor(
        name=f"in_{dtype}", datatype=tensors.DATATYPES[dtype], shape=array.shape, **more
    )


def typed(sent, dtype):
    flat = [each.encode() if dtype == "string" else each for each in sent.ravel().tolist()]
    return tensor(sent, dtype, contents=pb.InferTensorContents(**{CONTENTS[tensors.DATATYPES[dtype]]: flat}))


ONE = np.array([[1.5, 2.5]], np.float32)
RAW = {"model_name": "m", "inputs": [tensor(ONE)], "raw_input_contents": [ONE.tobytes()]}


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_type_comes_back_raw_when_sent_raw(every, rows):
    sent = {dtype: values(dtype, (rows, 3)) for dtype in DTYPES}
    raw = [tensors.to_raw(each) for each in sent.values()]
    inputs = [tensor(array, dtype) for dtype, array in sent.items()]
    found = every("ModelInfer", model_name="m", id="9", inputs=inputs, raw_input_contents=raw)
    assert list(found.raw_output_contents) == raw
    assert (found.id, found.model_version, list(found.outputs[0].shape)) == ("9", "7", [rows, 3])


@pytest.fixture(scope="module")
def every():
    with grpc_here(echo_model()) as found:
        yield found.call


@pytest.mark.parametrize("dtype", [each for each in DTYPES if each != "float16"])
def test_every_type_but_fp16_comes_back_typed_when_sent_typed(dtype):
    sent = values(dtype, (2, 3))
    with grpc_here(echo_model((dtype,))) as here:
        found = here.call("ModelInfer", model_name="m", inputs=[typed(sent, dtype)])
    field = CONTENTS[tensors.DATATYPES[dtype]]
    assert not found.raw_output_contents
    assert list(getattr(found.outputs[0].contents, field)) == list(getattr(typed(sent, dtype).contents, field))


def test_fp16_goes_raw_beside_typed_inputs_as_kserves_client_sends_it(every):
    sent = {dtype: values(dtype, (2, 3)) for dtype in DTYPES}
    inputs = [tensor(array, dtype) if dtype == "float16" else typed(array, dtype) for dtype, array in sent.items()]
    found = every("ModelInfer", model_name="m", inputs=inputs, raw_input_contents=[tensors.to_raw(sent["float16"])])
    assert list(found.raw_output_contents) == [tensors.to_raw(each) for each in sent.values()]


def test_fp16_that_is_not_raw_is_refused_with_the_way_out(every):
    code, text = refused(every, "ModelInfer", model_name="m", inputs=[tensor(values("float16", (1, 3)), "float16")])
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "raw_input_contents" in text


NAN = np.array([[np.nan, 1]], np.float32)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"model_name": "other"}, "NOT_FOUND", "this API serves m"),
        ({"model_version": "8"}, "NOT_FOUND", "version 8"),
        ({"model_version": "x"}, "NOT_FOUND", "no such version"),
        ({"inputs": []}, "INVALID_ARGUMENT", "inputs: is empty"),
        ({"raw_input_contents": [b"1234"]}, "INVALID_ARGUMENT", "4 bytes for 2 elements"),
        ({"raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT", "2 entries for 1 inputs"),
        ({"inputs": [typed(ONE, "float32")]}, "INVALID_ARGUMENT", "is filled beside raw_input_contents"),
        ({"inputs": [typed(ONE, "float32")] * 2, "raw_input_contents": []}, "INVALID_ARGUMENT", "is there twice"),
        ({"inputs": [tensor(ONE, "float64")]}, "INVALID_ARGUMENT", "no such input"),
        ({"inputs": [{"name": "in_float32", "datatype": "FP64", "shape": [1, 2]}]}, "INVALID_ARGUMENT", "takes FP32"),
        ({"inputs": [tensor(ONE.reshape(2))]}, "INVALID_ARGUMENT", "shape"),
        ({"inputs": [tensor(ONE.reshape(2, 1))]}, "INVALID_ARGUMENT", "shape"),
        ({"inputs": [{"name": "in_float32", "datatype": "FP32", "shape": [-1, 2]}]}, "INVALID_ARGUMENT", "shape"),
        ({"inputs": [tensor(NAN)], "raw_input_contents": [NAN.tobytes()]}, "INVALID_ARGUMENT", "NaN"),
        (
            {"inputs": [tensor(np.zeros((11, 2)))], "raw_input_contents": [bytes(88)]},
            "RESOURCE_EXHAUSTED",
            "11 instances, 10 are allowed",
        ),
        ({"outputs": [{"name": "no"}]}, "INVALID_ARGUMENT", "no such output"),
        ({"outputs": [{"name": "out_float32"}] * 2}, "INVALID_ARGUMENT", "twice"),
        ({"id": "x" * 257}, "INVALID_ARGUMENT", "id"),
        ({"parameters": {"sequence_id": {"int64_param": 1}}}, "INVALID_ARGUMENT", "keeps no sequences"),
        ({"parameters": {"binary_data_output": {"string_param": "yes"}}}, "INVALID_ARGUMENT", "true or false"),
        ({"raw_input_contents": [b"x" * (1 << 16)]}, "RESOURCE_EXHAUSTED", "65536 are allowed"),
    ],
)
def test_what_is_wrong_is_refused_with_its_code(call, change, code, text):
    found = refused(call, "ModelInfer", **(RAW | change))
    assert found[0].name == code, found
    assert text in found[1]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([typed(values("uint8", (1, 2)), "uint8")], "'in_string' is missing"),
        (
            [tensor(ONE, "uint8", contents={"uint_contents": [1, 300]}), typed(values("string", (1, 2)), "string")],
            "300",
        ),
        ([tensor(ONE, "uint8", contents={"fp32_contents": [1, 2]})], "UINT8 is in uint_contents"),
        ([tensor(ONE, "uint8", contents={"uint_contents": [1]})], "1 elements, 2 are expected"),
        ([tensor(ONE, "string", contents={"bytes_contents": [b"\xff", b"a"]})], "not UTF-8"),
        ([typed(values("uint8", (2, 2)), "uint8"), typed(values("string", (1, 2)), "string")], "rows"),
    ],
)
def test_typed_contents_that_the_model_does_not_take_are_named(two, inputs, text):
    code, said = refused(two, "ModelInfer", model_name="m", inputs=inputs)
    assert (code.name, text in said) == ("INVALID_ARGUMENT", True), said


@pytest.mark.parametrize("body", [b"\xff", b"\x2a\x05ab"])
def test_what_is_not_the_message_is_an_invalid_argument_and_not_an_error_inside(call, body):
    code, text = refused(call.raw, "/inference.GRPCInferenceService/ModelInfer", body)
    assert (code.name, "cannot be read" in text) == ("INVALID_ARGUMENT", True)


def test_what_is_not_a_method_is_unimplemented(call):
    for path in ("/inference.GRPCInferenceService/ModelStreamInfer", "/other/Method"):
        assert refused(call.raw, path, b"")[0] == grpc.StatusCode.UNIMPLEMENTED


def test_the_server_and_the_model_describe_themselves(call):
    assert call("ServerLive").live
    assert call("ServerReady").ready
    assert call("ServerMetadata").name == "trainyard"
    found = call("ModelMetadata", name="m", version="7")
    assert (list(found.versions), found.platform) == (["7"], "trainyard_litert")
    assert (found.inputs[0].name, found.inputs[0].datatype, list(found.inputs[0].shape)) == (
        "in_float32",
        "FP32",
        [-1, 2],
    )
    (listed,) = call("RepositoryIndex").models
    assert (listed.name, listed.version, listed.state) == ("m", "7", "READY")


def test_without_a_model_it_is_live_but_unavailable():
    with grpc_here(None) as here:
        assert here.call("ServerLive").live
        assert not here.call("ServerReady").ready
        assert not here.call("ModelReady", name="m").ready
        assert refused(here.call, "ModelInfer", **RAW)[0] == grpc.StatusCode.UNAVAILABLE
        assert here.call.raw("/grpc.health.v1.Health/Check", b"")[0] == b"\x08\x02"


@pytest.mark.parametrize("name", [b"", b"\n\x01m", b"\n\x1einference.GRPCInferenceService"])
def test_the_standard_health_check_knows_the_server_the_model_and_the_service(call, name):
    assert call.raw("/grpc.health.v1.Health/Check", name)[0] == b"\x08\x01"
    assert refused(call.raw, "/grpc.health.v1.Health/Check", b"\n\x05other")[0] == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("field", ["model_name", "repository_name"])
def test_both_places_of_the_name_are_read_and_nobody_can_unload(call, field):
    assert call("RepositoryModelLoad", **{field: "m"}).isLoaded
    code, text = refused(call, "RepositoryModelUnload", **{field: "m"})
    assert (code, "releases decide" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    given = {"config": {"string_param": "{}"}}
    assert refused(call, "RepositoryModelLoad", **{field: "m"}, parameters=given)[0].name == "INVALID_ARGUMENT"


def test_the_best_classes_come_when_they_are_asked_for(call):
    output = {"name": "out_float32", "parameters": {"classification": {"int64_param": 1}}}
    found = call("ModelInfer", **RAW, outputs=[output])
    assert found.raw_output_contents[0] == b"\x0a\x00\x00\x002.500000:1"
