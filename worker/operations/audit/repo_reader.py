"""Read repos and blobs from a PDS for an audit, and wait at rate limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Self, TypeVar

import httpx

from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.errors import MediaError, TransientError, WaitError
from worker.core.net.client import open_client
from worker.core.rate_limits import REQUEST
from worker.operations.audit.findings import Fault
from worker.pds.call_limits import FOREIGN
from worker.pds.client import MAX_REDIRECTS, HttpClient, PdsClient, open_http_client
from worker.pds.errors import error_name, translate
from worker.pds.repo_snapshot import RepoSnapshot
from worker.pds.xrpc import raise_for_status, redirect_target

_TRIES = 3
_GET_BLOB = "/xrpc/com.atproto.sync.getBlob"
_CLOSE = {"Connection": "close"}
_QUICK_TIMEOUT = 2.0  # seconds without a byte
_CLOSING_TIMEOUT = 30.0  # seconds without a byte
_LIMITS = FOREIGN.blob  # for all PDSes
T = TypeVar("T")
_MAX_WAIT = 600.0  # seconds; the read limits of the reference PDS have windows of half that
_MIN_WAIT = 1.0
# Seconds; the reference PDS allows 10 calls per second, of which other work may use more than half.
_WAIT_PER_BLOB = 0.25


class Waiter:
    """Repeats calls that must wait, for ten minutes per account in total.

    `clock` and `sleep` are those of `time`. Waits of several threads at the same time count once.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self.begin_account()

    def begin_account(self) -> None:
        """Allow the full time again, for the next account."""
        self._remaining = _MAX_WAIT
        self._end = self._clock()  # of the longest wait

    def extend(self, seconds: float) -> None:
        """Allow more time for the current account."""
        with self._lock:
            self._remaining += seconds

    def repeat(self, call: Callable[[], T]) -> T:
        """Make a read-only call; after a WaitError, wait and repeat it.

        Raises WaitError if the waiting would exceed the limit, and the other errors of the call.
        """
        while True:
            try:
                return call()
            except WaitError as error:
                seconds = max((error.until - now()).total_seconds(), _MIN_WAIT)
                if not self._reserve(seconds):
                    raise
            self._sleep(seconds)

    def _reserve(self, seconds: float) -> bool:
        """Subtract a wait from the remaining time; return False if that is too short."""
        with self._lock:
            end = self._clock() + seconds
            added = max(end - max(self._end, self._clock()), 0.0)
            if added > self._remaining:
                return False
            self._remaining -= added
            self._end = max(self._end, end)
            return True


@dataclass(frozen=True, slots=True)
class BlobClients:
    """The HTTP clients for the first and the second attempt to read a blob."""

    quick: HttpClient
    closing: httpx.Client

    @classmethod
    def open(cls, *, foreign: bool) -> Self:
        return cls(
            open_http_client(_QUICK_TIMEOUT, foreign=foreign, limits=_LIMITS),
            open_client(foreign=foreign, timeout=_CLOSING_TIMEOUT, limits=_LIMITS),
        )

    def close(self) -> None:
        self.quick.close()
        self.closing.close()


