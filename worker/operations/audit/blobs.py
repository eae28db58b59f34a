"""Check that the blobs of records exist and are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

import httpx

from worker.core.cid import cid_of_blob
from worker.core.errors import TransientError
from worker.operations.audit.classification import Judge
from worker.operations.audit.findings import Fault, Finding
from worker.operations.audit.matching import Case
from worker.operations.audit.repo_reader import Reading, patiently
from worker.pds.client import Pds, open_request
from worker.pds.errors import error_name, translate
from worker.pds.xrpc import refuse

_AT_ONCE = 8  # more make a PDS no faster
_STRETCH = 1000
_DETAILS = {
    Fault.BLOB_MISSING: "the PDS cannot give",
    Fault.BLOB_TRUNCATED: "the PDS does not have the whole of",
}
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


def check_blobs(reading: Reading, judge: Judge, cases: Sequence[Case]) -> Iterator[Finding]:
    """Fetch each blob that the records of these cases refer to, once; yield what is wrong.

    Raises as `Reading.blob_fault` does.
    """
    named = [(case, cid) for case in cases if case.own for cid in case.own.blobs]
    faults = _faults(reading, judge.did, [cid for _, cid in named])
    for case, cid in named:
        if case.own and (fault := faults.get(cid)):
            detail = f"{_DETAILS[fault]} blob {cid}"
            yield judge.finding(fault, detail, case.own, case.expected.document)


def _faults(reading: Reading, did: str, cids: Sequence[str]) -> Mapping[str, Fault]:
    faults: dict[str, Fault] = {}
    distinct = iter(dict.fromkeys(cids))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            while stretch := list(islice(distinct, _STRETCH)):
                found = pool.map(lambda cid: reading.blob_fault(did, cid), stretch)
                faults |= {cid: fault for cid, fault in zip(stretch, found, strict=True) if fault}
        finally:
            pool.shutdown(cancel_futures=True)  # of a PDS that is away nothing more is asked
    return faults
