"""The body of a request, however it was sent, and the inputs for the model in it.

Below Flask: a request costs Flask about as much as a small model, and all that it would be used for here is the body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Request

from serving.engines.base import Array
from serving.protocols.base import Limits
from serving.protocols.errors import Refused, bad_request
from serving.protocols.read_instances import Reader

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

T = TypeVar("T")
JSON_TYPES = {"application/json", "text/json"}
IMAGE_TYPES = {"image/png", "image/jpeg"}
ANY_TYPES = {"", "application/octet-stream", "application/x-www-form-urlencoded"}
"""The last is what `curl --data-binary` says about everything: the content decides."""
SEND = 'send JSON {"instances": [...]}, or for image models a PNG or JPEG'


def read_inputs(environ: WSGIEnvironment, reader: Reader, limits: Limits) -> tuple[dict[str, Array], int]:
    """The inputs for the model and the number of rows; raises Refused, or Werkzeug's HTTPException for 400 and 413."""
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if environ.get("HTTP_CONTENT_ENCODING", "identity") != "identity":
        raise Refused(415, "Content-Encoding: compressed bodies are not taken", hint="send the body as it is")
    if kind == "multipart/form-data":
        files, texts = _received(lambda: _form(environ, limits))
        return reader.images(files, limits.instances) if files else reader.form(texts)
    body = _received(lambda: _body(environ, limits))
    if not body:
        raise bad_request("the body is empty", hint=SEND)
    if kind in JSON_TYPES or kind.endswith("+json") or (kind in ANY_TYPES and body.lstrip()[:1] in {b"{", b"["}):
        return reader.instances(body, limits.instances)
    if kind in IMAGE_TYPES or (kind in ANY_TYPES and reader.signature.kind == "image"):
        return reader.images([body], limits.instances)
    if kind in ANY_TYPES:
        raise bad_request("the body is not JSON", hint=SEND)
    raise Refused(415, f"Content-Type {kind[:80]!r} is not taken", hint=SEND)


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
