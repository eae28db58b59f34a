"""Checks for the values of environment variables.

Each check returns None for a valid value, else an error text to append to the variable name. The
text does not contain values that may include a password.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit

from worker.core.settings.profiles import PROFILES
from worker.core.settings.reader import Check

OFF = "off"
# What options of TLS may be set to; other options that begin with `ssl_` are refused. Source:
# https://redis.readthedocs.io/en/stable/connections.html#redis.connection.SSLConnection
_TLS_OPTIONS = {
    "ssl_ca_certs": ".*",
    "ssl_ca_data": ".*",
    "ssl_ca_path": ".*",
    "ssl_cert_reqs": "required|cert_required",
    "ssl_certfile": ".*",
    "ssl_check_hostname": "true",
    "ssl_keyfile": ".*",
    "ssl_password": ".*",
    # https://www.mongodb.com/docs/manual/reference/connection-string-options/#tls-options
    "tlsallowinvalidcertificates": "false",
    "tlsallowinvalidhostnames": "false",
    "tlsinsecure": "false",
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check_log_format(value: str) -> str | None:
    """Check that `value` is `console` or `json`."""
    return None if value in {"console", "json"} else f"must be console or json, not {value!r}"


def check_profile(value: str) -> str | None:
    """Check that a profile is named `value`."""
    names = ", ".join(PROFILES)
    return None if value in PROFILES else f"names no profile: valid is {names}, not {value!r}"


def check_egress_name(value: str) -> str | None:
    """Check the name of an IP address, which becomes part of Redis keys."""
    is_name = re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value)
    return None if is_name else "must be 1 to 64 letters, digits, dots, hyphens or underscores"


def check_login(value: str) -> str | None:
    """Check a login for HTTP Basic authentication.

    The first colon ends the user name. Flower splits its list of logins at commas.
    Source: https://www.rfc-editor.org/rfc/rfc7617#section-2
    """
    user, _, password = value.partition(":")
    if user and password and value.isprintable() and "," not in value:
        return None
    return "must be of the form user:password, in printable characters, without a comma"


def check_flower_login(value: str) -> str | None:
    """Check a login for Flower, which compares logins as ASCII text and fails for any other."""
    fault = check_login(value)
    return fault if fault or value.isascii() else "must be ASCII text: Flower compares no other"


def pattern_checker(pattern: str, fault: str) -> Check:
    """Create a check that returns `fault` unless the whole value matches `pattern`."""
    return lambda value: None if re.fullmatch(pattern, value) else fault


def service_url_checker(*schemes: str) -> Check:
    """Create a check for URLs with one of these schemes, whose options do not weaken TLS.

    A fragment is refused, because options after it would be ignored.
    """

    def check(value: str) -> str | None:
        try:
            scheme = urlsplit(value).scheme
        except ValueError:  # the text of the exception may contain the password
            return "is not a URL"
        if scheme not in schemes:
            return f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        if "#" in value:
            return "must not contain a fragment (#); in a password, write %23"
        if option := _find_weak_option(value):
            return f"must not weaken TLS: remove the option {option}"
        return None

    return check


def _find_weak_option(url: str) -> str | None:
    """Return the name of an option in `url` with which certificates are not checked, or None.

    Drivers differ in which of several equal options they use, so each must be valid.
    """
    for option in re.split("[&;]", url.partition("?")[2]):
        name, _, value = unquote_plus(option).lower().partition("=")
        allowed = _TLS_OPTIONS.get(name, "" if name.startswith("ssl_") else ".*")
        if not re.fullmatch(allowed, value, re.DOTALL):
            return name if name in _TLS_OPTIONS else "ssl_..."
    return None


def http_url_checker(allow_http: bool) -> Check:  # noqa: FBT001
    """Create a check for URLs with `https`, or `http` if allowed or on loopback."""

    def check(value: str) -> str | None:
        try:
            parts = urlsplit(value)
        except ValueError:
            return "is not a URL"
        if parts.username or parts.password:
            return "must not contain a user name or password"
        if "?" in value or "#" in value:
            return "must not contain a query (?) or a fragment (#)"
        if parts.scheme == "https" and parts.hostname:
            return None
        if parts.scheme == "http" and (allow_http or parts.hostname in _LOOPBACK):
            return None
        return "must start with https:// (http:// for loopback, or with ALLOW_HTTP=1)"

    return check


def origin_checker(check_url: Check) -> Check:
    """Create a check for the URLs that `check_url` accepts, without path, query and fragment."""

    def check(value: str) -> str | None:
        fault = check_url(value)
        is_origin = re.fullmatch(r"[a-z]+://[^/?#\\\s]+/?", value)
        return fault or (None if is_origin else "must not contain more than scheme, host and port")

    return check


def directory_checker(check_url: Check) -> Check:
    """Create a check that accepts `off` and the URLs that `check_url` accepts."""

    def check(value: str) -> str | None:
        fault = None if value == OFF else check_url(value)
        return f"{fault}, or be 'off'" if fault else None

    return check


def store_url_checker(check_url: Check) -> Check:
    """Create a check that accepts `file:///` and the URLs that `check_url` accepts."""

    def check(value: str) -> str | None:
        if value.startswith("file:///") or not check_url(value):
            return None
        return "must start with file:/// or https://"

    return check


check_path = pattern_checker("/.*", "must be a path that begins with /")
# https://docs.sentry.io/concepts/key-terms/dsn-explainer/
check_dsn = pattern_checker(
    r"https?://[^/@:\s]+(:[^/@\s]*)?@[^/@?#\s]+/([^?#\s]*/)?\d+",
    "must be of the form https://KEY@HOST/PROJECT",
)
check_database_name = pattern_checker(
    "[A-Za-z0-9_-]{1,63}", "must be a database name: letters, digits, '_' and '-', 63 at most"
)
check_redis_url = service_url_checker("redis", "rediss")
check_mongodb_url = service_url_checker("mongodb", "mongodb+srv")
