"""Run by the Python that has tritonclient: asks the echo models at sys.argv[2:] in every way that its gRPC client knows.

sys.argv[1] is their version; the first one has rows of three values, the second one of a single value, the third one of 2 × 2.
"""

import itertools
import queue
import sys

import numpy as np
import tritonclient.grpc as client
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
VERSION, *TARGETS = sys.argv[1:]
SHAPES = ((3,), (), (2, 2))
servers = [client.InferenceServerClient(each) for each in TARGETS]
server = servers[0]


def values(dtype, rows, shape=(3,)):
    whole = (rows, *shape)
    count = int(np.prod(whole))
    if dtype == "string":
        return np.array([f"é{i}".encode() for i in range(count)], object).reshape(whole)
    if dtype == "bool":
        return (np.arange(count) % 3 == 0).reshape(whole)
    return (np.arange(count) % 100).astype(dtype).reshape(whole)


def tensors(rows, shape=(3,)):
    found = []
    for dtype in DTYPES:
        array = values(dtype, rows, shape)
        tensor = client.InferInput(f"in_{dtype}", array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        found.append(tensor)
    return found


def check(answer, rows, only=DTYPES, shape=(3,)):
    for dtype in only:
        got, want = answer.as_numpy(f"out_{dtype}"), values(dtype, rows, shape)
        assert got.shape == want.shape, (dtype, got.shape, want.shape)
        assert (got == want).all(), dtype


assert server.is_server_live()
assert server.is_server_ready()
assert server.is_model_ready("m")
assert server.is_model_ready("m", VERSION)
assert server.get_server_metadata().name == "trainyard"
metadata = server.get_model_metadata("m", as_json=True)
assert metadata["versions"] == [VERSION]
assert [each["datatype"] for each in metadata["inputs"]][-1] == "BYTES"
index = server.get_model_repository_index(as_json=True)
assert index["models"] == [{"name": "m", "version": VERSION, "state": "READY"}]
server.load_model("m")

count = 0
for (each, shape), rows, compression in itertools.product(
    zip(servers, SHAPES, strict=True), (0, 1, 4), (None, "gzip", "deflate")
):
    answer = each.infer("m", tensors(rows, shape), request_id="abc", compression_algorithm=compression)
    assert (answer.get_response().id, answer.get_response().model_version) == ("abc", VERSION)
    check(answer, rows, shape=shape)
    wanted = [client.InferRequestedOutput(f"out_{name}") for name in ("float32", "string")]
    answer = each.infer("m", tensors(rows, shape), outputs=wanted, model_version=VERSION, client_timeout=20)
    check(answer, rows, ("float32", "string"), shape)
    assert len(answer.get_response().outputs) == 2
    count += 1

arrived = queue.Queue()
for rows in range(16):
    server.async_infer("m", tensors(rows), lambda result, error: arrived.put((result, error)), request_id=str(rows))
for _ in range(16):
    result, error = arrived.get(timeout=30)
    assert error is None, error
    check(result, int(result.get_response().id))

top = client.InferRequestedOutput("out_float32", class_count=2)
answer = server.infer("m", tensors(1), outputs=[top]).as_numpy("out_float32")
assert answer.ravel().tolist() == [b"2.000000:2", b"1.000000:1"], answer


def refused(ask):
    try:
        ask()
    except InferenceServerException as error:
        return error.status().removeprefix("StatusCode."), error.message()
    raise AssertionError("not refused")


def changed(change):
    given = tensors(1)
    change(given)
    return refused(lambda: server.infer("m", given))


def rename(given):
    given[0]._input.name = "other"


def retype(given):
    given[9]._input.datatype = "BF16"


for found, code, text in (
    (changed(rename), "INVALID_ARGUMENT", "no such input"),
    (changed(lambda given: given[1].set_shape([3, 1])), "INVALID_ARGUMENT", "shape"),
    (changed(retype), "INVALID_ARGUMENT", "datatype"),
    (changed(lambda given: given.pop()), "INVALID_ARGUMENT", "missing"),
    (changed(lambda given: given.append(given[0])), "INVALID_ARGUMENT", "twice"),
    (refused(lambda: server.infer("nobody", tensors(1))), "NOT_FOUND", "this API serves m"),
    (refused(lambda: server.infer("m", tensors(1), model_version="8")), "NOT_FOUND", "version 8"),
    (refused(lambda: server.infer("m", tensors(1), sequence_id=3)), "INVALID_ARGUMENT", "keeps no sequences"),
    (refused(lambda: server.infer("m", tensors(100))), "RESOURCE_EXHAUSTED", "100 instances"),
    (refused(lambda: server.unload_model("m")), "FAILED_PRECONDITION", "releases decide"),
    (refused(lambda: server.load_model("m", config="{}")), "INVALID_ARGUMENT", "as it was released"),
    (refused(lambda: server.get_inference_statistics("m")), "UNIMPLEMENTED", "Method not found"),
    (refused(lambda: server.is_model_ready("nobody")), "NOT_FOUND", "this API serves m"),
):
    assert (found[0], text in found[1]) == (code, True), found
for each in servers:
    each.close()
sys.stdout.write(f"{count} kinds of requests\n")
