"""What a mail address is, and what the address of a server."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
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


def parted(address: str) -> tuple[str, str]:
    """The address of a repository, and the folder in it; the folder is empty where none is named."""
    url, sign, folder = address.rpartition("#")
    return (url, folder.strip("/")) if sign else (address, "")


def folder_problem(folder: str) -> str:
    """Why a text does not name a folder of a repository; empty when it does."""
    if not folder:
        return ""
    parts = PurePosixPath(folder).parts
    if folder.startswith("/") or ".." in parts or ".git" in parts or not folder.isprintable() or "\\" in folder:
        return f"{folder!r:.200} is not a folder inside the repository"
    return "" if str(PurePosixPath(folder)) == folder.rstrip("/") else f"{folder!r:.200}: write it without `.` and `//`"
