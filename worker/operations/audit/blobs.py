"""Check that the blobs of records exist and are complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from worker.operations.audit.classification import Classifier
from worker.operations.audit.findings import Fault, Finding
from worker.operations.audit.matching import Match
from worker.operations.audit.repo_reader import RepoReader

_THREADS = 8  # a PDS is no faster with more
_CHUNK = 1000
_DETAILS = {
    Fault.BLOB_MISSING: "the PDS cannot give",
    Fault.BLOB_TRUNCATED: "the PDS does not have the whole of",
}


def check_blobs(
    repo_reader: RepoReader, classifier: Classifier, matches: Sequence[Match]
) -> Iterator[Finding]:
    """Download each blob of the matched records once; yield findings for faulty ones.

    Raises the errors of `RepoReader.blob_fault`.
    """
    blobs = [(match, cid) for match in matches if match.own for cid in match.own.blobs]
    faults = _faults(repo_reader, classifier.did, [cid for _, cid in blobs])
    for match, cid in blobs:
        if fault := faults.get(cid):
            detail = f"{_DETAILS[fault]} blob {cid}"
            yield classifier.finding(fault, detail, match.own, match.expected.document)


def _faults(repo_reader: RepoReader, did: str, cids: Sequence[str]) -> Mapping[str, Fault]:
    faults: dict[str, Fault] = {}
    distinct = iter(dict.fromkeys(cids))
    repo_reader.blobs.expect(did, len(set(cids)))
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            while chunk := list(islice(distinct, _CHUNK)):
                found = pool.map(lambda cid: repo_reader.blob_fault(did, cid), chunk)
                faults |= {cid: fault for cid, fault in zip(chunk, found, strict=True) if fault}
        finally:
            pool.shutdown(cancel_futures=True)  # send no more calls to an unreachable PDS
    return faults
