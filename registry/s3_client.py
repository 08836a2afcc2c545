"""The client of an object store, and what a person can do about its errors. botocore, the core of boto3, is loaded when a
client is made.

Credentials come from boto3's own chain (environment, `~/.aws`, a role), never from a file of the project.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from registry.dataclass import dataclass
from registry.errors import ConfigError, PipelineError, TryAgain
from registry.store_options import Access

URL = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])(?:/(?P<prefix>[^?#\\]*))?")
ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/?")
ASKED = re.compile(r"(https?://)(?:[^/@\s\"']*@)?([^/?#\s\"']+)[^\s\"']*")
"""A URL in an error: its scheme, perhaps a login, its host, and what was asked for there."""
ATTEMPTS = 5
"""Of one request; botocore waits up to 20 s between two."""
CONNECT_SECONDS, READ_SECONDS = 5, 60
SKEWED = 15 * 60
"""Seconds by which the time in a signature may be wrong."""
MISSING = {"NoSuchKey", "404", "NotFound"}
TAKEN = {"PreconditionFailed", "412"}
CONFLICT = {"ConditionalRequestConflict", "409"}
UNCHANGED = {"304", "NotModified"}
"""A concurrent request for the same key: who comes later may be refused before it is known who has won."""

CREDENTIALS = (
    "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from {section} profile and ~/.aws, or from the role "
    "of this machine; they are never in the settings"
)
ALLOW = "this identity needs s3:ListBucket, s3:GetObject, s3:PutObject and s3:AbortMultipartUpload there"
LATER = "the same command works once it answers again; nothing was lost"
ALTERED = "the bytes were altered on the way; the same command sends them again"
FULL = "the store is full: raise its quota, or remove what is not needed; nothing was lost"
NO_REASON = "the store gave no reason: are the credentials right? If so, " + ALLOW
STAYS = (
    LATER
    + "; if this stays: the store may be full, or not know what {section} asks for, e.g. `sse`: its own log says more"
)
CLOCK = "set this machine's clock, e.g. `timedatectl set-ntp true`"
RENEW = "renew the credentials; {credentials}"
AUTHORITY = "have AWS_CA_BUNDLE name a file with the certificates of your own authority"
TLS = {
    "unable to get": AUTHORITY,
    "self-signed": AUTHORITY,
    "No such file": AUTHORITY,
    "NO_CERTIFICATE_OR_CRL_FOUND": AUTHORITY,
    "CERTIFICATE_VERIFY_FAILED": "correct the host in {section} endpoint, or have the store's certificate renewed",
    "WRONG_VERSION_NUMBER": "the store speaks no TLS there: correct {section} endpoint, or begin it with http://",
}
"""What an error says → what to do; the first that it holds counts."""
REFUSALS: dict[str, tuple[type[PipelineError], str]] = {
    "NoSuchBucket": (ConfigError, "create the bucket, or correct its name"),
    "InvalidBucketName": (ConfigError, "correct the bucket's name"),
    "AccessDenied": (ConfigError, ALLOW),
    "403": (ConfigError, NO_REASON),  # an answer to HEAD has no body, and so no other code
    "AllAccessDisabled": (ConfigError, ALLOW),
    "InvalidAccessKeyId": (ConfigError, CREDENTIALS),
    "SignatureDoesNotMatch": (ConfigError, CREDENTIALS),
    "InvalidToken": (ConfigError, CREDENTIALS),
    "ExpiredToken": (ConfigError, RENEW),
    "ExpiredTokenException": (ConfigError, RENEW),
    "RequestTimeTooSkewed": (ConfigError, CLOCK),
    "RequestExpired": (ConfigError, CLOCK),
    "InvalidObjectState": (ConfigError, "it was archived: restore it to a class that can be read at once"),
    "BadDigest": (TryAgain, ALTERED),
    "XAmzContentSHA256Mismatch": (TryAgain, ALTERED),
    "RequestTimeout": (TryAgain, LATER),
    "QuotaExceeded": (TryAgain, FULL),
    "InsufficientStorage": (TryAgain, FULL),
    "XMinioStorageFull": (TryAgain, FULL),
    "507": (TryAgain, FULL),
    "InternalError": (TryAgain, STAYS),
    "500": (TryAgain, STAYS),
    "NoSuchUpload": (TryAgain, "the store has ended the upload; the same command sends the file again"),
}
OTHER_REGION = {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, the prefix of all keys in it, and the section of the settings that names them, for messages."""

    bucket: str
    prefix: str
    """Without slashes around it; may be empty."""
    section: str

    def key(self, name: str) -> str:
        """The key of what is called `name` below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    @property
    def url(self) -> str:
        """As a person writes it."""
        return f"s3://{self.bucket}/{self.prefix}".removesuffix("/")

    def __str__(self) -> str:
        return f"{self.section} url: {self.url}"

    def hint(self, text: str) -> str:
        """A hint that names this section's settings."""
        return text.format(section=self.section, credentials=CREDENTIALS.format(section=self.section))


