"""Resolve the PDS of an account from its DID document.

Accounts can move to another PDS, so the DID document overrides PDS_URL. PDS URLs are cached
(`worker/pds/pds_cache.py`).
Sources: https://atproto.com/specs/did, https://web.plc.directory/spec
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from worker.core.clock import after
from worker.core.errors import AccountError
from worker.core.net.client import ClientLimits, ResponseTooLargeError, open_client
from worker.core.net.urls import allowed_pds_url, canonical_pds_url
from worker.pds.directory_pause import (
    DirectoryError,
    DirectoryOutageError,
    DirectoryPausedError,
    DirectoryPauses,
)
from worker.pds.errors import retry_after
from worker.pds.host_slots import HostBusyError, HostSlots
from worker.pds.pds_cache import UNKNOWN_FOR, CachedPds, PdsCache

_GONE = frozenset({httpx.codes.NOT_FOUND, httpx.codes.GONE})
DIRECTORY_SECONDS = 5.0  # for each read and write
# The documents of the PLC directory have 7.5 KB at most (https://web.plc.directory/spec).
_LIMITS = ClientLimits(seconds=8, max_bytes=100_000)
_SERVICE = "#atproto_pds"
_CONFIRMED = 50  # accounts of one `confirm_used`
_MAX_FAILURES = 3  # of one `confirm_used`; each takes seconds
_WEB = "did:web:"
_PLC = re.compile(r"did:plc:[a-z2-7]{24}")


UNRESOLVED = (DirectoryError, DirectoryPausedError, HostBusyError)  # no answer now


class PdsResolver(Protocol):
    """Resolves DIDs to PDS URLs.

    Methods raise the errors in UNRESOLVED, RedisUnavailableError, and AccountError for a missing
    DID.
    """

    def pds_of(self, did: str) -> str:
        """Return the URL of an account's PDS."""

    def known_urls(self, dids: Sequence[str]) -> dict[str, str]:
        """Return the PDS URLs of accounts by DID; a DID is left out if its PDS is unknown.

        Cached URLs are read together, and used even if they are no longer fresh.
        """

    def look_up(self, did: str) -> str:
        """Return the same as `pds_of`, without saving the URL or a move of the account."""

    def refresh(self, did: str) -> str:
        """Resolve again, unless the cached URL is less than a minute old."""

    def confirm_used(self) -> None:
        """Resolve some of the accounts whose cached URL was used and is no longer fresh."""


