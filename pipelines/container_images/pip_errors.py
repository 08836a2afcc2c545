"""What pip's last lines mean to a person, wherever it ran."""

from __future__ import annotations

import re

from registry.errors import ConfigError, PipelineError, TryAgain

SHOWN = 600  # characters of them in the message; the log has all
ADVICE = re.compile(r"To fix this you could|\d\. |ERROR: ResolutionImpossible")
CERTIFICATE = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerificationError|confirming the ssl"
)
NETWORK = re.compile(
    r"connection broken by|NewConnectionError|Max retries exceeded|Temporary failure in name resolution|timed out"
    r"|ConnectionResetError|Connection refused|IncompleteRead|HTTP error 5\d\d|ProxyError|Network is unreachable"
)
UNKNOWN = re.compile(r"satisfies the requirement ([A-Za-z0-9._-]+).*\(from versions: ([^)]*)\)")
CONFLICT = re.compile(r"ResolutionImpossible|conflicting dependencies|^Cannot install ", re.MULTILINE)


def pip_error(what: str, output: str, *, certificate: str, versions: str) -> PipelineError:
    """The error of an installation that failed. Hints: `certificate`, when one was not trusted; `versions`, for anything else
    that is not the network's."""
    said = error_lines(output)
    if CERTIFICATE.search(output):
        return ConfigError(f"{what}: {said}", hint=certificate)
    if NETWORK.search(output) and not CONFLICT.search(output):
        return TryAgain(f"{what}: {said}", hint="is the package index reached? PIP_INDEX_URL names another one")
    if (found := UNKNOWN.search(output)) and not CONFLICT.search(output):
        return ConfigError(f"{what}: {said}", hint=_not_found(*found.groups()))
    return ConfigError(f"{what}: {said}", hint=versions)


def _not_found(package: str, there: str) -> str:
    """`there`: the versions that the index has as wheels for this Python."""
    if there == "none":
        return f"is {package!r} its name in the index? each package needs a wheel for this Python; PIP_INDEX_URL names another index"
    return f"ask for a version of {package!r} that is there as a wheel for this Python"


def error_lines(output: str) -> str:
    """From pip's first ERROR on, or the last lines."""
    lines = output.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("ERROR:")]
    chosen = lines[errors[0] :] if errors else lines[-5:]
    said = " ".join(" ".join(line for line in chosen if not ADVICE.match(line)).split()).replace("ERROR: ", "")
    return said if len(said) <= SHOWN else f"{said[:SHOWN]}…"
