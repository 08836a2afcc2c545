"""What a store asks of its server: the requests of a piece of work, in order."""

import contextlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    operation: str
    key: str
    sent: int
    """Bytes of the body."""


@contextlib.contextmanager
def requests_of(store):
    """A list that fills with the requests of this store while the block runs."""
    events, found = store._objects.client.meta.events, []
    prefix = store._objects.place.prefix

    def before_call(model, params, **_):
        body = params["body"]
        key = params["url_path"].partition(f"{prefix}/")[2]
        found.append(Request(model.name, key, len(body) if isinstance(body, bytes) else 0))

    events.register("before-call.s3", before_call)
    try:
        yield found
    finally:
        events.unregister("before-call.s3", before_call)
