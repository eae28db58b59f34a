"""Resolve the PDS of an account from its DID document.

Accounts can move to another PDS, so the DID document overrides PDS_URL. PDS URLs are cached in
Redis and used for an hour. If the directory does not answer, they are used for up to 30 days.
Sources: https://atproto.com/specs/did, https://web.plc.directory/spec
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx
from redis import Redis

from worker.core.clock import after
from worker.core.errors import AccountError, TransientError
from worker.core.net.allowed_hosts import is_host
from worker.core.net.transports import PublicOnlyTransport
from worker.core.redis_errors import redis_errors

_FRESH = 3600  # seconds
_MIN_AGE = 60  # seconds until an entry can be refreshed
_KEPT = 30 * 86_400
_UNKNOWN = 900  # seconds until a missing DID is looked up again
_NO_DID = "-"  # cached value for a missing DID
_GONE = frozenset({httpx.codes.NOT_FOUND, httpx.codes.GONE})
_TIMEOUT = httpx.Timeout(5, connect=3)
_MAX_BYTES = 100_000  # bytes of a DID document
_SERVICE = "#atproto_pds"
_PLC = re.compile(r"did:plc:[a-z2-7]{24}")


class DirectoryError(TransientError):
    """A DID document cannot be read, or names no PDS that may be used."""

    step, code = "account", "directory_unavailable"


class PdsResolver(Protocol):
    """Resolves DIDs to PDS URLs.

    Methods raise DirectoryError, RedisUnavailableError, and AccountError for a missing DID.
    """

    def pds_of(self, did: str) -> str:
        """Return the URL of an account's PDS."""

    def refresh(self, did: str) -> str:
        """Resolve again, unless the cached URL is less than a minute old."""


class StaticPdsResolver:
    """Resolves all DIDs to the same PDS URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def pds_of(self, did: str) -> str:
        return self._url

    refresh = pds_of


class DidResolver:
    """Resolves `did:plc` and `did:web` by their DID documents.

    `plc` is the URL of the PLC directory, `default_pds` the URL of the platform's own PDS.
    `is_allowed` returns whether another PDS URL may be called. This protects passwords: calls
    contain them, and accounts can edit their own DID documents.
    """

    def __init__(
        self, redis: Redis, plc: str, default_pds: str, *, is_allowed: Callable[[str], bool]
    ) -> None:
        self._redis = redis
        self._plc = plc
        self._default_pds = default_pds
        self._is_allowed = is_allowed
        self._http = httpx.Client(timeout=_TIMEOUT)
        self._public = httpx.Client(timeout=_TIMEOUT, transport=PublicOnlyTransport())

    def close(self) -> None:
        self._http.close()
        self._public.close()

    def pds_of(self, did: str) -> str:
        known, age = self._get_cached(did)
        if known == _NO_DID:
            raise _unknown(did)
        return known if known and age < _FRESH else self._fetch(did, known)

    def refresh(self, did: str) -> str:
        known, age = self._get_cached(did)
        if known and age < _MIN_AGE:
            return known
        return self._fetch(did, None if known == _NO_DID else known)

    def _get_cached(self, did: str) -> tuple[str | None, float]:
        with redis_errors():
            kept, left = self._redis.get(_key(did)), int(self._redis.ttl(_key(did)))
        if not isinstance(kept, bytes):
            return None, 0.0
        life = _UNKNOWN if kept.decode() == _NO_DID else _KEPT
        return kept.decode(), life - left

    def _fetch(self, did: str, known: str | None) -> str:
        try:
            url = self._endpoint(did)
        except DirectoryError:
            if known is None:
                raise
            # Use the cached PDS, and do not query the directory again for a minute.
            with redis_errors():
                self._redis.expire(_key(did), _KEPT - _FRESH + _MIN_AGE)
            return known
        with redis_errors():
            self._redis.set(_key(did), url, ex=_KEPT if url != _NO_DID else _UNKNOWN)
        if url == _NO_DID:
            raise _unknown(did)
        return url

    def _endpoint(self, did: str) -> str:
        address = _address(did, self._plc)
        document = self._document(address) if address else None
        if document is None:
            return _NO_DID
        if document.get("id") != did:
            raise DirectoryError(f"the DID document at {address} is not that of {did}")
        url = _pds_in(document)
        if url is None:
            raise DirectoryError(f"the DID document of {did} names no PDS ({_SERVICE})")
        if url != self._default_pds and not self._is_allowed(url):
            raise DirectoryError(
                f"the PDS in the DID document of {did} must be https:// and a public host name"
            )
        return url

    def _document(self, address: str) -> Mapping[str, object] | None:
        """Fetch a DID document; return None if it does not exist."""
        try:
            # The account owner chooses the host of a `did:web`: allow public addresses only.
            http = self._http if address.startswith(self._plc) else self._public
            with http.stream("GET", address) as answer:
                body = b""
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise DirectoryError(f"{address} is larger than a DID document may be")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = type(error).__name__
            raise DirectoryError(f"no DID document from {address} ({why})") from error
        if answer.status_code in _GONE:
            return None
        if answer.status_code != httpx.codes.OK:
            raise DirectoryError(f"no DID document from {address}: {answer.status_code}")
        document = None
        with suppress(ValueError, RecursionError):
            document = json.loads(body)
        if not isinstance(document, dict):
            raise DirectoryError(f"{address} is not a DID document")
        return document


def _key(did: str) -> str:
    return f"media-atproto:home:{did}"


def _unknown(did: str) -> AccountError:
    message = f"there is no account {did[:100]!a}: it has no DID document"
    return AccountError(message, until=after(_UNKNOWN), step="account", code="did_not_found")


def _address(did: str, plc: str) -> str | None:
    """Build the URL of a DID document; return None for an unsupported DID.

    Source: https://atproto.com/specs/did (did:web has no path, and a port for localhost only)
    """
    if _PLC.fullmatch(did):
        return f"{plc}/{did}"
    method, _, name = did.removeprefix("did:").partition(":")
    host = unquote(name)
    if method == "web" and "." in host and is_host(host) and not host.startswith("["):
        return f"https://{host}/.well-known/did.json"
    return None


def _pds_in(document: Mapping[str, object]) -> str | None:
    services = document.get("service")
    for service in services if isinstance(services, list) else ():
        if isinstance(service, dict) and str(service.get("id", "")).endswith(_SERVICE):
            url = service.get("serviceEndpoint")
            return url.rstrip("/") if isinstance(url, str) else None
    return None


def is_public_https_url(url: str) -> bool:
    """Return whether a URL consists of `https://` and a public host name only."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_named = "." in host and is_host(host) and not host.rsplit(".", 1)[1].isdigit()
    plain = not (parts.username or parts.password or parts.path or parts.query or parts.fragment)
    return parts.scheme == "https" and is_named and plain and port in {None, 443}


def is_http_url(url: str) -> bool:
    """Return whether a string is an HTTP(S) URL without path and credentials."""
    return bool(re.fullmatch(r"https?://[^/?#@\s]+", url))