class BlobReader:
    """Checks blobs; `pds_of` returns the PDS client of a DID, `trusted` are the operator's PDSes.

    The reference PDS announces the blob size from its database, then sends the file. If the file
    is shorter, a kept-alive connection hangs. A connection with `Connection: close` ends after the
    file, but takes twice as long per blob, so it is used for the second attempt only.
    Redirects are followed to public hosts only. `foreign` are the clients for these and for PDSes
    that are not in `trusted`; they are closed with the reader.
    """

    def __init__(
        self,
        pds_of: Callable[[str], PdsClient],
        trusted: Collection[str],
        waiter: Waiter,
        *,
        foreign: BlobClients | None = None,
    ) -> None:
        self._pds_of = pds_of
        self._trusted = trusted
        self._waiter = waiter
        self._own = BlobClients.open(foreign=False)
        self._foreign = foreign or BlobClients.open(foreign=True)

    def close(self) -> None:
        self._own.close()
        self._foreign.close()

    def expect(self, did: str, count: int) -> None:
        """Allow the waits that the rate limits of a trusted PDS need for `count` blobs."""
        if self._pds_of(did).url in self._trusted:
            self._waiter.extend(count * _WAIT_PER_BLOB)

    def fault(self, did: str, cid: str) -> Fault | None:
        """Download and check a blob; return its fault or None; raises PDS errors."""
        try:
            data = self._waiter.repeat(lambda: self._read_quickly(did, cid))
        except TransientError:
            data = self._waiter.repeat(lambda: self._read_closing(did, cid))
        if data is None:
            return Fault.BLOB_MISSING
        return None if cid_of_blob(data) == cid else Fault.BLOB_TRUNCATED

    def _read_quickly(self, did: str, cid: str) -> bytes | None:
        pds = self._pds_of(did)
        quick = PdsClient(
            pds.url,
            request=self._clients(pds.url).quick,
            redirects=self._foreign.quick,
            limiter=pds.limiter,
            hold_slot=pds.hold_slot,
        )
        return quick.get_blob(did, cid)

    def _read_closing(self, did: str, cid: str) -> bytes | None:
        """Download a blob, or the part that arrives; None if the PDS does not have it."""
        pds, params = self._pds_of(did), {"did": did, "cid": cid}
        try:
            with pds.hold_slot("read"):
                reservation = pds.limiter.acquire("read", (REQUEST,))
                http, url = self._clients(pds.url).closing, pds.url + _GET_BLOB
                with http.stream("GET", url, params=params, headers=_CLOSE) as response:
                    pds.limiter.settle(reservation, response.headers)
                    return self._read_body(response, MAX_REDIRECTS)
        except httpx.HTTPError as error:
            # The lexicon says BlobNotFound; the reference PDS says InvalidRequest.
            if error_name(error) in {"BlobNotFound", "InvalidRequest"}:
                return None
            raise translate(error, "read") from error

    def _read_body(self, response: httpx.Response, redirects: int) -> bytes:
        """Read the body of a response, or of the one that it redirects to, without a token."""
        try:
            raise_for_status(response)
        except httpx.HTTPStatusError as error:
            url = redirect_target(error)
            if url is None or not redirects:
                raise
        else:
            return _read_available(response)
        with self._foreign.closing.stream("GET", url, headers=_CLOSE) as target:
            return self._read_body(target, redirects - 1)

    def _clients(self, url: str) -> BlobClients:
        return self._own if url in self._trusted else self._foreign


def _read_available(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    with suppress(httpx.RemoteProtocolError, httpx.TimeoutException):
        parts.extend(response.iter_bytes())
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class RepoReader:
    """Reads repos and checks blobs; `pds_of` returns the PDS client of a DID.

    `own_pds` is the URL of the platform's own PDS.
    """

    pds_of: Callable[[str], PdsClient]
    blobs: BlobReader
    waiter: Waiter
    own_pds: str

    def snapshot(self, did: str, collections: Sequence[str]) -> RepoSnapshot:
        """Download a repo, with all records of `collections`.

        A write during the export can damage the export, so it is repeated. Raises RepoDamagedError
        if all exports are damaged, and the errors of `worker.pds.errors`.
        """
        for _ in range(_TRIES - 1):
            with suppress(TransientError):
                return self._snapshot(did, collections)
        return self._snapshot(did, collections)

    def blob_fault(self, did: str, cid: str) -> Fault | None:
        """Download a blob; return its fault, or None if it is complete.

        A list of blobs is not enough, because a PDS also lists blobs with lost files. Raises the
        errors of `worker.pds.errors`, but a TransientError only if the PDS is unreachable.
        """
        try:
            fault = self.blobs.fault(did, cid)
        except TransientError:
            if self.is_unreachable(did):
                raise
            return Fault.BLOB_MISSING
        if fault is Fault.BLOB_TRUNCATED and self.is_unreachable(did):
            fault = self.blobs.fault(did, cid)  # the PDS went away while it sent the file
        return fault

    def is_unreachable(self, did: str) -> bool:
        """Return whether the PDS is down; an error about the repo counts as an answer."""
        try:
            self.waiter.repeat(lambda: self.pds_of(did).latest_commit(did))
        except MediaError as error:
            return isinstance(error, TransientError)
        return False

    def is_own_pds_down(self, did: str) -> bool:
        """Return whether an account is on the platform's own PDS, and this PDS is down."""
        try:
            is_own = self.pds_of(did).url == self.own_pds
        except MediaError:
            return False
        return is_own and self.is_unreachable(did)

    def _snapshot(self, did: str, collections: Sequence[str]) -> RepoSnapshot:
        snapshot = self.waiter.repeat(lambda: self.pds_of(did).get_repo(did))
        for collection in collections:
            snapshot.records(collection).check()
        return snapshot