def parse_url(url: str, section: str) -> Place:
    """The place that `s3://bucket/prefix` names; raises ConfigError, which does not repeat what may be a password."""
    if "@" in url:
        raise ConfigError(f"{section} url: holds a user name or a password", hint=CREDENTIALS.format(section=section))
    found = URL.fullmatch(url)
    if found is None or not url.isprintable():
        raise ConfigError(
            f"{section} url: {url!r} is not s3://bucket/prefix", hint='for example "s3://models/trainyard"'
        )
    prefix = (found["prefix"] or "").strip("/")
    if prefix and any(part.startswith(".") or not part for part in prefix.split("/")):
        raise ConfigError(
            f"{section} url: {url!r}: a part of the prefix is empty or begins with a dot", hint="choose another prefix"
        )
    return Place(found["bucket"], prefix, section)


def check_endpoint(endpoint: str, section: str) -> None:
    """Raise ConfigError unless `endpoint` is empty, or http(s):// and a host, with nothing secret in it."""
    if "@" in endpoint:
        raise ConfigError(
            f"{section} endpoint: holds a user name or a password", hint=CREDENTIALS.format(section=section)
        )
    if endpoint and not ENDPOINT.fullmatch(endpoint):
        raise ConfigError(
            f"{section} endpoint: {endpoint!r} is not http(s)://host:port", hint='for example "https://s3.example.org"'
        )


def connect(place: Place, access: Access, at_once: int = 10, *, direct: bool = False) -> Any:
    """A client for S3, for up to `at_once` threads; a forked child needs its own. Raises ConfigError.

    `direct`: not through a proxy that the environment names.
    """
    from botocore.config import Config
    from botocore.session import Session

    with typed_errors(place):
        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            tcp_keepalive=True,
            max_pool_connections=at_once,
            # We send the SHA-256 of what we write in a header that is signed: the body is not hashed a second time.
            s3={"payload_signing_enabled": False},
            user_agent_extra="trainyard",
            proxies={} if direct else None,
        )
        session = Session(profile=access.profile or None)
        session.register_component("data_loader", _loader())
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
        return session.create_client(
            "s3", region_name=access.region or None, endpoint_url=access.endpoint or None, config=config
        )


@functools.cache
def _loader() -> Any:
    """What reads botocore's description of S3, a megabyte of JSON, once in a process: a command opens several stores."""
    from botocore.session import Session

    return Session().get_component("data_loader")


def _time(text: Any) -> datetime:
    """A time in an answer. botocore's own way takes most of the time that the listing of a thousand objects takes."""
    from botocore.utils import parse_timestamp

    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return cast("datetime", parse_timestamp(text))


