"""Which addresses are public, and how networks are named."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from worker.core.net.addresses import is_public, parse_networks


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
)
def test_what_anyone_can_reach_is_public(address: str) -> None:
    """Also right beside a network that is not."""
    assert is_public(ip_address(address))


NOT_PUBLIC = {
    "this network": ["0.0.0.0", "::"],
    "loopback": ["127.0.0.1", "::1", "::127.0.0.1"],
    "private": ["10.255.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1"],
    "carrier NAT": ["100.64.0.1"],
    "link-local": ["169.254.169.254", "fe80::1%eth0", "fec0::1"],
    "clouds' metadata": ["168.63.129.16", "192.0.0.192", "fd00:ec2::254"],
    "documentation": ["192.0.2.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks and discard": ["198.18.0.1", "100::1"],
    "multicast": ["224.0.0.1", "ff02::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "5f00::1"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:1.1.1.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b:1::1"],
    "6to4 and Teredo": ["192.88.99.1", "2002:7f00:1::", "2001::1"],
}


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_what_is_local_reserved_or_stands_for_another_is_not_public(kind: str) -> None:
    """No address of any such kind."""
    assert [each for each in NOT_PUBLIC[kind] if is_public(ip_address(each))] == []


def test_networks_are_named_as_usual() -> None:
    """With a length, or as a single address."""
    networks = parse_networks(["10.1.0.0/16", "::1"])
    assert [ip_address("10.1.2.3") in networks[0], ip_address("::1") in networks[1]] == [True, True]


@pytest.mark.parametrize("entry", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.*"])
def test_what_is_no_network_is_refused_by_name(entry: str) -> None:
    """At start, with the entry in the message."""
    with pytest.raises(ValueError, match="is not an address or network"):
        parse_networks([entry])
