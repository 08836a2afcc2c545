"""Every error is JSON with a request id, also of a request that never gets to the app; and one router decides."""

import json
import socket
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest
from serving_parts import RegistryFolder, ask

from serving.job import ServeJob
from serving.server import control
from serving.server.refusals import Refusal

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory, served_models):
    folder = tmp_path_factory.mktemp("errors")
    registry = RegistryFolder(folder, served_models)
    registry.release(registry.put("digits"))
    job = ServeJob("m", registry=registry.url, port=0, workers=1, threads=2)
    yield control.start(job, folder / "api")
    control.stop(folder / "api", 5.0)


def send(url, data):
    """Status, headers and body of the answer to these bytes, and whether the connection is closed after it."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(data)
        response = HTTPResponse(connection)
        response.begin()
        body = json.loads(response.read())
        closed = response.headers["Connection"] == "close" and connection.recv(1) == b""
        return response.status, response.headers, body, closed


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"nonsense\r\n\r\n", 400, "not valid HTTP"),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", 400, "not valid HTTP"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "not valid HTTP"),
        (GET + b"bad header\r\n\r\n", 400, "not valid HTTP"),
        (GET + b"Host: y\r\n\r\n", 400, "not valid HTTP"),
        (POST + b"Content-Length: -1\r\n\r\n", 400, "not valid HTTP"),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "not valid HTTP"),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 414, "first line"),
        (GET + b"X: " + b"x" * 9000 + b"\r\n\r\n", 431, "header section"),
        (GET + b"X: y\r\n" * 100 + b"\r\n", 431, "header section"),
        (POST + b"Expect: the worst\r\n\r\n", 417, "expectation"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501, "Transfer-Encoding"),
        (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 501, "Transfer-Encoding"),
        (POST + b"Transfer-Encoding: br\r\n\r\n", 501, "Transfer-Encoding"),
    ],
)  # fmt: skip
def test_what_the_parser_refuses_is_answered_as_json_and_the_connection_is_closed(url, data, status, said):
    found, headers, body, closed = send(url, data)
    assert found == status, body
    assert said in body["error"]
    assert body["request_id"] == headers["X-Request-Id"]
    assert headers["Content-Type"] == "application/json"
    assert closed


@pytest.mark.parametrize("path", ["//predict", "///predict", "/predict/", "//version", "/x/predict", "*", "/Predict"])
def test_a_path_that_is_not_exactly_a_page_is_404_for_every_method(url, path):
    method = b"OPTIONS" if path == "*" else b"POST"
    found, headers, body, _ = send(
        url, method + b" %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n" % path.encode()
    )
    assert (found, body["request_id"]) == (404, headers["X-Request-Id"])
    assert body["error"] == f"{path}: there is no such page"


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script-Name", "PATH_INFO", "X-Forwarded-Prefix", "HTTP_SCRIPT_NAME"])
def test_no_header_moves_a_path(url, name):
    for path in ("/x/version", "/x"):
        assert ask(url, "GET", path, None, {name: "/x"})[0] == 404
    assert ask(url, "GET", "/health/live", None, {name: "/x"})[0] == 200


def form(parts):
    """A form with so many fields."""
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    body = part * parts + b"--b--\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("data", "status", "closed"),
    [
        (b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000, 404, False),
        (b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 20_000_000, 404, True),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000, 200, False),
        (form(30_000), 413, False),
        (POST + b"Content-Length: 20000000\r\n\r\n" + b"x" * 20_000_000, 413, True),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1312d00\r\n" + b"x" * 20_000_000 + b"\r\n0\r\n\r\n", 413, True),
        (POST + b"Content-Type: text/x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000, 415, False),
    ],
    ids=["404", "404, too large", "200", "too many parts", "too large", "too large, chunked", "415"],
)  # fmt: skip
def test_a_body_that_is_not_read_breaks_no_connection(url, data, status, closed):
    """The client sends all of it before it reads."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(data)
        response = HTTPResponse(connection)
        response.begin()
        body = json.loads(response.read())
        assert (response.status, response.headers["Connection"]) == (status, "close" if closed else "keep-alive"), body
        if closed:
            assert connection.recv(1) == b""
        else:
            connection.sendall(GET + b"\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_broken_body_is_answered_and_the_answer_says_that_the_connection_ends(url):
    found, _, body, closed = send(url, POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n")
    assert (found, closed) == (400, True)
    assert body["error"].startswith("the body cannot be read")


def test_an_answer_that_says_try_again_says_when():
    for status in (429, 503):
        assert b"\r\nRetry-After: 1\r\n" in Refusal(status, "connections", "too many").answer("id")
    assert b"Retry-After" not in Refusal(408, "slow_head", "too slow").answer("id")
