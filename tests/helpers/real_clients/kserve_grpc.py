"""Run by the Python that has kserve: asks the echo model at sys.argv[1] with its gRPC client; at sys.argv[2] there is no model."""

import asyncio
import sys

import grpc
import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient
from kserve.protocol.infer_type import RequestedOutput

EVERY, NONE = sys.argv[1:3]
DTYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}


def values(dtype, rows):
    count = rows * 3
    if dtype == "string":
        return np.array([f"é{i}".encode() for i in range(count)], object).reshape(rows, 3)
    if dtype == "bool":
        return (np.arange(count) % 3 == 0).reshape(rows, 3)
    return (np.arange(count) % 100).astype(dtype).reshape(rows, 3)


def request(rows, binary, only=DTYPES, model="m", outputs=()):
    tensors = []
    for dtype in only:
        tensor = InferInput(f"in_{dtype}", [rows, 3], DTYPES[dtype])
        # FP16 has no typed contents: the client sends it raw beside the others
        tensor.set_data_from_numpy(values(dtype, rows), binary_data=binary or dtype == "float16")
        tensors.append(tensor)
    wanted = [RequestedOutput(f"out_{each}") for each in outputs] or None
    return InferRequest(model_name=model, infer_inputs=tensors, request_id="abc", request_outputs=wanted)


def check(answer, rows, only=DTYPES):
    assert (answer.id, answer.model_name) == ("abc", "m")
    found = {each.name: each for each in answer.outputs}
    assert len(found) == len(only)
    for dtype in only:
        got, want = found[f"out_{dtype}"].as_numpy(), values(dtype, rows)
        if dtype == "string":
            want = np.array([each.decode() for each in want.ravel()]).reshape(rows, 3)
            got = np.array([each if isinstance(each, str) else each.decode() for each in got.ravel()]).reshape(rows, 3)
        assert got.shape == want.shape, dtype
        assert (got == want).all(), dtype


async def refused(asked):
    try:
        await asked
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("not refused")


async def main():
    client = InferenceGRPCClient(EVERY)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready(model_name="m")
    for rows in (1, 4):
        for binary in (True, False):
            check(await client.infer(request(rows, binary)), rows)
    two = ("int64", "string")
    check(await client.infer(request(2, False, outputs=two)), 2, two)
    for answer in await asyncio.gather(*(client.infer(request(2, True)) for _ in range(16))):
        check(answer, 2)
    code, text = await refused(client.infer(request(1, True, model="nobody")))
    assert (code, "this API serves m" in text) == ("NOT_FOUND", True), (code, text)
    code, text = await refused(client.infer(request(1, False, only=("int8",))))
    assert (code, "missing" in text) == ("INVALID_ARGUMENT", True), (code, text)
    await client.close()
    client = InferenceGRPCClient(NONE)
    assert await client.is_server_live()
    assert not await client.is_server_ready()
    assert not await client.is_model_ready(model_name="m")
    await client.close()


asyncio.run(main())
sys.stdout.write("raw and typed\n")
