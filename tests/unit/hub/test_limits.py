"""Whose attempts to sign in are counted together."""

import pytest

from kqi_hub.identity.address import network_address


@pytest.mark.parametrize(
    ("forwarded", "trusted", "found"),
    [
        ("", (), "peer"),
        ("203.0.113.7", (), "203.0.113.7"),
        # Whoever asks may write the front of it; only its end is a proxy's.
        ("198.51.100.1, 203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7, 10.244.1.9", ("10.244.0.0/16",), "203.0.113.7"),
        ("203.0.113.7, 10.244.1.9, 10.244.2.1", ("10.244.0.0/16", "127.0.0.1"), "203.0.113.7"),
        ("10.244.1.9", ("10.244.0.0/16",), "peer"),
        ("203.0.113.7, ::ffff:10.244.1.9", ("10.244.0.0/16",), "203.0.113.7"),
        ("2001:db8:1:2:3::4", (), "2001:db8:1:2::/64"),
        ("nonsense", (), "peer"),
    ],
)
def test_the_last_address_that_is_no_proxys(forwarded: str, trusted: tuple[str, ...], found: str) -> None:
    assert network_address(forwarded, "peer", trusted) == found
