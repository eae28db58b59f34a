"""Fetching blobs to see whether they are whole: quickly, and where that fails, surely."""

from __future__ import annotations

from contextlib import suppress

import httpx

from worker.audit.findings import Fault
from worker.audit.patience import patiently
from worker.cid import cid_of_blob
from worker.errors import TransientError
from worker.pds import Pds
from worker.pds_errors import error_name, translate
from worker.xrpc import refuse

_GET_BLOB = "/xrpc/com.atproto.sync.getBlob"
_STALL = 2.0  # seconds without a byte
_LONG = httpx.Timeout(30, connect=3)


class BlobReader:
    """Reads blobs of one PDS.

    The reference PDS promises as many bytes as its database knows of and sends the file. Where
    the file is shorter the connection stays silent, as it would if the PDS were slow. Asked to
    close the connection after the answer, it does so where the file ends; but a connection for
    each blob takes twice as long.
    """

    def __init__(self, url: str) -> None:
        self._quick = Pds(url, timeout=_STALL)
        self._sure = httpx.Client(
            base_url=url,
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

        Raises the errors of `worker.pds_errors` when no answer can be had.
        """
        try:
            data = patiently(lambda: self._quick.get_blob(did, cid))
        except TransientError:
            data = patiently(lambda: self._read_surely(did, cid))
        if data is None:
            return Fault.BLOB_MISSING
        return None if cid_of_blob(data) == cid else Fault.BLOB_TRUNCATED

    def _read_surely(self, did: str, cid: str) -> bytes | None:
        """Return a blob's bytes as far as they come; None when the PDS does not have it."""
        params = {"did": did, "cid": cid}
        try:
            with self._sure.stream("GET", _GET_BLOB, params=params) as response:
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
