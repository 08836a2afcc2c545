"""Whether a request is complete is decided by bytes alone, and never differs from gunicorn's parser in where it ends."""

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st
from sent_requests import HEAD, chunked, requests

from serving.server.heads import CHUNK, FREE_CHUNKS, MAX_HEAD, MAX_LINE, Progress, RequestScan

MAX_BODY = 1000


def scan(*pieces):
    """The progress after each piece, and the end of the request."""
    request, data, found = RequestScan(MAX_BODY), bytearray(), []
    for piece in pieces:
        data += piece
        found.append(request.look(data))
    return found, request.end


def parsed(data):
    """The body, and how many bytes gunicorn's parser takes for the request."""
    parser = RequestParser(Config(), iter([data]), ("", 0))
    body = next(parser).body.read()
    return body, len(data) - len(parser.unreader.take_buffered())


@given(requests(), st.binary(max_size=30))
def test_a_request_is_complete_at_the_byte_at_which_gunicorns_parser_stops(request_and_body, after):
    data, body = request_and_body
    found, end = scan(data + after)
    assert found == [Progress.WHOLE]
    assert end == len(data)
    assert parsed(data + after) == (body, len(data))


@given(requests())
def test_until_then_more_is_awaited_however_the_bytes_come(request_and_body):
    data, _ = request_and_body
    found, end = scan(*(data[i : i + 1] for i in range(len(data))))
    assert found[-1] is Progress.WHOLE
    assert end == len(data)
    assert set(found[:-1]) <= {Progress.HEAD, Progress.BODY}
    assert sorted(found[:-1], key=lambda each: each is Progress.BODY) == found[:-1]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"0\r\n", b"GET / HTTP/1.1\r\n", HEAD,
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n"]), max_size=12))  # fmt: skip
def test_any_bytes_are_scanned_without_an_error_and_what_was_refused_stays_refused(pieces):
    found, _ = scan(*pieces)
    final = {Progress.WHOLE, Progress.BROKEN, Progress.HEAD_TOO_LARGE}
    first = next((i for i, each in enumerate(found) if each in final), len(found))
    assert not {Progress.HEAD} & set(found[first:])


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 1e3\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_body_without_a_clear_end_is_not_awaited(fields):
    assert scan(HEAD + fields + b"\r\n")[0] == [Progress.BROKEN]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\n\n", HEAD + b"A: b\n", b"x" * (MAX_LINE + 1)])
def test_a_head_that_cannot_end_well_is_not_awaited(data):
    assert scan(data)[0] == [Progress.BROKEN]


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_has_a_largest_size(end):
    assert scan(HEAD + b"A: b\r\n" * (MAX_HEAD // 6) + end)[0] == [Progress.HEAD_TOO_LARGE]


@pytest.mark.parametrize(
    "coded", [b"x\r\n", b"\r\n", b"-1\r\n", b"2\r\nabc\r\n", b"1" * (MAX_LINE + 1), b"0\r\n" + b"a" * (MAX_HEAD + 9)]
)
def test_what_is_no_chunk_is_not_awaited(coded):
    assert scan(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + coded)[0] == [Progress.BROKEN]


def test_a_body_that_is_too_large_is_not_awaited():
    assert scan(HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))[0] == [Progress.BODY_TOO_LARGE]
    assert scan(HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY)[0] == [Progress.BODY]
    assert scan(HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY, b"x" * MAX_BODY)[0][1] is Progress.WHOLE


def test_a_chunked_body_is_too_large_once_so_much_has_come():
    """The app reads what has come, and refuses it by its size."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    found, _ = scan(head + b"7d0\r\n", b"x" * MAX_BODY, b"x")
    assert found == [Progress.BODY, Progress.BODY, Progress.BODY_TOO_LARGE]
    assert scan(head + chunked(b"x" * (MAX_BODY + 1), [MAX_BODY]))[0] == [Progress.BODY_TOO_LARGE]
    assert scan(head + chunked(b"x" * MAX_BODY, [1, 2]))[0] == [Progress.WHOLE]


def test_a_body_in_tiny_chunks_does_not_fill_the_memory_with_their_lengths():
    coded = b"1;" + b"a" * 500 + b"\r\nx\r\n"
    found, _ = scan(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + coded * (MAX_HEAD // 500 + 10))
    assert found == [Progress.BODY_TOO_LARGE]


def test_a_body_of_very_many_chunks_is_refused_as_each_costs_more_than_its_bytes():
    def found(count, size):
        request = RequestScan(64 << 20)
        coded = b"%x\r\n%s\r\n" % (size, b"x" * size) * count
        return request.look(bytearray(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"))

    assert found(FREE_CHUNKS, 1) is Progress.WHOLE
    assert found(FREE_CHUNKS + FREE_CHUNKS // CHUNK + 1, 1) is Progress.TOO_MANY_CHUNKS
    assert found(3 * FREE_CHUNKS, CHUNK) is Progress.WHOLE


def test_who_speaks_an_older_http_waits_for_no_word():
    request = RequestScan(MAX_BODY)
    request.look(bytearray(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"))
    assert not request.expects_continue


@pytest.mark.parametrize(("value", "expects"), [(b"100-continue", True), (b"100-Continue", True), (b"miracles", False)])
def test_who_waits_for_a_word_before_the_body_is_known(value, expects):
    request = RequestScan(MAX_BODY)
    request.look(bytearray(HEAD + b"Expect: " + value + b"\r\nContent-Length: 5\r\n\r\n"))
    assert request.expects_continue is expects
