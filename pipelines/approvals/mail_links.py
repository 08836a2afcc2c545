"""The link of a mail that leads one person to one decision on the console: signed, bound to the manifest, and it expires.

With `[console] mail_link = "decide"` it signs that person in, once. Whoever makes it (the controller that sends the mail) and
whoever checks it (the console) have the secret that approval tokens are signed with.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from registry.dataclass import dataclass
from registry.errors import Rejected

PURPOSE = b"trainyard.link.1"
MOST = 2048
"""Characters."""
SHAPE = re.compile(r"\.?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
ANOTHER = "sign in to the console, where the candidate waits, too"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says."""

    id: str
    model: str
    version: int
    card: str
    """SHA-256 of the manifest that is to be decided about."""
    to: str
    """The address to which it was sent."""


def make_link(secret: str, model: str, version: int, card: str, to: str, *, at: float | None = None) -> str:
    """The path below `[console] url` for the mail to one address; made at `at` (POSIX seconds), else now."""
    content = [secrets.token_urlsafe(12), model, version, card, to]
    return f"/link/{_serializer(secret, at).dumps(content)}"


def read_link(secret: str, token: str, hours: float) -> Link:
    """What the end of the path says; raises Rejected for one that was altered or has expired."""
    if len(token) > MOST or not SHAPE.fullmatch(token):
        raise Rejected("the link is not whole", hint="copy all of it from the mail")
    try:
        id_, model, version, card, to = _serializer(secret).loads(token, max_age=int(hours * 3600))
    except SignatureExpired:
        raise Rejected(f"the link has expired: it holds for {hours:g} hours", hint=ANOTHER) from None
    except (BadData, ValueError, TypeError):
        raise Rejected("the link was altered", hint=f"copy all of it from the mail, or {ANOTHER}") from None
    return Link(id_, model, version, card, to)


def _serializer(secret: str, at: float | None = None) -> URLSafeTimedSerializer:
    class Signer(TimestampSigner):
        """Signs with the time that was given."""

        def get_timestamp(self) -> int:
            return int(time.time() if at is None else at)

    return URLSafeTimedSerializer(
        secret, salt=PURPOSE, signer=Signer, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    )
