"""Resolve the PDS of an account from its DID document.

Accounts can move to another PDS, so the DID document overrides PDS_URL. PDS URLs are cached in
Redis and used for an hour. If the directory does not answer, they are used for up to 30 days.
Sources: https://atproto.com/specs/did, https://web.plc.directory/spec
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit

import httpx
from redis import Redis

from worker.core.clock import after
from worker.core.errors import AccountError, TransientError
from worker.core.net.client import ClientLimits, open_client
from worker.core.net.urls import allowed_pds_url, canonical_pds_url
from worker.core.redis_errors import redis_errors
from worker.pds.host_slots import HostBusyError, HostSlots

_FRESH = 3600  # seconds
_MIN_AGE = 60  # seconds until an entry can be refreshed
_KEPT = 30 * 86_400
_UNKNOWN = 900  # seconds until a missing DID is looked up again
_NO_DID = "-"  # cached value for a missing DID
_GONE = frozenset({httpx.codes.NOT_FOUND, httpx.codes.GONE})
_TIMEOUT = 5.0  # seconds for each read and write
# The documents of the PLC directory have 7.5 KB at most (https://web.plc.directory/spec).
_LIMITS = ClientLimits(seconds=8, max_bytes=100_000)
_SERVICE = "#atproto_pds"
_WEB = "did:web:"
_PLC = re.compile(r"did:plc:[a-z2-7]{24}")


class DirectoryError(TransientError):
    """A DID document cannot be read, or names no PDS that may be used."""

    step, code = "account", "directory_unavailable"


class PdsResolver(Protocol):
    """Resolves DIDs to PDS URLs.

    Methods raise DirectoryError, HostBusyError, RedisUnavailableError, and AccountError for a
    missing DID.
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

    `plc` is the URL of the PLC directory, `trusted` are the URLs of the operator's own PDSes. All
    others must have a public host name and https. This protects passwords: calls contain them, and
    accounts can edit their own DID documents. `slots` limits the concurrent calls to the host of a
    `did:web`, which account owners choose. `foreign` is the client for these hosts; it is closed
    with the resolver.
    """

    def __init__(
        self,
        redis: Redis,
        plc: str,
        trusted: Collection[str],
        *,
        slots: HostSlots,
        foreign: httpx.Client | None = None,
    ) -> None:
        self._redis = redis
        self._plc = plc
        self._trusted = trusted
        self._slots = slots
        self._directory = open_client(foreign=False, timeout=_TIMEOUT, limits=_LIMITS)
        self._foreign = foreign or open_client(foreign=True, timeout=_TIMEOUT, limits=_LIMITS)

    def close(self) -> None:
        self._directory.close()
        self._foreign.close()

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
        except (DirectoryError, HostBusyError):
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
        document = self._find_document(did)
        if document is None:
            return _NO_DID
        if document.get("id") != did:
            raise DirectoryError(f"the DID document found for {did} has another id")
        endpoint = _pds_in(document)
        if endpoint is None:
            raise DirectoryError(f"the DID document of {did} names no PDS ({_SERVICE})")
        url = allowed_pds_url(endpoint, self._trusted)
        if url is None:
            raise DirectoryError(
                f"the PDS in the DID document of {did} must be https:// and a public host name"
            )
        return url

    def _find_document(self, did: str) -> Mapping[str, object] | None:
        """Fetch the DID document of a DID; return None if it does not exist."""
        if _PLC.fullmatch(did):
            return _fetch_document(self._directory, f"{self._plc}/{did}")
        url = _web_host(did)
        if url is None:
            return None
        with self._slots.hold(urlsplit(url).netloc, "account"):
            return _fetch_document(self._foreign, f"{url}/.well-known/did.json")


def _fetch_document(http: httpx.Client, address: str) -> Mapping[str, object] | None:
    """Fetch a DID document; return None if it does not exist."""
    try:
        answer = http.get(address)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = type(error).__name__
        raise DirectoryError(f"no DID document from {address} ({why})") from error
    if answer.status_code in _GONE:
        return None
    if answer.status_code != httpx.codes.OK:
        raise DirectoryError(f"no DID document from {address}: {answer.status_code}")
    document = None
    with suppress(ValueError, RecursionError):
        document = json.loads(answer.content)
    if not isinstance(document, dict):
        raise DirectoryError(f"{address} is not a DID document")
    return document


def _key(did: str) -> str:
    return f"media-atproto:home:{did}"


def _unknown(did: str) -> AccountError:
    message = f"there is no account {did[:100]!a}: it has no DID document"
    return AccountError(message, until=after(_UNKNOWN), step="account", code="did_not_found")


def _web_host(did: str) -> str | None:
    """Return the URL of the host that a `did:web` names, or None for an unsupported DID.

    Source: https://atproto.com/specs/did (did:web has no path, and a port for localhost only)
    """
    url = f"https://{did.removeprefix(_WEB)}"
    return url if did.startswith(_WEB) and canonical_pds_url(url) == url else None


def _pds_in(document: Mapping[str, object]) -> str | None:
    services = document.get("service")
    for service in services if isinstance(services, list) else ():
        if isinstance(service, dict) and str(service.get("id", "")).endswith(_SERVICE):
            url = service.get("serviceEndpoint")
            return url if isinstance(url, str) else None
    return None
