"""Whole requests as bytes, of every form that a body may have."""

from hypothesis import strategies as st

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"


def chunked(body, sizes, extension=b"", trailers=b""):
    """The body in chunks of these sizes."""
    parts = []
    for size in [*sizes, len(body) or 1]:
        part, body = body[:size], body[size:]
        if part:
            parts.append(b"%x%s\r\n%s\r\n" % (len(part), extension, part))
    return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"


@st.composite
def requests(draw):
    """A whole request that is valid, and its body."""
    body = draw(st.binary(max_size=60))
    before = draw(st.sampled_from([b"", b"\r\n"]))
    name = draw(st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH"]))
    kind = draw(st.sampled_from(["length", "chunked", "none"]))
    if kind == "length":
        return before + HEAD + b"%s:%d\r\nX: y\r\n\r\n" % (name, len(body)) + body, body
    if kind == "chunked":
        extension = draw(st.sampled_from([b"", b";a", b' ; a="b c"']))
        trailers = draw(st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC: d\r\n"]))
        sizes = draw(st.lists(st.integers(1, 20), max_size=5))
        coded = chunked(body, sizes, extension, trailers)
        return before + HEAD + b"Transfer-Encoding: Chunked \r\n\r\n" + coded, body
    return before + b"GET / HTTP/1.1\r\n\r\n", b""
