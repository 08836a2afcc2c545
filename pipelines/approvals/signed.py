"""A person's yes that is signed by the person's own key: one line, to be mailed or pasted, that is safe in a shell.

    signed:<JSON, base64url>.<signature, base64url>

The JSON names model, version, the manifest's SHA-256, who approves, when, until when, an id, and the public key.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.approvals.people import Approver
from registry.dataclass import dataclass
from registry.errors import Rejected
from registry.records import utc_now
from registry.signatures import PublicKey, Signer, read_public_key

PREFIX = "signed:"
PURPOSE = "trainyard.approve.1"
MAX_TEXT = 4096  # characters
SHAPE = re.compile(r"signed:[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
SIGN_AGAIN = "`trainyard approve MODEL VERSION --key FILE` signs a new one"
CLOCKS = timedelta(minutes=2)
"""How far the clocks of two machines may differ."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What an approver has signed."""

    model: str
    version: int
    card: str
    """SHA-256 of the manifest."""
    by: str
    """Who approves, in the approver's own words."""
    at: str
    until: str
    id: str
    key: str
    """The public key in one line."""


def sign(signer: Signer, model: str, version: int, card: str, by: str, valid_days: float) -> str:
    """An approval of exactly the manifest with this SHA-256, valid from now on."""
    at = utc_now()
    until = (_moment(at) + timedelta(days=valid_days)).strftime(MOMENT)
    said = Statement(model, version, card, by, at, until, secrets.token_urlsafe(12), signer.public.text)
    content = json.dumps(asdict(said), sort_keys=True, separators=(",", ":")).encode()
    return f"{PREFIX}{_base64url(content)}.{_base64url(base64.b64decode(signer.sign(content, PURPOSE)))}"


def check(text: str, approvers: Sequence[Approver], model: str, version: int, card: str) -> tuple[Statement, PublicKey]:
    """What the text says, and the key that has signed it, which must be one of an approver's; raises Rejected with the
    reason. How old it is, and whose it is, is decided elsewhere."""
    content, signature = _parts(text)
    try:
        said = Statement(**json.loads(content))
        good = [type(getattr(said, name)) for name in Statement.__slots__] == [str, int, *[str] * 6]
        key, moments = read_public_key(str(said.key), "approval"), (_moment(said.at), _moment(said.until))
    except Exception:  # noqa: BLE001  (whatever a foreign text makes of them)
        raise _malformed() from None
    if not good or not moments or _base64url(content) != text.removeprefix(PREFIX).partition(".")[0]:
        raise _malformed()
    if not key.verifies(base64.b64encode(signature).decode(), content, PURPOSE):
        raise Rejected("the signed approval was altered", hint=f"copy it once more; {SIGN_AGAIN}")
    if all(each.key != key.text for each in approvers):
        raise Rejected(
            f"the approval is signed by a key that [approval] approvers does not list: {key.short}",
            hint=f'add it there, in quotes: "{key.text} {_comment(said.by)}"',
        )
    _must_be_about(said, model, version, card)
    return said, key


def must_be_in_time(said: Statement, now: datetime | None = None) -> None:
    """Raise Rejected for an approval that has expired, or that comes from the future."""
    moment = now or datetime.now(UTC)
    if _moment(said.until) < moment:
        raise Rejected(f"the signed approval expired at {said.until}", hint=SIGN_AGAIN)
    if _moment(said.at) > moment + CLOCKS:
        raise Rejected(
            f"the signed approval says that it was made at {said.at}, which is in the future",
            hint="set the clocks of the machine that signed it and of this one",
        )


def _must_be_about(said: Statement, model: str, version: int, card: str) -> None:
    if (said.model, said.version) != (model, version):
        raise Rejected(
            f"the signed approval is for {said.model!r:.80} version {said.version}, not for {model} version {version}",
            hint=SIGN_AGAIN,
        )
    if said.card != card:
        raise Rejected(
            f"the signed approval is for another manifest of {model} version {version}: {said.card:.12}…, not {card:.12}…",
            hint=f"the registry is not the one in which it was signed; {SIGN_AGAIN}",
        )


def _parts(text: str) -> tuple[bytes, bytes]:
    if len(text) > MAX_TEXT or not SHAPE.fullmatch(text):
        raise _malformed()
    content, _, signature = text.removeprefix(PREFIX).partition(".")
    try:
        parts = tuple(base64.urlsafe_b64decode(each + "=" * (-len(each) % 4)) for each in (content, signature))
    except (ValueError, binascii.Error):
        raise _malformed() from None
    if _base64url(parts[1]) != signature:  # unused bits: only one text is the signature
        raise _malformed()
    return parts[0], parts[1]


def _malformed() -> Rejected:
    return Rejected("the signed approval is malformed", hint="copy the whole line, from `signed:` on, without spaces")


def _comment(text: Any) -> str:
    return re.sub(r"[^\w@.+-]+", "-", str(text))[:64]


def _moment(text: str) -> datetime:
    return datetime.strptime(text, MOMENT).replace(tzinfo=UTC)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
