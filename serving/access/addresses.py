"""Under what a client is counted: who has one address of a network for one site may have them all."""

from __future__ import annotations

import functools
from ipaddress import IPv6Address, ip_address


@functools.lru_cache(4096)
def client_network(address: str) -> str:
    """An IPv4 address, also one that a socket for both families has; the network of an IPv6 address (one site has a /64).

    Loopback addresses, and what is not an address, are themselves.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        if not found.is_loopback:
            return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)
