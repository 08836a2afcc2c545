"""A person's yes as a signed token: bound to one model, one version and one manifest, and it expires."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from pipelines.config.load import secret as read_secret
from registry.errors import ConfigError, Rejected
from registry.files import sweep, write_new

PURPOSE = b"trainyard.promote.1"  # another purpose or layout needs another salt: its tokens must not pass here
MIN_SECRET = 32  # characters
MAX_TOKEN = 2048  # characters
SECRET_FILE = "approval.secret"  # noqa: S105  (a file's name)
SHAPE = re.compile(r"\.?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")  # content.time.signature
NEW_TOKEN = "`trainyard run tests --force` tests the newest version again and mails a new approval of it"  # noqa: S105


def make_token(secret: str, model: str, version: int, card: str, *, at: float | None = None) -> str:
    """A token that approves exactly the manifest with this SHA-256; made at `at` (POSIX seconds), else now.

    It is safe in a URL and in a shell. Who holds it can promote this one version, once.
    """
    content = {"id": secrets.token_urlsafe(12), "model": model, "version": version, "card": card}
    return str(_serializer(secret, at).dumps(content))


def check_token(secret: str, token: str, model: str, version: int, card: str, valid_days: float) -> str:
    """The id inside a token that approves exactly this manifest; raises Rejected with the reason."""
    if len(token) > MAX_TOKEN or not SHAPE.fullmatch(token):
        raise Rejected("the approval token is malformed", hint="copy the whole token from the mail, without spaces")
    serializer = _serializer(secret)
    try:
        content = serializer.loads(token, max_age=int(valid_days * 86400))
    except SignatureExpired as error:
        raise _out_of_time(error, valid_days) from None
    except BadData:
        raise _altered() from None
    signed, _, signature = token.rpartition(".")
    # Base64 leaves bits unused: several last characters decode to one signature, and only the one we wrote is valid.
    if serializer.make_signer(PURPOSE).get_signature(signed) != signature.encode():
        raise _altered()
    return _id_for(content, model, version, card)


def expires_at(valid_days: float, *, at: float | None = None) -> str:
    """When a token made at `at` (POSIX seconds; now) expires: UTC, ISO 8601."""
    return _iso(datetime.fromtimestamp(time.time() if at is None else at, UTC) + timedelta(days=valid_days))


def approval_secret(home: Path, env: Mapping[str, str] = os.environ) -> str:
    """What tokens are signed with: `TRAINYARD_APPROVAL_SECRET` (or the file named by `…_FILE`), else a secret of
    `home`'s own, made once and readable by its owner only. Raises ConfigError for one that others can read or guess."""
    secret = read_secret("APPROVAL_SECRET", env)
    where = "TRAINYARD_APPROVAL_SECRET"
    if not secret:
        path = home / SECRET_FILE
        secret, where = _own_secret(path), str(path)
    if len(secret) < MIN_SECRET:
        raise ConfigError(
            f"{where}: {len(secret)} characters, at least {MIN_SECRET} are wanted",
            hint='make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return secret


def _own_secret(path: Path) -> str:
    try:
        sweep(path.parent)  # of one who was killed while it made a secret
        write_new(path, secrets.token_urlsafe(32).encode() + b"\n", 0o600)
    except FileExistsError:
        pass  # made before, or by a concurrent process: that one is used
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="[home] must be a folder that we may write to") from None
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077:
                raise ConfigError(
                    f"{path}: others may read or write the secret that approvals are signed with",
                    hint=f"remove it, and a new one is made; approvals mailed before become invalid (rm {path})",
                )
            return file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read it: {error}", hint="run as the user who made it") from None


def _serializer(secret: str, at: float | None = None) -> URLSafeTimedSerializer:
    class Signer(TimestampSigner):
        """Signs with the time that was given."""

        def get_timestamp(self) -> int:
            return int(time.time() if at is None else at)

    return URLSafeTimedSerializer(
        secret, salt=PURPOSE, signer=Signer, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    )


def _altered() -> Rejected:
    return Rejected(
        "the approval token was altered, or signed with another secret",
        hint="copy it from the mail once more; TRAINYARD_APPROVAL_SECRET must be what it was when the mail was made",
    )


def _out_of_time(error: SignatureExpired, valid_days: float) -> Rejected:
    made_at = error.date_signed
    assert made_at is not None
    until = made_at + timedelta(days=valid_days)
    if until < datetime.now(UTC):
        return Rejected(f"the approval token expired at {_iso(until)}", hint=NEW_TOKEN)
    return Rejected(
        f"the approval token says that it was made at {_iso(made_at)}, which is in the future",
        hint="set the clocks of the machine that mailed it and of this one",
    )


def _id_for(content: Any, model: str, version: int, card: str) -> str:
    said = f"{content['model']} version {content['version']}"
    if (content["model"], content["version"]) != (model, version):
        raise Rejected(
            f"the approval token is for {said}, not for {model} version {version}",
            hint="use the token from the mail about this version",
        )
    if content["card"] != card:
        raise Rejected(
            f"the approval token is for another manifest of {said}: {content['card']:.12}…, not {card:.12}…",
            hint="the registry is not the one that the mail was about; " + NEW_TOKEN,
        )
    return str(content["id"])


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
