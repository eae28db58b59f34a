"""Fetching blobs to see whether they are whole: quickly, and where that fails, surely."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import httpx

from worker.core.cid import cid_of_blob
from worker.core.errors import TransientError
from worker.operations.audit.findings import Fault
from worker.operations.audit.patience import patiently
from worker.pds.client import Pds, open_request
from worker.pds.errors import error_name, translate
from worker.pds.xrpc import refuse

_GET_BLOB = "/xrpc/com.atproto.sync.getBlob"
_STALL = 2.0  # seconds without a byte
_LONG = httpx.Timeout(30, connect=3)


class BlobReader:
    """Reads blobs; `url_of` returns the URL of the PDS where a DID's account lives.

    The reference PDS promises as many bytes as its database knows of and sends the file. Where
    the file is shorter the connection stays silent, as it would if the PDS were slow. Asked to
    close the connection after the answer, it does so where the file ends; but a connection for
    each blob takes twice as long.
    """

    def __init__(self, url_of: Callable[[str], str]) -> None:
        self._url_of = url_of
        self._quick = open_request(_STALL)
        self._sure = httpx.Client(
            timeout=_LONG,
            headers={"Connection": "close"},
            event_hooks={"response": [refuse]},
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
            pds = Pds(self._url_of(did), request=self._quick)
            data = patiently(lambda: pds.get_blob(did, cid))
        except TransientError:
            data = patiently(lambda: self._read_surely(did, cid))
        if data is None:
            return Fault.BLOB_MISSING
        return None if cid_of_blob(data) == cid else Fault.BLOB_TRUNCATED

    def _read_surely(self, did: str, cid: str) -> bytes | None:
        """Return a blob's bytes as far as they come; None when the PDS does not have it."""
        url, params = f"{self._url_of(did)}{_GET_BLOB}", {"did": did, "cid": cid}
        try:
            with self._sure.stream("GET", url, params=params) as response:
                return _arrived(response)
        except httpx.HTTPError as error:
            # The lexicon says BlobNotFound; the reference PDS says InvalidRequest.
            if error_name(error) in {"BlobNotFound", "InvalidRequest"}:
                return None
            raise translate(error, "read") from error


def _arrived(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    with suppress(httpx.RemoteProtocolError, httpx.TimeoutException, httpx.DecodingError):
        parts.extend(response.iter_bytes())
    return b"".join(parts)
