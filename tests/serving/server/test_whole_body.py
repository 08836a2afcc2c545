"""A body that has come whole is handed to the app at once, and only where the parser and the scan agree on what it is."""

import socket
from io import BytesIO

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st
from sent_requests import HEAD, requests

from serving.server.connection import Connection
from serving.server.gunicorn_worker import SKIPPED, _hand_over_body


def received(data, complete=True):
    """A connection that has received that, and gunicorn's parser with the head of its first request."""
    ours, theirs = socket.socketpair()
    theirs.close()
    conn = Connection(ours, ("127.0.0.1", 1), ("127.0.0.1", 80), 1000, None)
    ours.close()
    conn.input += data
    conn.look()
    conn.complete = complete
    parser = RequestParser(Config(), conn, conn.client)
    return conn, parser, next(parser)


@given(requests(), st.binary(max_size=30))
def test_the_app_reads_the_same_bytes_and_the_next_request_begins_where_it_did(request_and_body, after):
    data, body = request_and_body
    conn, parser, request = received(data + after)
    _hand_over_body(parser, request, conn)
    assert isinstance(request.body, BytesIO) is (b"chunked" not in data.lower())
    assert request.body.read(len(body)) == body
    assert not request.body.read(SKIPPED)
    assert conn.finish_request(len(parser.unreader.take_buffered()))
    assert conn.input == after


def test_a_body_of_which_the_app_reads_nothing_is_over_all_the_same():
    data = HEAD + b"Content-Length: 3\r\n\r\nabc"
    conn, parser, request = received(data + data)
    _hand_over_body(parser, request, conn)
    assert conn.finish_request(len(parser.unreader.take_buffered()))
    assert conn.input == data


@pytest.mark.parametrize(("length", "ahead"), [(4, 3), (2, 3), (3, 2), (3, 4)])
def test_where_the_parser_sees_another_body_nothing_is_handed_over_and_the_connection_ends(length, ahead):
    conn, _, _ = received(HEAD + b"Content-Length: 3\r\n\r\nabc")
    before = conn._taken
    assert conn.whole_body(length, ahead) is None
    assert conn._taken == before


def test_a_body_of_which_a_part_is_missing_is_read_as_before():
    conn, parser, request = received(HEAD + b"Content-Length: 30\r\n\r\nabc", complete=False)
    _hand_over_body(parser, request, conn)
    assert not isinstance(request.body, BytesIO)
    assert request.body.read() == b"abc"
