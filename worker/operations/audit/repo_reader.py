"""Read repos and blobs from a PDS for an audit, and wait when it asks for time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import httpx

from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.errors import MediaError, TransientError, WaitError
from worker.operations.audit.findings import Fault
from worker.pds.client import PdsClient, open_http_client
from worker.pds.errors import error_name, translate
from worker.pds.repo_snapshot import RepoSnapshot, StoredRecord
from worker.pds.xrpc import raise_for_status

Records = Mapping[str, Mapping[str, StoredRecord]]
_TRIES = 3
_GET_BLOB = "/xrpc/com.atproto.sync.getBlob"
_QUICK_TIMEOUT = 2.0  # seconds without a byte
_SURE_TIMEOUT = httpx.Timeout(30, connect=3)
T = TypeVar("T")
_MAX_WAIT = 600.0  # seconds; the windows of a PDS's limits on reading are half as long


def wait_out_rate_limit(call: Callable[[], T]) -> T:
    """Make a call that only reads, again after each wait that is asked for.

    Raises WaitError when the wait would be too long, and whatever the call raises.
    """
    while True:
        try:
            return call()
        except WaitError as told:
            seconds = (told.until - now()).total_seconds()
            if seconds > _MAX_WAIT:
                raise
            time.sleep(max(seconds, 0.0))


class BlobReader:
    """Reads blobs; `url_of` returns the URL of the PDS where a DID's account lives.

    The reference PDS promises as many bytes as its database knows of and sends the file. Where
    the file is shorter the connection stays silent, as it would if the PDS were slow. Asked to
    close the connection after the answer, it does so where the file ends; but a connection for
    each blob takes twice as long.
    """

    def __init__(self, url_of: Callable[[str], str]) -> None:
        self._url_of = url_of
        self._quick = open_http_client(_QUICK_TIMEOUT)
        self._sure = httpx.Client(
            timeout=_SURE_TIMEOUT,
            headers={"Connection": "close"},
            event_hooks={"response": [raise_for_status]},
        )

    def close(self) -> None:
        """Close the connections."""
        self._quick.close()
        self._sure.close()

    def fault(self, did: str, cid: str) -> Fault | None:
        """Return what is wrong with a blob; None when it is there and whole.

        Raises the errors of `worker.pds.errors` when no answer can be had.
        """
        try:
            pds = PdsClient(self._url_of(did), request=self._quick)
            data = wait_out_rate_limit(lambda: pds.get_blob(did, cid))
        except TransientError:
            data = wait_out_rate_limit(lambda: self._read_surely(did, cid))
        if data is None:
            return Fault.BLOB_MISSING
        return None if cid_of_blob(data) == cid else Fault.BLOB_TRUNCATED

    def _read_surely(self, did: str, cid: str) -> bytes | None:
        """Return a blob's bytes as far as they come; None when the PDS does not have it."""
        url, params = f"{self._url_of(did)}{_GET_BLOB}", {"did": did, "cid": cid}
        try:
            with self._sure.stream("GET", url, params=params) as response:
                return _read_available(response)
        except httpx.HTTPError as error:
            # The lexicon says BlobNotFound; the reference PDS says InvalidRequest.
            if error_name(error) in {"BlobNotFound", "InvalidRequest"}:
                return None
            raise translate(error, "read") from error


def _read_available(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    with suppress(httpx.RemoteProtocolError, httpx.TimeoutException, httpx.DecodingError):
        parts.extend(response.iter_bytes())
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class RepoReader:
    """Reads repos and blobs; `pds_of` returns the PDS where a DID's account lives."""

    pds_of: Callable[[str], PdsClient]
    blobs: BlobReader

    def records(self, did: str, collections: Sequence[str]) -> Records:
        """Return the records of a repo by collection and rkey.

        A repo that is written to while the PDS sends it may come damaged, so it is asked for
        again. Raises RepoDamagedError when it stays so, and the errors of `worker.pds.errors`.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._records(did, collections)
            except TransientError:
                continue
        return self._records(did, collections)

    def blob_fault(self, did: str, cid: str) -> Fault | None:
        """Return what is wrong with a blob; None when it is whole.

        Its bytes are fetched: a PDS lists, and says the size of, what has no file any more. Raises
        the errors of `worker.pds.errors` when it is not this blob alone that cannot be had.
        """
        try:
            fault = self.blobs.fault(did, cid)
        except TransientError:
            if self.is_unreachable(did):
                raise
            return Fault.BLOB_MISSING
        if fault is Fault.BLOB_TRUNCATED and self.is_unreachable(did):
            fault = self.blobs.fault(did, cid)  # it ended in the middle, not the file
        return fault

    def is_unreachable(self, did: str) -> bool:
        """Tell whether the PDS answers no question at all, rather than not one about a repo."""
        try:
            wait_out_rate_limit(lambda: self.pds_of(did).latest_commit(did))
        except TransientError:
            return True
        except MediaError:
            return False
        return False

    def _records(self, did: str, collections: Sequence[str]) -> Records:
        snapshot = RepoSnapshot.parse(
            did, wait_out_rate_limit(lambda: self.pds_of(did).get_repo(did))
        )
        return {collection: snapshot.records(collection) for collection in collections}
