"""Requests that nobody would write on purpose: none is answered with 5xx, and every refusal has the shape of its dialect.

CI sends a sample of them; `make fuzz` sends 300,000.
"""

import gzip
import io
import json
import random
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from echo_model import Held, echo_model, echo_table

from serving.app import create_app
from serving.calls import Limits
from serving.metrics.counters import CounterTable
from serving.predictors import Predictors
from serving.protocols.dialects import DIALECTS

METHODS = ("GET", "POST", "POST", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW")
KINDS = (
    "application/json", "", "text/csv", "application/x-npy", "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream",
    "application/octet-stream", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "image/png", "text/plain",
    "application/json; charset=utf-16", "a/b; charset", ";;;", "é",
)  # fmt: skip
WEIRD = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 1e308, 1e-320, 0.1, "", "a", "é" * 50, "NaN", "\ud800", "\0", "1", [], {}, [[]],
    [[[[[[]]]]]], {"b64": "w6k="}, {"b64": 1}, {"b64": "!"}, {"": ""}, float("nan"), float("inf"), "x" * 20_000, [1] * 300,
)  # fmt: skip


def rows(kind):
    if kind == "table":
        return [{"a": 1.5, "b": "x", "c": 3, "d": True}, {"a": 2, "b": "y", "c": 4, "d": False}]
    if kind == "one":
        return [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    return [{"in_float32": [1.0, 2, 3], "in_string": ["a", "b", "c"]}]


def tensors(kind, chance):
    names = {"table": {"a": "FP32", "b": "BYTES", "c": "INT32", "d": "BOOL"}, "one": {"in_float32": "FP32"}}.get(
        kind, {"in_float32": "FP32", "in_string": "BYTES"}
    )
    width = 1 if kind == "table" else 3
    values = {"FP32": 1.5, "BYTES": "x", "INT32": 3, "BOOL": True}
    found = [
        {"name": name, "datatype": datatype, "shape": [2, width], "data": [values[datatype]] * 2 * width}
        for name, datatype in names.items()
    ]
    return {"inputs": found} | chance.choice(({}, {"outputs": [{"name": f"out_{next(iter(names))}"}]}, {"id": "7"}))


def bodies(kind, chance):
    """A valid body for some route, as JSON."""
    given = rows(kind)
    columns = {name: [row[name] for row in given] for name in given[0]} if isinstance(given[0], dict) else given
    split = (
        {"columns": list(given[0]), "data": [list(each.values()) for each in given]}
        if isinstance(given[0], dict)
        else {"data": given}
    )
    return chance.choice(
        (
            {"instances": given},
            {"inputs": columns},
            {"examples": given if isinstance(given[0], dict) else [{"in_float32": each} for each in given]},
            {"dataframe_split": split},
            {"dataframe_records": given},
            tensors(kind, chance),
        )
    )


def altered(value, chance):
    """The value with something else somewhere in it."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        fate = chance.random()
        if fate < 0.1:
            return {each: value[each] for each in value if each != name}
        if fate < 0.2:
            return value | {chance.choice(("other", "", "params", "parameters", name + " ")): chance.choice(WEIRD)}
        return value | {name: altered(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], *([] if chance.random() < 0.1 else [altered(value[at], chance)]), *value[at + 1 :]]
    return chance.choice(WEIRD)


def file_body(chance):
    columns = {"a": [1.5, 2.0], "b": ["x", "y"], "c": [3, 4], "d": [True, False]}
    if chance.random() < 0.3:
        columns[chance.choice("abcde")] = chance.choice(
            ([None, None], [[1], [2]], ["1", "2"], [{"a": 1}, {"a": 2}], [2**40, 1])
        )
    sink, which = io.BytesIO(), chance.randrange(4)
    if which == 0:
        pq.write_table(pa.table(columns), sink)
    elif which == 1:
        table = pa.table(columns)
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    elif which == 2:
        np.save(
            sink,
            np.zeros(
                chance.choice(((2, 3), (0, 3), (2,), (), (2, 3, 1))),
                chance.choice(("f4", ">f8", "i1", "?", "U3", "c8")),
            ),
        )
    else:
        sink.write(b"a,b,c,d\n1.5,x,3,true\n")
    return sink.getvalue()


def body(kind, chance):
    """Bytes for a request, and the headers that belong to them."""
    headers = {}
    if chance.random() < 0.25:
        data = file_body(chance)
    else:
        given = bodies(kind, chance)
        for _ in range(chance.choice((0, 1, 1, 2))):
            given = altered(given, chance)
        data = json.dumps(given).encode(errors="surrogatepass")
        if chance.random() < 0.2:
            headers["Inference-Header-Content-Length"] = chance.choice(
                (str(len(data)), "0", "-1", "a", "9" * 20, str(len(data) - 1))
            )
            data += chance.choice((b"", b"\0" * 8, bytes(range(40))))
    for _ in range(chance.choice((0, 0, 1, 3))):
        if data:
            at = chance.randrange(len(data))
            data = chance.choice(
                (data[:at], data[at:], data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :], data + data)
            )
    packed = chance.random()
    if packed < 0.1:
        headers["Content-Encoding"], data = "gzip", gzip.compress(data, 1)
    elif packed < 0.15:
        headers["Content-Encoding"], data = "deflate", zlib.compress(data, 1)
    elif packed < 0.2:
        headers["Content-Encoding"] = chance.choice(("gzip", "deflate", "br", "x", "gzip, gzip"))
    return data, headers


def paths(chance, known):
    path = chance.choice(known)
    if chance.random() < 0.15:
        at = chance.randrange(len(path) + 1)
        path = (
            path[:at]
            + chance.choice(
                (
                    "/",
                    "//",
                    ":",
                    "..",
                    "é",
                    "%00",
                    "%2F",
                    "versions/8",
                    "/versions/9999999999999",
                    "?a=b",
                    " ",
                    "{}",
                    "\t",
                )
            )
            + path[at:]
        )
    return path


@pytest.fixture(scope="module")
def apis():
    models = {
        "table": echo_table({"a": "float32", "b": "string", "c": "int32", "d": "bool"}),
        "one": echo_model(("float32",)),
        "several": echo_model(("float32", "string")),
    }
    return {
        kind: create_app(Held(model), "m", Limits(1 << 16, 50), CounterTable().counters(0)).test_client()
        for kind, model in models.items()
    }


def known_paths():
    fixed = [path for each in DIALECTS for path in each(Predictors(Held(None), "m")).fixed()]
    more = ["/", "/example", "/version", "/docs", "/openapi.json", "/health/live", "/health/ready"]
    versions = [f"/v2/models/m/versions/7{end}" for end in ("", "/ready", "/infer")]
    labels = [
        f"/v1/models/m/{which}{end}"
        for which in ("versions/7", "labels/stable")
        for end in ("", ":predict", ":classify")
    ]
    often = [
        "/predict",
        "/v2/models/m/infer",
        "/v1/models/m:predict",
        "/v1/models/m:classify",
        "/v1/models/m:regress",
        "/invocations",
    ]
    return [*fixed, *more, *versions, *labels, *often * 6]


def send(apis, seed, known):
    """One request, the same for the same seed: what was sent, and the answer."""
    chance = random.Random(seed)
    kind = chance.choice(list(apis))
    data, headers = body(kind, chance)
    headers["Accept"] = chance.choice(
        ("*/*", "application/x-npy", "application/vnd.apache.arrow.stream", "text/html", "é", "a;q=x")
    )
    method, path, content = chance.choice(METHODS), paths(chance, known), chance.choice(KINDS)
    if chance.random() < 0.5:
        content = "application/json"
    headers = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    answer = apis[kind].open(
        path, method=method, data=data, headers=headers, content_type=content.encode().decode("latin-1")
    )
    return (seed, kind, method, path, content, headers, data), answer


def check(sent, answer):
    assert answer.status_code < 500 or answer.status_code == 501, (sent, answer.data)
    if answer.status_code >= 400 and sent[2] != "HEAD":
        found = answer.get_json()
        assert isinstance(found, dict), sent
        assert "error" in found or {"error_code", "message"} == found.keys(), (sent, found)


def test_a_sample_of_odd_requests_is_answered_without_an_error_of_the_server(apis):
    known = known_paths()
    statuses = set()
    for seed in range(3000):
        sent, answer = send(apis, seed, known)
        check(sent, answer)
        statuses.add(answer.status_code)
    assert {200, 400, 404, 405, 415} <= statuses


@pytest.mark.long
def test_300_000_odd_requests_are_answered_without_an_error_of_the_server(apis):
    known = known_paths()
    for seed in range(10_000, 310_000):
        check(*send(apis, seed, known))
