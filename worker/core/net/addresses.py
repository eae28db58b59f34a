"""Resolve hosts, and reject addresses that are neither public nor allowed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from queue import Empty, SimpleQueue

import httpcore

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# https://www.iana.org/assignments/iana-ipv4-special-registry, multicast, and Azure's WireServer,
# which returns secrets of the machine and has a public address.
_NOT_PUBLIC_4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 "
    "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 "
    "203.0.113.0/24 224.0.0.0/3"
)
# The only public range of IPv6: it excludes mapped IPv4, NAT64, local and multicast addresses.
# https://www.iana.org/assignments/iana-ipv6-special-registry reserves parts of this range for
# Teredo and other protocols, documentation and 6to4.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
_NOT_PUBLIC = tuple(ip_network(text) for text in f"{_NOT_PUBLIC_4} {_NOT_PUBLIC_6}".split())


def parse_networks(entries: Iterable[str]) -> tuple[Network, ...]:
    """Parse networks (`10.1.0.0/16`) and addresses; raises ValueError if invalid."""
    return tuple(_network(entry) for entry in entries)


def _network(entry: str) -> Network:
    try:
        return ip_network(entry)
    except ValueError as error:
        raise ValueError(f"{entry!a} is not an address or network: {error}") from None


def is_public(address: Address) -> bool:
    """Return whether an address is public and does not embed an IPv4 address."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


class AddressNotAllowedError(Exception):
    """A host has an address that is neither public nor allowed."""


def resolve(
    host: str, port: int, timeout: float | None, allowed: Sequence[Network]
) -> list[Address]:
    """Return all addresses of a host.

    Raises AddressNotAllowedError if any address is neither public nor in `allowed`,
    httpcore.ConnectTimeout after `timeout` seconds, and httpcore.ConnectError for other failures.
    """
    addresses = _look_up(host, port, timeout)
    for address in addresses:
        if not is_public(address) and not any(address in network for network in allowed):
            raise AddressNotAllowedError(f"{host} is at {address}, which is not public")
    return addresses


def _look_up(host: str, port: int, timeout: float | None) -> list[Address]:
    """Resolve a host in a thread, because `getaddrinfo` has no timeout."""
    answer: SimpleQueue[list[Address] | OSError] = SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put([ip_address(each[4][0]) for each in found])
        except OSError as error:
            answer.put(error)

    threading.Thread(target=look_up, daemon=True, name="resolve a host").start()
    try:
        found = answer.get(timeout=timeout)
    except Empty:
        raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
    if isinstance(found, OSError):
        raise httpcore.ConnectError(f"{host} cannot be resolved: {found}")
    return list(dict.fromkeys(found))
