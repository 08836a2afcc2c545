"""`POST /feedback`: which label was right, of one answer or of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson
from werkzeug.exceptions import RequestEntityTooLarge

from serving.calls import Answer, Call
from serving.errors import Refused, bad_request, show
from serving.feedback.items import MOST_ITEMS, SEND, entries
from serving.feedback.taker import Result
from serving.protocols.base import Refusal, Route
from serving.protocols.body import ANY_TYPES, JSON_TYPES, unpacked_body
from serving.protocols.instances import plain_refusal
from serving.wsgi_keys import CLIENT

PATH = "/feedback"
MOST_BYTES = 1 << 20


class Taker(Protocol):
    """Whatever keeps labels."""

    def take(self, entries: Sequence[Any], caller: str) -> list[Result]:
        """What became of each report."""


class FeedbackDialect:
    """`taker`: None: nothing is kept of what was answered, so there is nothing to label."""

    name = "feedback"
    prefixes: tuple[str, ...] = (PATH,)

    def __init__(self, taker: Taker | None) -> None:
        self._taker = taker

    def fixed(self) -> Mapping[str, Route]:
        """The only one."""
        return {PATH: Route(PATH, {"POST": self.take})}

    def find(self, path: str) -> Route | None:
        """No other."""

    def refuse(self, refusal: Refusal) -> Answer:
        """As `/predict`."""
        return plain_refusal(refusal)

    def take(self, call: Call) -> Answer:
        """One report is refused by its status; of several each has a result: 200 when all were taken, else 207."""
        if self._taker is None:
            hint = "whoever runs it can set [prediction_log] enabled = true"
            raise Refused(409, "this API keeps nothing of what it answers, so nothing can be labelled", hint=hint)
        found, single = entries(_body(call))
        if len(found) > MOST_ITEMS:
            raise Refused(413, f"feedback: {len(found)} reports, {MOST_ITEMS} at most", hint="send them in parts")
        results = self._taker.take(found, call.environ.get(CLIENT, ""))
        bad = [each for each in results if each.status >= 400]
        if single and bad:
            raise Refused(bad[0].status, bad[0].error, hint=bad[0].hint)
        counts = {name: sum(each.outcome == name for each in results) for name in ("added", "same")}
        body = {
            "request_id": call.request_id,
            **counts,
            "refused": len(bad),
            "feedback": [each.entry() for each in results],
        }
        return Answer(orjson.dumps(body), status=207 if bad else 200)


def _body(call: Call) -> Any:
    kind = call.environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind not in JSON_TYPES | ANY_TYPES and not kind.endswith("+json"):
        raise Refused(415, f"Content-Type {kind[:80]!r} is not taken", hint="send application/json")
    most = min(call.limits.body, MOST_BYTES)
    try:
        body = unpacked_body(call.environ, replace(call.limits, body=most))
    except RequestEntityTooLarge:
        raise Refused(413, f"the body is larger than {most} bytes", hint="send them in parts") from None
    if not body:
        raise bad_request("the body is empty", hint=SEND)
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not JSON: {str(error)[:200]}", hint=SEND) from None
    if not isinstance(found, (dict, list)):
        raise bad_request(f"the body is {show(found)}", hint=SEND)
    return found
