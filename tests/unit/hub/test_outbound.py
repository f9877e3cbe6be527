"""Which network addresses may be connected to."""

import pytest

from kqi_hub.outbound.addresses import Reach, networks

_OPEN = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
_CLOSED = [
    *(
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
    ),
    *("100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1"),
    *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::", "::127.0.0.1"),
    *("2001:0:4136:e378:8000:63bf:80ff:fffe", "localhost", "", "127.0.0.1 ", "1", "0x7f000001"),
]


@pytest.mark.parametrize("address", _OPEN)
def test_the_open_internet_may_be_asked(address: str) -> None:
    assert Reach().holds(address)


@pytest.mark.parametrize("address", _CLOSED)
def test_the_inside_may_not(address: str) -> None:
    assert not Reach().holds(address)


def test_networks_that_an_administrator_names_may_be_asked_in_all_their_forms() -> None:
    named = Reach(networks(["10.0.0.0/8", "fd00::/8"]))
    assert named.holds("10.1.2.3") and named.holds("::ffff:10.1.2.3") and named.holds("fd12::1")
    assert not named.holds("127.0.0.1") and not named.holds("192.168.1.1")


def test_what_is_closed_stays_so_in_all_its_forms_wherever_it_lies() -> None:
    reach = Reach(networks(["10.0.0.0/8"]), networks(["10.96.0.0/12", "8.8.8.0/24"]))
    assert reach.holds("10.1.2.3") and reach.holds("8.8.4.4")
    for address in ("10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::a60:1", "8.8.8.8", "::ffff:8.8.8.8"):
        assert not reach.holds(address), address


def test_the_narrower_network_decides() -> None:
    reach = Reach(networks(["10.0.0.0/8", "10.96.7.7/32", "10.97.0.0/16"]), networks(["10.96.0.0/12", "10.97.0.0/16"]))
    for address in ("10.96.7.7", "::ffff:10.96.7.7", "10.1.1.1"):
        assert reach.holds(address), address
    for address in ("10.96.7.8", "10.97.1.1", "::ffff:10.97.1.1"):
        assert not reach.holds(address), address
