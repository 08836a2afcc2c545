"""gunicorn's errors as answers: what clients get whose requests do not get to the app."""

from __future__ import annotations

from gunicorn.http import errors

from serving.server import refusals
from serving.server.refusals import Refusal


def refusal_for(error: Exception) -> Refusal:
    """The answer to a request that did not get to the app, or that the app left without an answer."""
    if isinstance(error, errors.LimitRequestLine):
        return Refusal(414, "request_line", "the first line of the request is too long", "send data in the body")
    if isinstance(error, errors.LimitRequestHeaders):
        return refusals.HEAD_TOO_LARGE
    if isinstance(error, errors.ExpectationFailed):
        return Refusal(417, "expectation", str(error)[:200], "the only one is 100-continue")
    if isinstance(error, errors.UnsupportedTransferCoding):
        text = "Transfer-Encoding: a coding that is not supported"
        return Refusal(501, "transfer_coding", text, "the only one is chunked")
    if isinstance(error, errors.NoMoreData):
        return Refusal(400, "ended_early", "the request ended early")
    if isinstance(error, errors.ParseException):
        return Refusal(400, "malformed", f"the request is not valid HTTP: {str(error)[:200]}")
    return Refusal(500, "error", "an error inside the server; it was logged under the request id")
