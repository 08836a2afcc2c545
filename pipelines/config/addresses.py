"""What a mail address is, and what the address of a server."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# With or without a name before it: of words, or in quotes.
ADDRESS = re.compile(r"""(?:(?:[\w'-]+(?: [\w'-]+)*|"[^"\\\r\n]*[^"\\\s]") <(?P<named>\S+)>|(?P<bare>\S+))""")
ADDR_SPEC = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
)


def is_address(text: str) -> bool:
    """Whether this is one mail address, `ada@company.example` or `Ada <ada@company.example>`."""
    found = ADDRESS.fullmatch(text)
    return bool(found and ADDR_SPEC.fullmatch(found["named"] or found["bare"]))


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
