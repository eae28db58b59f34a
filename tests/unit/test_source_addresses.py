"""Which addresses are public, and how networks are named."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from worker.source.addresses import is_public, parse_networks


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
)
def test_what_anyone_can_reach_is_public(address: str) -> None:
    """Also right beside a network that is not."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.255.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:1.1.1.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_local_reserved_or_stands_for_another_is_not_public(address: str) -> None:
    """Loopback, private, CGNAT, link-local, multicast, mapped, NAT64, 6to4, Teredo."""
    assert not is_public(ip_address(address))


def test_networks_are_named_as_usual() -> None:
    """With a length, or as a single address."""
    networks = parse_networks(["10.1.0.0/16", "::1"])
    assert [ip_address("10.1.2.3") in networks[0], ip_address("::1") in networks[1]] == [True, True]


@pytest.mark.parametrize("entry", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.*"])
def test_what_is_no_network_is_refused_by_name(entry: str) -> None:
    """At start, with the entry in the message."""
    with pytest.raises(ValueError, match="is no address or network"):
        parse_networks([entry])
