"""Which network addresses may be connected to."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
# They carry an IPv4 address, which a gateway on the way may take out.
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)


class Forbidden(Exception):
    """A name leads to where nobody may be sent."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The open internet without what is in `closed`, and `private`; the narrower network decides, `closed` if alike."""

    private: Sequence[Network] = ()
    closed: Sequence[Network] = ()

    def holds(self, text: str) -> bool:
        """Return whether an address may be connected to."""
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        inner = _inner(address)
        private, closed = (
            max(
                (_narrowness(network) for network in given if _within(address, network) or _within(inner, network)),
                default=-1,
            )
            for given in (self.private, self.closed)
        )
        return _open(inner) if private == closed == -1 else private > closed

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return what a name resolves to. Raises Forbidden unless all of it may be connected to, socket.gaierror."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses or not all(map(self.holds, addresses)):
            raise Forbidden
        return addresses


def _open(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.sixtofour or address.teredo):
        return False  # nobody is reached by these any longer but those who are meant to be kept out
    return address.is_global and not address.is_multicast and not address.is_reserved


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _narrowness(network: Network) -> int:
    return network.prefixlen + 128 - network.max_prefixlen


def _inner(address: Address) -> Address:
    """Return the IPv4 address that one of IPv6 stands for, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address
