"""URLs of PDSes in one form, so that one host has one name everywhere."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress

from worker.core.net.allowed_hosts import is_host

_PDS_URL = re.compile(r"https://([A-Za-z0-9.-]{1,253})(?::443)?/?")
# A last label that begins with a digit can be part of an address, such as 127.1 or 1.0x1.
_TOP_LEVEL = re.compile(r"[a-z][a-z0-9-]*")
_ORIGIN = re.compile(r"^[^/]*//[^/?#]*")
_MAX_URL = 300  # characters: the longest host name, with scheme and port


def canonical_pds_url(text: str) -> str | None:
    """Return `https://` and a public host name in lower case, or None for any other URL.

    Removes port 443 and one slash at the end. A URL with another port or scheme, a path, a query, a
    fragment, a user name, a control character or a space is not accepted.
    """
    found = _PDS_URL.fullmatch(text) if len(text) <= _MAX_URL else None
    if not found:
        return None
    host = found[1].lower()
    _, dot, top_level = host.rpartition(".")
    is_public = dot and is_host(host) and _TOP_LEVEL.fullmatch(top_level)
    return f"https://{host}" if is_public and _can_be_called(host) else None


def _can_be_called(host: str) -> bool:
    """Return whether httpx accepts a host: it decodes a first label in Punycode."""
    if not host.startswith("xn--"):
        return True
    from httpx import URL  # imported on first use: producers load the settings, but call no host

    with suppress(UnicodeError):
        return bool(URL(f"https://{host}").host)
    return False


def allowed_pds_url(text: str, trusted: Collection[str]) -> str | None:
    """Return the URL to call a PDS at, or None if calls to it are not allowed.

    Allowed are the URLs in `trusted`, and those that `canonical_pds_url` accepts.
    """
    plain = text.removesuffix("/")
    return plain if plain in trusted else canonical_pds_url(text)


def configured_pds_url(text: str) -> str:
    """Return the form of a URL of the settings that can be compared with others."""
    plain = text.rstrip("/")
    lower = _ORIGIN.sub(lambda origin: origin[0].lower(), plain)
    return canonical_pds_url(lower) or lower
