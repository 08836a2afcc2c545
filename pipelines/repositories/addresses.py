"""Where a repository is, and whether what its files name may be fetched from there.

The files of a repository are anybody's who may push to it. They can name its own host, or a neighbour of its folder, and
nothing else: no other machine of this network, no file of this machine, no program.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry.dataclass import dataclass
from registry.errors import ConfigError, TryAgain

PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^:].*)")
CONFIDENTIAL = {"https", "ssh"}


@dataclass(frozen=True, slots=True)
class Address:
    """A URL in parts; without a scheme it is a folder of this machine."""

    scheme: str
    host: str
    port: int
    path: str
    user: str = ""

    @property
    def place(self) -> str:
        """The host, as the setting `trusted` has it, or the folder."""
        if not self.scheme:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{self.place}{self.path}" if self.scheme else self.path


def parse(url: str) -> Address | None:
    """The parts of a URL; None for what is neither a folder nor a URL of http, https, ssh or git without a password."""
    if not url or not url.isprintable() or url.startswith("-"):
        return None
    if url.startswith("/"):
        return Address("", "", 0, os.path.normpath(url))
    try:
        found = urlsplit(url)
        scheme, host, port = found.scheme, found.hostname or "", found.port
    except ValueError:
        return None
    if "://" in url:
        if scheme == "file" and host in {"", "localhost"}:
            return Address("", "", 0, os.path.normpath(unquote(found.path)))
        if scheme not in PORTS or not host or host.startswith("-") or found.password is not None or found.fragment:
            return None
        if found.query or (found.username and scheme != "ssh"):
            return None
        return Address(scheme, host, port or PORTS[scheme], found.path or "/", found.username or "")
    if "::" in url or not (match := SCP.fullmatch(url)):
        return None
    return Address("ssh", match["host"].lower(), PORTS["ssh"], f"/{match['path'].lstrip('/')}", match["user"] or "")


def parse_href(url: str) -> tuple[Address, str] | None:
    """The parts of an address of http or https that a server gives, which may have a query; and the address itself."""
    if not url.isprintable() or " " in url:
        return None
    head = url.partition("?")[0].partition("#")[0]
    address = parse(head)
    return (address, url.partition("#")[0]) if address and address.scheme in {"http", "https"} else None


def resolved(url: str, parent: Address) -> Address | None:
    """As `parse`, also for `./…` and `../…`, which begin at the repository that names them."""
    if not url.startswith(("./", "../")):
        return parse(url)
    if not url.isprintable():
        return None
    parts = [each for each in parent.path.split("/") if each]
    for each in url.split("/"):
        if each == "..":
            if not parts:
                return None
            parts.pop()
        elif each not in {"", "."}:
            parts.append(each)
    return replace(parent, path="/" + "/".join(parts))


def is_allowed(address: Address, named_by: Address, trusted: Sequence[str]) -> bool:
    """Whether the files of the repository at `named_by` may have us fetch from `address`."""
    if address.scheme:
        if named_by.scheme in CONFIDENTIAL and address.scheme not in CONFIDENTIAL:
            return False
        return is_same_host(address, named_by) or address.place in trusted
    place = Path(os.path.realpath(address.path))
    folders = [Path(each) for each in trusted if os.path.isabs(each)]
    if not named_by.scheme:
        folders.append(Path(os.path.realpath(named_by.path)).parent)
    return any(place.is_relative_to(os.path.realpath(each)) for each in folders)


def is_same_host(address: Address, other: Address) -> bool:
    """Whether both are the same server: the port, too, unless one is reached by ssh and the other in a browser's way."""
    if address.host != other.host or not address.host:
        return False
    return address.port == other.port or (address.scheme != other.scheme and address.port == PORTS[address.scheme])


def ips(address: Address, what: str, *, public: bool) -> list[str]:
    """The IP addresses of a host. `public`: raises ConfigError when one of them belongs to this machine or a private
    network. Raises TryAgain when the name is not known. `what` begins the messages."""
    import socket  # hardly any step asks for a host

    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TryAgain(f"{what} {address.host}: {error.strerror or error}", hint="is the network up?") from None
    numbers = list(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))
    if public and (inside := [each for each in numbers if not ipaddress.ip_address(each).is_global]):
        raise ConfigError(
            f"{what} {address.place}, an address of this machine or of a private network ({inside[0]})",
            hint=f'if files may be fetched from there: add "{address.place}" to [repositories] trusted',
        )
    return numbers