class StaticPdsResolver:
    """Resolves all DIDs to the same PDS URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def pds_of(self, did: str) -> str:
        return self._url

    look_up = refresh = pds_of

    def known_urls(self, dids: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(dids, self._url)

    def confirm_used(self) -> None:
        pass


class DidResolver:
    """Resolves `did:plc` and `did:web` by their DID documents.

    `plc` is the URL of the PLC directory, `trusted` are the URLs of the operator's own PDSes. All
    others must have a public host name and https. This protects passwords: calls contain them, and
    accounts can edit their own DID documents. `slots` limits the concurrent calls to the host of a
    `did:web`, which account owners choose. `pauses` pauses the calls to hosts that fail. `foreign`
    is the client for the hosts of a `did:web`; it is closed with the resolver. `on_move` is called
    with the DID of an account whose PDS has changed, and the Unix time at which the old PDS was
    last confirmed: later writes may be at the old one.
    """

    def __init__(
        self,
        cache: PdsCache,
        plc: str,
        trusted: Collection[str],
        *,
        slots: HostSlots,
        pauses: DirectoryPauses,
        foreign: httpx.Client | None = None,
        on_move: Callable[[str, float], None] | None = None,
        timeout: float = DIRECTORY_SECONDS,
    ) -> None:
        self._on_move = on_move
        self._cache = cache
        self._plc = plc
        self._trusted = trusted
        self._slots = slots
        self._pauses = pauses
        self._directory = open_client(foreign=False, timeout=timeout, limits=_LIMITS)
        self._foreign = foreign or open_client(foreign=True, timeout=timeout, limits=_LIMITS)

    def close(self) -> None:
        self._directory.close()
        self._foreign.close()

    def pds_of(self, did: str) -> str:
        cached = self._find_cached(did)
        if cached is None or not cached.is_fresh:
            cached = self._fetch(did, cached)
        return _url_of(did, cached)

    def known_urls(self, dids: Sequence[str]) -> dict[str, str]:
        cached = {
            did: each for did, each in self._cache.find_all(dids).items() if self._may_use(each)
        }
        urls = {did: each.url for did, each in cached.items() if each.url}
        for did in (did for did in dids if did not in cached):
            with suppress(AccountError, *UNRESOLVED):
                urls[did] = self.pds_of(did)
        return urls

    def look_up(self, did: str) -> str:
        cached = self._find_cached(did)
        if cached is None or not cached.is_fresh:
            cached = CachedPds.found(self._endpoint(did))
        return _url_of(did, cached)

    def refresh(self, did: str) -> str:
        cached = self._find_cached(did)
        if cached is None or cached.url is None or not cached.is_new:
            cached = self._fetch(did, cached)
        return _url_of(did, cached)

    def confirm_used(self) -> None:
        failures = 0
        for did in self._cache.unconfirmed(_CONFIRMED):
            try:
                self._confirm(did)
            except UNRESOLVED:
                self._cache.confirm_later(did)
                failures += 1
            if failures == _MAX_FAILURES:
                return

    def _confirm(self, did: str) -> None:
        cached = self._find_cached(did)
        if cached and cached.is_fresh:
            return
        found = self._endpoint(did) if cached and cached.url else None
        if cached and cached.url and found not in {None, cached.url}:
            self._save(did, cached, CachedPds.found(found))
        else:
            self._cache.confirm(did)

    def _find_cached(self, did: str) -> CachedPds | None:
        """Return the entry of a DID, unless its PDS is no longer allowed."""
        cached = self._cache.find(did)
        return cached if cached and self._may_use(cached) else None

    def _fetch(self, did: str, cached: CachedPds | None) -> CachedPds:
        try:
            found = CachedPds.found(self._endpoint(did))
        except UNRESOLVED:
            if cached is None or cached.url is None:
                raise
            found = cached.postponed()
        self._save(did, cached, found)
        return found

    def _save(self, did: str, cached: CachedPds | None, found: CachedPds) -> None:
        """Save an entry in place of `cached`, and report a move before and after.

        Before, so that no move is forgotten if this fails; after, because other runs may have used
        the old entry until then.
        """
        if cached is None or cached.url is None or found.url in {None, cached.url}:
            self._cache.save(did, found)
            return
        self._report_move(did, cached)
        self._cache.save(did, found)
        self._report_move(did, cached)

    def _report_move(self, did: str, last: CachedPds) -> None:
        if self._on_move:
            self._on_move(did, last.found_at)

    def _may_use(self, cached: CachedPds) -> bool:
        return cached.url is None or allowed_pds_url(cached.url, self._trusted) == cached.url

    def _endpoint(self, did: str) -> str | None:
        """Return the PDS URL in a DID document, or None if the document does not exist."""
        document = self._find_document(did)
        if document is None:
            return None
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
            return self._fetch_document(self._directory, f"{self._plc}/{did}")
        url = _web_host(did)
        if url is None:
            return None
        with self._slots.hold(urlsplit(url).netloc, "account"):
            return self._fetch_document(self._foreign, f"{url}/.well-known/did.json")

    def _fetch_document(self, http: httpx.Client, address: str) -> Mapping[str, object] | None:
        with self._pauses.watch(urlsplit(address).netloc):
            answer = _call(http, address)
        return _read_document(answer, address)


def _call(http: httpx.Client, address: str) -> httpx.Response:
    """Send a request; raises DirectoryPausedError for 429, and DirectoryOutageError."""
    try:
        answer = http.get(address)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        is_outage = isinstance(error, httpx.TransportError)
        is_bad_document = isinstance(error, ResponseTooLargeError)
        failure = DirectoryOutageError if is_outage and not is_bad_document else DirectoryError
        why = type(error).__name__
        raise failure(f"no DID document from {address} ({why})") from error
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        until = retry_after(answer.headers)
        raise DirectoryPausedError(f"{address} answered 429: too many requests", until=until)
    if answer.is_server_error:
        raise DirectoryOutageError(f"no DID document from {address}: {answer.status_code}")
    return answer


def _read_document(answer: httpx.Response, address: str) -> Mapping[str, object] | None:
    """Parse a DID document; return None if it does not exist."""
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


def _url_of(did: str, cached: CachedPds) -> str:
    if cached.url is None:
        message = f"there is no account {did[:100]!a}: it has no DID document"
        until = after(UNKNOWN_FOR)
        raise AccountError(message, until=until, step="account", code="did_not_found")
    return cached.url


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
