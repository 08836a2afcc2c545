"""What a build that failed means: messages of real builds."""

import pytest

from pipelines.container_images.build import failure
from registry.errors import ConfigError, TryAgain

STOPPED = "The command '/bin/sh /build/install' returned a non-zero code: 1"
MISSING = "ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\nERROR: No matching distribution found for x==1"
CONFLICT = """ERROR: Cannot install numpy==1.26.4 because these package versions have conflicting dependencies.
The conflict is caused by:
    The user requested numpy==1.26.4
    The user requested (constraint) numpy==2.4.6
To fix this you could try to:
1. loosen the range of package versions you've specified
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/"""
BROKEN = (
    "WARNING: Retrying (Retry(total=2, connect=None, read=None, redirect=None, status=None)) after connection broken by "
    "'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object>: Failed to establish a new connection: "
    "[Errno 111] Connection refused')': /simple/x/\n"
)
UNTRUSTED = (
    "Could not fetch URL https://index.example/simple/x/: There was a problem confirming the ssl certificate: "
    "HTTPSConnectionPool: Max retries exceeded (Caused by SSLError(SSLCertVerificationError(1, 'certificate verify failed')))\n"
)


@pytest.mark.parametrize(
    ("output", "kind", "said"),
    [
        (MISSING, ConfigError, "No matching distribution found for x==1"),
        (f"Collecting a\n{CONFLICT}", ConfigError, "(constraint) numpy==2.4.6"),
        (BROKEN + CONFLICT, ConfigError, "conflicting"),
        (BROKEN + MISSING, TryAgain, "No matching distribution"),
        (UNTRUSTED + MISSING, ConfigError, "No matching distribution"),
        ("one\ntwo\nthree\nfour\nfive\nsix", ConfigError, "two three four five six"),
        ("ERROR: [Errno 28] No space left on device", TryAgain, "no space left"),
    ],
)
def test_pips_last_lines_are_shown_and_the_network_may_be_tried_again(output, kind, said):
    error = failure("requirements.txt", STOPPED, output)
    assert type(error) is kind
    assert said in str(error)
    assert str(error).startswith("requirements.txt: ")
    assert error.hint
    assert "loosen the range" not in str(error)


def test_a_proxy_that_is_not_trusted_has_its_own_hint():
    assert "--ca" in failure("requirements.txt", STOPPED, UNTRUSTED + MISSING).hint


def test_long_words_are_cut():
    assert len(str(failure("requirements.txt", STOPPED, "ERROR: " + "x" * 5000))) < 700
