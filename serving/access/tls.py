"""TLS for the API: the certificate and its key, checked at the start and read again when they change. Light."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from registry.errors import ConfigError
from serving.reach import is_out_of_reach

CHECK = 1.0  # seconds between two checks whether the files have changed
SOON = timedelta(days=14)
log = logging.getLogger(__name__)


class TlsContext:
    """`current` is the context for the next connection: connections that are open keep the certificate that they began with."""

    def __init__(self, certfile: str, keyfile: str) -> None:
        """Raises ConfigError for files that cannot be used."""
        self._certfile, self._keyfile = certfile, keyfile
        self._seen = _stamps(certfile, keyfile)
        self._context = load(certfile, keyfile)
        self._check_at = time.monotonic() + CHECK
        self._lock = threading.Lock()

    def current(self) -> ssl.SSLContext:
        """With the files as they are now; those of before, when the new ones cannot be used."""
        if time.monotonic() >= self._check_at:
            with self._lock:
                self._check_at = time.monotonic() + CHECK
                self._refresh()
        return self._context

    def _refresh(self) -> None:
        seen = _stamps(self._certfile, self._keyfile)
        if seen == self._seen:
            return
        try:
            self._context = load(self._certfile, self._keyfile)
        except ConfigError as error:  # one of the two is still the old one, perhaps: the next check looks again
            lost = any(is_out_of_reach(Path(each).parent) for each in (self._certfile, self._keyfile))
            why = (
                "their folder was replaced after this API had started, which has to be started again" if lost else error
            )
            log.warning("TLS keeps the certificate that was read before: %s", why)
            return
        self._seen = seen
        log.info("TLS: %s was read again", self._certfile)


def load(certfile: str, keyfile: str) -> ssl.SSLContext:
    """A context with a certificate (and those of its issuers) and its key, for TLS 1.2 and newer; raises ConfigError."""
    for name, path in (("certfile", certfile), ("keyfile", keyfile)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"[serving] {name}: {path}: {error.strerror}", hint="name a PEM file") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"[serving] keyfile: {keyfile} is not the key of the certificate in {certfile}",
                hint="name the two files that were made together",
            ) from None
        raise ConfigError(
            f"[serving] certfile and keyfile: {certfile} and {keyfile} cannot be used: {reason}",
            hint="both are PEM files, the certificate followed by those of its issuers; the key has no password",
        ) from None
    except _NeedsPasswordError:
        raise ConfigError(
            f"[serving] keyfile: {keyfile} is protected by a password, which nobody could enter",
            hint=f"openssl pkey -in {keyfile} -out a-new-file; chmod 600 it",
        ) from None
    return context


def expires(certfile: str) -> datetime:
    """When the certificate ends; for a file that `load` has accepted."""
    from cryptography.x509 import load_pem_x509_certificate  # for the controller alone

    return load_pem_x509_certificate(Path(certfile).read_bytes()).not_valid_after_utc


def problems(certfile: str, keyfile: str) -> list[str]:
    """What an operator should know of files that can be used: the certificate ends soon, others can read the key."""
    found, end, now = [], expires(certfile), datetime.now(UTC)
    if end <= now:
        found.append(f"the certificate in {certfile} expired on {end:%Y-%m-%d}")
    elif end - now < SOON:
        found.append(f"the certificate in {certfile} expires on {end:%Y-%m-%d}")
    if os.stat(keyfile).st_mode & 0o077:
        found.append(f"{keyfile} can be read by others (chmod 600)")
    return found


class _NeedsPasswordError(Exception):
    """Without this, OpenSSL would ask at a terminal."""


def _no_password() -> bytes:
    raise _NeedsPasswordError


def _stamps(*paths: str) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    for path in paths:
        try:
            stat = os.stat(path)
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except OSError:
            found.append(())
    return tuple(found)
