"""Whatever is sent over gRPC is answered or refused with a status of its own: none of it is an error inside."""

import pytest

grpc = pytest.importorskip("grpc")

from echo_model import echo_model  # noqa: E402
from grpc_parts import grpc_here  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from serving.grpc_port import inference_pb2 as pb  # noqa: E402
from serving.grpc_port.messages import CONTENTS  # noqa: E402

ERRORS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED}
INFER = "/inference.GRPCInferenceService/ModelInfer"
DTYPES = ("float32", "uint8", "string")
FIELDS = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64_contents": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint_contents": st.integers(0, 300),
    "uint64_contents": st.integers(0, (1 << 64) - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=6),
}
PARAMETERS = st.dictionaries(
    st.sampled_from(["binary_data_output", "classification", "sequence_id", "shared_memory_region", "other"]),
    st.one_of(
        st.builds(dict, bool_param=st.booleans()),
        st.builds(dict, int64_param=st.integers(-3, 5)),
        st.builds(dict, string_param=st.text(max_size=3)),
        st.builds(dict, double_param=st.floats()),
        st.just({}),
    ),
    max_size=2,
)
SHAPES = st.lists(st.one_of(st.integers(0, 3), st.integers(-(1 << 63), (1 << 63) - 1)), max_size=3) | st.just([2, 2])
NAMES = st.sampled_from([f"in_{each}" for each in DTYPES]) | st.text(max_size=3)
CONTENT = st.fixed_dictionaries({}, optional={name: st.lists(each, max_size=5) for name, each in FIELDS.items()})
INPUTS = st.builds(
    dict,
    name=NAMES,
    datatype=st.sampled_from([*CONTENTS, "FP16", "BF16", ""]),
    shape=SHAPES,
    contents=CONTENT | st.none(),
    parameters=PARAMETERS,
)


@st.composite
def nearly_right(draw):
    """One tensor per input, of which one thing may be wrong."""
    rows = draw(st.integers(0, 3))
    given = {
        "float32": {"fp32_contents": draw(st.lists(FIELDS["fp32_contents"], min_size=2 * rows, max_size=2 * rows))},
        "uint8": {"uint_contents": draw(st.lists(FIELDS["uint_contents"], min_size=2 * rows, max_size=2 * rows))},
        "string": {"bytes_contents": draw(st.lists(FIELDS["bytes_contents"], min_size=2 * rows, max_size=2 * rows))},
    }
    datatypes = dict(zip(DTYPES, ("FP32", "UINT8", "BYTES"), strict=True))
    found = [
        {"name": f"in_{each}", "datatype": datatypes[each], "shape": [rows, 2], "contents": contents}
        for each, contents in given.items()
    ]
    if draw(st.booleans()):
        draw(st.sampled_from(found)).update(draw(st.fixed_dictionaries({}, optional={"shape": SHAPES, "name": NAMES})))
    return found


MESSAGES = st.builds(
    pb.ModelInferRequest,
    model_name=st.sampled_from(["m", "m", "m", "other", ""]),
    model_version=st.sampled_from(["", "", "7", "8", "x", "-1", "9" * 30]),
    id=st.text(max_size=5),
    parameters=PARAMETERS,
    inputs=st.lists(INPUTS, max_size=4) | nearly_right(),
    outputs=st.lists(st.builds(dict, name=st.sampled_from(["out_uint8", "no"]), parameters=PARAMETERS), max_size=2),
    raw_input_contents=st.just([]) | st.lists(st.binary(max_size=20), max_size=4),
)


@pytest.fixture(scope="module")
def call():
    with grpc_here(echo_model(DTYPES, (2,))) as found:
        yield found.call


def _code(call, path, body):
    try:
        call.raw(path, body)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _check(call, message, codes):
    code = _code(call, INFER, message.SerializeToString())
    codes.add(code)
    assert code not in ERRORS, (code, message)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(message=MESSAGES)
def test_no_message_is_an_error_inside(call, message):
    _check(call, message, set())


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["ModelInfer", "ModelMetadata", "ModelReady", "RepositoryModelLoad", "RepositoryIndex"]),
    body=st.binary(max_size=60),
)
def test_no_bytes_are_an_error_inside(call, method, body):
    assert _code(call, f"/inference.GRPCInferenceService/{method}", body) not in ERRORS


@pytest.mark.long
def test_many_messages_are_answered_or_refused_for_many_reasons(call):
    codes = set()

    @settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
    @given(message=MESSAGES)
    def all_of_them(message):
        _check(call, message, codes)

    all_of_them()
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= {each.name for each in codes}