@contextlib.contextmanager
def typed_errors(place: Place, key: str = "") -> Iterator[None]:
    """Turn botocore's errors into PipelineErrors; a missing key becomes FileNotFoundError, a taken one FileExistsError."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refused(error.response, place, key) from error
    except (BotoCoreError, ResponseParserError) as error:
        kind, hint = _not_answered(error)
        raise kind(f"{place}: {_without_paths(error)}", hint=place.hint(hint)) from error


def code_of(error: Exception) -> str:
    """The error code in a store's answer; empty when it gave none."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def was_retried(answer: Mapping[str, Any]) -> bool:
    """Whether botocore has sent the request more than once: an earlier one may have done the work."""
    return int(answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)) > 0


def server_of(answer: Mapping[str, Any]) -> str:
    """What the store calls itself."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return _one_line(headers.get("server") or "this store")[:80]


def _refused(answer: Mapping[str, Any], place: Place, key: str) -> Exception:
    """What an answer other than 2xx means."""
    error, facts = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(facts.get("HTTPStatusCode", 0))
    if code in MISSING:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
    if code in TAKEN:
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), key)
    said = f": {_one_line(error['Message'])}" if error.get("Message") else ""
    what = f"{place}: {server_of(answer)} answered {code or status}{said}"
    region = error.get("Region") or facts.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if code in OTHER_REGION or (code == "400" and region):
        return ConfigError(what, hint=place.hint("set {section} region to " + str(region or "that of the bucket")))
    if code == "403" and _differs(facts.get("HTTPHeaders", {}).get("date", "")):
        return ConfigError(f"{what}: its clock and this machine's differ", hint=CLOCK)
    if code in REFUSALS:
        kind, hint = REFUSALS[code]
        return kind(what, hint=place.hint(hint))
    if code.startswith("KMS."):
        return ConfigError(
            what, hint=place.hint("correct {section} kms_key, or what this identity may do with that key")
        )
    if (status >= 500 and status != 501) or status == 429 or code in CONFLICT or "Slow" in code or "Throttl" in code:
        return TryAgain(what, hint=LATER)
    return ConfigError(what, hint=place.hint("does this store support what {section} asks for, e.g. `sse`?"))


def _differs(date: str) -> bool:
    """Whether an answer of this date was written more than a quarter of an hour ago, or later on, by this machine's clock."""
    from email.utils import parsedate_to_datetime  # with more of the standard library than all else here

    try:
        written = parsedate_to_datetime(date)
        return abs((datetime.now(UTC) - written).total_seconds()) > SKEWED
    except (TypeError, ValueError):
        return False


def _not_answered(error: Exception) -> tuple[type[PipelineError], str]:
    """What to do about an error of the request itself, or of the way."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, boto.SSLError) and (hint := next((TLS[each] for each in TLS if each in str(error)), "")):
        return ConfigError, hint
    if isinstance(error, boto.ProfileNotFound):
        return ConfigError, "correct {section} profile, or add it to ~/.aws/config"
    if isinstance(error, (boto.NoRegionError, boto.InvalidRegionError)):
        return ConfigError, "correct {section} region"
    if isinstance(error, boto.FlexibleChecksumError):
        return TryAgain, "the bytes were altered on the way; the same command reads them again"
    cut_off = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, ResponseParserError)
    if isinstance(error, cut_off):
        return TryAgain, "does {section} endpoint name the store, and is it in reach? Then the same command works later"
    asks = ("Credential", "Token", "SSO", "Login", "MFA", "Metadata")
    if any(word in type(error).__name__ for word in asks):
        return ConfigError, "{credentials}"
    return ConfigError, "correct {section} url and what belongs to it, or ~/.aws/config"


def _without_paths(error: Exception) -> str:
    """What botocore says, with the server that it asked, and not what it asked for: the same for all requests."""
    return ASKED.sub(r"\1\2", _one_line(error))


def _one_line(text: object) -> str:
    """A text from elsewhere, short and without control characters."""
    return "".join(each if each.isprintable() else " " for each in str(text)).strip()[:400]
