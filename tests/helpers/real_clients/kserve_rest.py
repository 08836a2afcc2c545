"""Run by the Python that has kserve: asks the models at sys.argv[1:] with its client, by both protocols.

The first serves an input per type, the second one input of three numbers; sys.argv[3] has no model.
"""

import asyncio
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

EVERY, ONE, NONE = sys.argv[1:4]
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


def request(rows, binary):
    tensors = []
    for dtype, datatype in DTYPES.items():
        tensor = InferInput(f"in_{dtype}", [rows, 3], datatype)
        # the client cannot write FP16 as JSON
        tensor.set_data_from_numpy(values(dtype, rows), binary_data=binary or dtype == "float16")
        tensors.append(tensor)
    return InferRequest(
        model_name="m", infer_inputs=tensors, request_id="abc", parameters={"binary_data_output": binary}
    )


async def second_protocol():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1))
    assert await client.is_server_live(EVERY)
    assert await client.is_server_ready(EVERY)
    assert await client.is_model_ready(EVERY, model_name="m")
    assert not await client.is_model_ready(NONE, model_name="m")
    for binary in (True, False):
        answer = await client.infer(EVERY, request(2, binary), model_name="m")
        assert answer.id == "abc"
        found = {each.name: each for each in answer.outputs}
        for dtype in DTYPES:
            got = found[f"out_{dtype}"].as_numpy()
            assert got.shape == (2, 3), dtype
            want = values(dtype, 2)
            if dtype == "string":
                want = np.array([each.decode() for each in want.ravel()]).reshape(2, 3)
                got = np.array([each if isinstance(each, str) else each.decode() for each in got.ravel()]).reshape(2, 3)
            assert (got == want).all(), dtype
    try:
        await client.infer(EVERY, request(2, True), model_name="nobody")
    except httpx.HTTPStatusError as error:
        assert "this API serves m" in str(error), error
    else:
        raise AssertionError("not refused")
    await client.close()


async def first_protocol():
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=1))
    assert await client.is_server_live(ONE)
    assert await client.is_model_ready(ONE, model_name="m")
    assert not await client.is_model_ready(NONE, model_name="m")
    rows = [[1.0, 2.0, 3.5], [4.0, 5.0, 6.0]]
    assert (await client.infer(ONE, {"instances": rows}, model_name="m"))["predictions"] == rows
    assert (await client.infer(ONE, {"inputs": rows}, model_name="m"))["outputs"] == rows
    try:
        await client.infer(ONE, {"instances": [[1.0]]}, model_name="m")
    except httpx.HTTPStatusError as error:
        assert "instances[0]" in str(error), error
    else:
        raise AssertionError("not refused")
    await client.close()


asyncio.run(second_protocol())
asyncio.run(first_protocol())
sys.stdout.write("both protocols\n")
