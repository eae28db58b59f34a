"""The list of allowed file hosts; the wildcard `*.` matches exactly one label."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_IPV6 = re.compile(r"\[[0-9a-f:.]+\]")
_ENTRY = re.compile(r"(?P<any>\*\.)?(?P<host>\[[^\]]*\]|[^:]*)(:(?P<port>[0-9]{1,5}))?")
_MAX_NAME = 253
DEFAULT_PORTS = {"https": 443, "http": 80}


def is_host(text: str) -> bool:
    """Return whether `text` is a valid lower-case URL host (RFC 1123, RFC 3986)."""
    return len(text) <= _MAX_NAME and bool(_NAME.fullmatch(text) or _IPV6.fullmatch(text))


@dataclass(frozen=True, slots=True)
class HostRule:
    """An allowed host: `media.example`, `media.example:8443` or `*.cdn.example`."""

    host: str
    port: int | None
    below: bool

    @classmethod
    def parse(cls, entry: str) -> HostRule:
        """Parse one entry; raises ValueError if it is invalid."""
        found = _ENTRY.fullmatch(entry.strip().lower())
        if not found or not is_host(found["host"]):
            raise ValueError(
                f"allowed host {entry!r} is not a host, a host with a port, or *. and a host"
            )
        if found["any"] and "." not in found["host"]:
            raise ValueError(f"allowed host {entry!r} would allow a whole top-level domain")
        port = found["port"]
        return cls(found["host"], int(port) if port else None, bool(found["any"]))

    def allows(self, scheme: str, host: str, port: int | None) -> bool:
        """Return whether the rule matches; port None means the scheme's default port."""
        default = DEFAULT_PORTS[scheme]
        if (port or default) != (self.port or default):
            return False
        return host.partition(".")[2] == self.host if self.below else host == self.host


def parse_rules(entries: Iterable[str]) -> frozenset[HostRule]:
    """Parse the entries; raises ValueError for the first invalid entry."""
    return frozenset(HostRule.parse(entry) for entry in entries)
