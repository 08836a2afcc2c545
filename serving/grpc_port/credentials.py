"""TLS for gRPC: the certificate of the API, read again when it changes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc

from serving.access.tls import TlsContext


def credentials(tls: TlsContext, certfile: str, keyfile: str) -> Any:
    """For a port; each handshake takes the files that `tls` has found to be good."""
    log, seen = logging.getLogger(__name__), [tls.current()]
    first = _configuration(certfile, keyfile)

    def look() -> Any:
        """Called by grpc at each handshake; None: as before."""
        if (context := tls.current()) is seen[0]:
            return None
        try:
            found = _configuration(certfile, keyfile)
        except OSError as error:
            log.warning("TLS keeps the certificate that was read before: %s", error)
            return None
        seen[0] = context
        return found

    return grpc.dynamic_ssl_server_credentials(first, look)


def _configuration(certfile: str, keyfile: str) -> Any:
    pair = Path(keyfile).read_bytes(), Path(certfile).read_bytes()
    return grpc.ssl_server_certificate_configuration([pair])
