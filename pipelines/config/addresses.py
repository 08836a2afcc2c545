"""What a mail address is, and what the address of a server."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# With or without a name before it: of words, or in quotes.
ADDRESS = re.compile(r"""(?:(?:[\w'-]+(?: [\w'-]+)*|"[^"\\\r\n]*[^"\\\s]") <(?P<named>\S+)>|(?P<bare>\S+))""")
ADDR_SPEC = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
)

LONGEST = 400
"""Characters of an address with its name."""


def is_address(text: str) -> bool:
    """Whether this is one mail address, `ada@company.example` or `Ada <ada@company.example>`."""
    found = ADDRESS.fullmatch(text) if len(text) <= LONGEST else None
    address = (found["named"] or found["bare"]) if found else ""
    return bool(ADDR_SPEC.fullmatch(address) and len(address) <= 254 and address.rindex("@") <= 64)  # RFC 5321


def is_http(text: str) -> bool:
    """Whether this is the address of a server, and not a file."""
    return text.lower().startswith(("http://", "https://"))


def names_a_server(text: str) -> bool:
    """Whether such an address has a host, and no port that cannot be."""
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
