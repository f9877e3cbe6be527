"""Which network addresses may be connected to. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
# They carry an IPv4 address, which a gateway on the way may take out.
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def allowed(text: str, private: Sequence[Network]) -> bool:
    """Return whether an address is one of the open internet, or in a network that an administrator has named."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(address)
    named = any(_within(address, network) or _within(inner, network) for network in private)
    return named or _open(inner)


def _open(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.sixtofour or address.teredo):
        return False  # nobody is reached by these any longer but those who are meant to be kept out
    return address.is_global and not address.is_multicast and not address.is_reserved


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _inner(address: Address) -> Address:
    """Return the IPv4 address that one of IPv6 stands for, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address
