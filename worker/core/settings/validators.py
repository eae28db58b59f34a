"""What can be wrong with a value: each check says it in words that follow the variable's name.

A text that may hold a password is never quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

OFF = "off"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check_log_format(value: str) -> str | None:
    """Say what is wrong with a format of log lines."""
    return None if value in {"console", "json"} else f"must be console or json, not {value!r}"


def check_login(value: str) -> str | None:
    """Say what is wrong with a login of HTTP Basic authentication.

    The first colon ends the user's name; Flower takes a comma for the end of the login.
    Source: https://www.rfc-editor.org/rfc/rfc7617#section-2
    """
    user, _, password = value.partition(":")
    if user and password and value.isprintable() and "," not in value:
        return None
    return "must be of the form user:password, of characters that can be seen, without a comma"


def check_path(value: str) -> str | None:
    """Say what is wrong with the path of a file."""
    return None if value.startswith("/") else "must be a path that begins with /"


def check_redis_url(value: str) -> str | None:
    """Say what is wrong with the URL of a Redis."""
    return _check_scheme(value, "redis", "rediss")


def check_mongodb_url(value: str) -> str | None:
    """Say what is wrong with the URL of a MongoDB."""
    return _check_scheme(value, "mongodb", "mongodb+srv")


def check_dsn(value: str) -> str | None:
    """Say what is wrong with a DSN.

    Source: https://docs.sentry.io/concepts/key-terms/dsn-explainer/
    """
    if re.fullmatch(r"https?://[^/@:\s]+(:[^/@\s]*)?@[^/@\s]+/(\S*/)?\d+", value):
        return None
    return "must be of the form https://KEY@HOST/PROJECT"


def check_database_name(value: str) -> str | None:
    """Say what is wrong with the name of a database."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,63}", value):
        return None
    return "must be a database name: letters, digits, '_' and '-', 63 at most"


def http_url_checker(allow_http: bool) -> Callable[[str], str | None]:  # noqa: FBT001
    """Return what finds fault with the address of a web server."""

    def fault(value: str) -> str | None:
        try:
            parts = urlsplit(value)
        except ValueError:
            return "is not a URL"
        if parts.username or parts.password:
            return "must not contain a user name or password"
        if parts.scheme == "https" and parts.hostname:
            return None
        if parts.scheme == "http" and (allow_http or parts.hostname in _LOOPBACK):
            return None
        return "must start with https:// (http:// for loopback, or with ALLOW_HTTP=1)"

    return fault


def directory_checker(on_the_web: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Return what finds fault with the address of a directory, which may be `off`."""

    def fault(value: str) -> str | None:
        if value == OFF:
            return None
        found = on_the_web(value)
        return f"{found}, or be 'off'" if found else None

    return fault


def store_url_checker(allow_http: bool) -> Callable[[str], str | None]:  # noqa: FBT001
    """Return what finds fault with the address of a store."""
    on_the_web = http_url_checker(allow_http)

    def fault(value: str) -> str | None:
        if value.startswith("file:///"):
            return None
        return "must start with file:/// or https://" if on_the_web(value) else None

    return fault


def _check_scheme(value: str, *schemes: str) -> str | None:
    try:
        scheme = urlsplit(value).scheme
    except ValueError:  # which may quote the password
        return "is not a URL"
    if scheme in schemes:
        return None
    return f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}"
