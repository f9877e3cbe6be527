"""Whose network a request comes from."""

import ipaddress
from collections.abc import Collection


def network_address(forwarded: str, peer: str, trusted: Collection[str] = ()) -> str:
    """Return whose attempts are counted together: the last of X-Forwarded-For that is in no `trusted` network.

    Whoever asks may write X-Real-Ip and the front of X-Forwarded-For; only its end is our proxy's. An IPv6 network of
    64 bits counts as one, because one household is given so many addresses.
    """
    chain = [part.strip() for part in forwarded.split(",") if part.strip()]
    networks = [ipaddress.ip_network(one, strict=False) for one in trusted]
    found = next((part for part in reversed(chain) if not _in_any(part, networks)), peer)
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _in_any(text: str, networks: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        given = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(given, "ipv4_mapped", None) or given
    return any(address in network for network in networks)
