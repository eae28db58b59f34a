"""Check that the blobs of records exist and are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from worker.operations.audit.findings import Fault
from worker.operations.audit.repo_reader import RepoReader
from worker.pds.repo_snapshot import StoredRecord

_THREADS = 8  # a PDS is no faster with more
_CHUNK = 1000  # records
_MAX_KNOWN = 100_000  # blobs
_DETAILS = {
    Fault.BLOB_MISSING: "the PDS cannot give",
    Fault.BLOB_TRUNCATED: "the PDS does not have the whole of",
}


def find_blob_faults(
    repo_reader: RepoReader, did: str, records: Iterable[StoredRecord]
) -> Iterator[tuple[StoredRecord, Sequence[tuple[Fault, str]]]]:
    """Download the blobs of records; yield those with faulty ones, and the faults in words.

    A blob of several records is downloaded once, unless there are very many others in between.
    Raises the errors of `RepoReader.blob_fault`.
    """
    known: dict[str, Fault | None] = {}
    remaining = iter(records)
    while chunk := [(each, each.blobs) for each in islice(remaining, _CHUNK)]:
        if len(known) > _MAX_KNOWN:
            known.clear()
        new = dict.fromkeys(cid for _, cids in chunk for cid in cids if cid not in known)
        known |= _download(repo_reader, did, list(new))
        for record, cids in chunk:
            faulty = [(fault, cid) for cid in cids if (fault := known[cid])]
            if faulty:
                yield record, [(fault, f"{_DETAILS[fault]} blob {cid}") for fault, cid in faulty]


def _download(repo_reader: RepoReader, did: str, cids: Sequence[str]) -> dict[str, Fault | None]:
    repo_reader.blobs.expect(did, len(cids))
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            found = pool.map(lambda cid: repo_reader.blob_fault(did, cid), cids)
            return dict(zip(cids, found, strict=True))
        finally:
            pool.shutdown(cancel_futures=True)  # send no more calls to an unreachable PDS
