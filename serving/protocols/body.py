"""The body of a request, however it was sent, and the inputs for the model in it.

Below Flask: a request costs Flask about as much as a small model, and all that it would be used for here is the body.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Request

from serving.calls import Limits
from serving.engines.base import Array
from serving.errors import Refused, bad_request, show
from serving.protocols.read_instances import Reader
from training.data.decode import ONLY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

T = TypeVar("T")
JSON_TYPES = {"application/json", "text/json"}
IMAGE_TYPES = {
    "image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp", "image/bmp": "bmp", "image/x-ms-bmp": "bmp",
    "image/tiff": "tiff",
}  # fmt: skip
"""Content type → what `[images] formats` calls it."""
ANY_TYPES = {"", "application/octet-stream", "application/x-www-form-urlencoded"}
"""The last is what `curl --data-binary` says about everything: the content decides."""
WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Content-Encoding → zlib's word for its framing."""
SEND = 'send JSON {"instances": [...]}, for image models a PNG or JPEG, or a file of CSV, Parquet, Arrow or .npy with its type'


def read_inputs(environ: WSGIEnvironment, reader: Reader, limits: Limits) -> tuple[dict[str, Array], int]:
    """The inputs for the model and the number of rows; raises Refused, or Werkzeug's HTTPException for 400 and 413."""
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        if _encoding(environ) != "identity":
            raise Refused(415, "Content-Encoding: a compressed form is not taken", hint="send the form as it is")
        files, texts = _received(lambda: _form(environ, limits))
        return reader.images(files, limits.instances) if files else reader.form(texts)
    body = unpacked_body(environ, limits)
    if not body:
        raise bad_request("the body is empty", hint=SEND)
    if kind in JSON_TYPES or kind.endswith("+json") or (kind in ANY_TYPES and body.lstrip()[:1] in {b"{", b"["}):
        return reader.instances(body, limits.instances)
    if IMAGE_TYPES.get(kind) in (reader.image.formats if reader.image else ONLY) or (
        kind in ANY_TYPES and reader.signature.kind == "image"
    ):
        return reader.images([body], limits.instances)
    if kind in ANY_TYPES:
        raise bad_request("the body is not JSON", hint=SEND)
    raise Refused(415, f"Content-Type {kind[:80]!r} is not taken", hint=SEND)


def unpacked_body(environ: WSGIEnvironment, limits: Limits) -> bytes:
    """The body, which may be sent compressed; raises Refused, or Werkzeug's HTTPException for 400 and 413."""
    encoding = _encoding(environ)
    if encoding not in {"identity", *WINDOWS}:
        raise Refused(415, f"Content-Encoding {encoding[:40]!r} is not taken", hint=f"known: {', '.join(WINDOWS)}")
    body = _received(lambda: _body(environ, limits))
    return body if encoding == "identity" else _inflated(body, encoding, limits.body)


def _encoding(environ: WSGIEnvironment) -> str:
    return str(environ.get("HTTP_CONTENT_ENCODING", "")).strip().lower() or "identity"


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """The body unpacked, which never takes more than `limit` bytes: a few kilobytes can hold gigabytes."""
    unpack = zlib.decompressobj(WINDOWS[encoding])
    try:
        found = unpack.decompress(body, limit + 1)
    except zlib.error as error:
        raise bad_request(f"the body is not {encoding}: {error}") from None
    if len(found) > limit:
        raise RequestEntityTooLarge
    if not unpack.eof or unpack.unused_data:
        raise bad_request(f"the body is not {encoding}: it {'has more behind it' if unpack.eof else 'ends early'}")
    return found


def _body(environ: WSGIEnvironment, limits: Limits) -> bytes:
    length = environ.get("CONTENT_LENGTH", "")
    if not length or "HTTP_TRANSFER_ENCODING" in environ:
        body = _request(environ, limits).get_data(cache=False)
        if len(body) >= limits.body:
            raise RequestEntityTooLarge  # Werkzeug cuts a chunked body off silently
        return body
    size = int(length)  # the server has checked it
    if size > limits.body:
        raise RequestEntityTooLarge
    body = bytes(environ["wsgi.input"].read(size))
    if len(body) < size:
        raise ClientDisconnected
    return body


def _form(environ: WSGIEnvironment, limits: Limits) -> tuple[list[bytes], dict[str, str]]:
    """The files of a form, and its texts by name."""
    with _request(environ, limits) as request:  # closes the files as well
        texts = dict(request.form.items())
        return [each.read() for _, each in request.files.items(multi=True)], texts


def _request(environ: WSGIEnvironment, limits: Limits) -> Request:
    request = Request(environ, populate_request=False)  # else the environment would hold it, and it the environment
    request.max_content_length = request.max_form_memory_size = limits.body
    return request


def _received(read: Callable[[], T]) -> T:
    """The result of `read`; whatever makes a body unreadable comes from the client or its connection, so it is 400."""
    try:
        return read()
    except (HTTPException, MemoryError):
        raise
    except Exception as error:
        raise bad_request(f"the body cannot be read: {str(error)[:200] or type(error).__name__}") from error


def parsed_object(body: bytes, hint: str) -> dict[str, Any]:
    """The JSON object in `body`; raises Refused. `hint`: what to send instead.

    Python's clients write the words NaN and Infinity, which JSON does not have: then the number is refused, by its place.
    """
    if not body:
        raise bad_request("the body is empty", hint=hint)
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        found = _with_nan(body)
        if found is None:
            raise bad_request(f"the body is not JSON: {str(error)[:200]}", hint=hint) from None
    if not isinstance(found, dict):
        raise bad_request(f"the body is {show(found)}, an object is expected", hint=hint)
    return found


def _with_nan(body: bytes) -> Any:
    if b"NaN" not in body and b"Infinity" not in body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
