"""Run by the Python that has tritonclient: asks the echo model at sys.argv[1] in every way that its HTTP client knows."""

import itertools
import sys

import numpy as np
import tritonclient.http as client
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

DTYPES = (
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "string",
)
url = sys.argv[1].removeprefix("http://")
server = client.InferenceServerClient(url)


def values(dtype, rows):
    count = rows * 3
    if dtype == "string":
        return np.array([f"é{i}".encode() for i in range(count)], object).reshape(rows, 3)
    if dtype == "bool":
        return (np.arange(count) % 3 == 0).reshape(rows, 3)
    return (np.arange(count) % 100).astype(dtype).reshape(rows, 3)


def tensors(rows, binary, only=DTYPES):
    found = []
    for dtype in only:
        array = values(dtype, rows)
        tensor = client.InferInput(f"in_{dtype}", array.shape, np_to_triton_dtype(array.dtype))
        # Triton's own client cannot write FP16 as JSON
        tensor.set_data_from_numpy(array, binary_data=binary or dtype == "float16")
        found.append(tensor)
    return found


def check(answer, rows, only=DTYPES):
    for dtype in only:
        got, want = answer.as_numpy(f"out_{dtype}"), values(dtype, rows)
        if dtype == "string":
            got = np.array([x if isinstance(x, bytes) else x.encode() for x in got.ravel()], object).reshape(got.shape)
        assert got.shape == want.shape, (dtype, got.shape, want.shape)
        assert (got == want).all(), dtype


assert server.is_server_live()
assert server.is_server_ready()
assert server.is_model_ready("m")
assert server.is_model_ready("m", sys.argv[2])
assert not server.is_model_ready("other")
assert server.get_server_metadata()["name"] == "trainyard"
metadata = server.get_model_metadata("m")
assert metadata["versions"] == [sys.argv[2]]
assert [each["datatype"] for each in metadata["inputs"]][-1] == "BYTES"
assert server.get_model_repository_index() == [{"name": "m", "version": sys.argv[2], "state": "READY", "reason": ""}]
server.load_model("m")
try:
    server.unload_model("m")
except InferenceServerException as error:
    assert "releases decide" in str(error)
else:
    raise AssertionError("unloaded")

count = 0
for binary, rows, compression, answer_compression in itertools.product(
    (True, False), (0, 1, 4), (None, "gzip", "deflate"), (None, "gzip")
):
    answer = server.infer(
        "m", tensors(rows, binary), request_id="abc", request_compression_algorithm=compression,
        response_compression_algorithm=answer_compression,
    )  # fmt: skip
    assert answer.get_response()["id"] == "abc"
    check(answer, rows)
    wanted = [client.InferRequestedOutput(f"out_{each}", binary_data=binary) for each in ("float32", "string")]
    answer = server.infer("m", tensors(rows, binary), outputs=wanted, model_version=sys.argv[2])
    check(answer, rows, ("float32", "string"))
    assert len(answer.get_response()["outputs"]) == 2
    count += 1
check(server.async_infer("m", tensors(2, True)).get_result(), 2)
top = client.InferRequestedOutput("out_float32", class_count=2)
answer = server.infer("m", tensors(1, True), outputs=[top]).as_numpy("out_float32")
assert answer.ravel().tolist() == [b"2.000000:2", b"1.000000:1"], answer


def refused(change):
    given = tensors(1, True)
    try:
        change(given)
        server.infer("m", given)
    except InferenceServerException as error:
        return str(error)
    raise AssertionError("not refused")


def rename(given):
    given[0]._name = "other"


def reshape(given):
    given[1].set_shape([3, 1])


def retype(given):
    given[9]._datatype = "BF16"


assert "no such input" in refused(rename)
assert "[400]" in refused(reshape)
assert "datatype" in refused(retype)
assert "missing" in refused(lambda given: given.pop())
assert "twice" in refused(lambda given: given.append(given[0]))
try:
    server.infer("nobody", tensors(1, True))
except InferenceServerException as error:
    assert error.status() == "404", error
sys.stdout.write(f"{count} kinds of requests\n")
