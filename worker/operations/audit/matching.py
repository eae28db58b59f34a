"""Match the records of a collection with their documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.core.documents import MediaDocument
from worker.pds.repo_snapshot import StoredRecord
from worker.sync.plan import Plan

StoredRecords = Mapping[str, StoredRecord]


@dataclass(frozen=True, slots=True)
class Expected:
    """A document, its plan, and the CID of its expected record.

    `cid` is None if no record is expected or the record cannot be built.
    """

    document: MediaDocument
    plan: Plan
    cid: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A document, its record, and further records of the same document."""

    expected: Expected
    own: StoredRecord | None
    duplicates: Sequence[StoredRecord] = ()


def match_records(
    did: str, records: StoredRecords, expected: Sequence[Expected]
) -> tuple[list[Match], list[StoredRecord]]:
    """Match the records of the repo `did` with documents.

    Returns the matches, and the records without a document. A document's record is the one in its
    state, or else the oldest record that names the document.
    """
    claims = _claims(did, records, expected)
    by_ref: dict[str | None, list[StoredRecord]] = defaultdict(list)
    for rkey, record in records.items():
        if rkey not in claims:
            by_ref[record.ref].append(record)
    matches = []
    for each in expected:
        own = records.get(_find_claimed_key(each, claims))
        duplicates = by_ref.pop(str(each.document.ref.id), []) if by_ref else []
        if own is None and duplicates:
            own, *duplicates = duplicates
        matches.append(Match(each, own, duplicates))
    return matches, [record for unclaimed in by_ref.values() for record in unclaimed]


def _claims(did: str, records: StoredRecords, expected: Sequence[Expected]) -> dict[str, Expected]:
    """Map the rkey of each record to the document that has this rkey in its state.

    If two legacy states have the same rkey, the record's `ref` decides between the documents.
    """
    claims: dict[str, Expected] = {}
    for each in expected:
        rkey, repo = each.document.state.rkey, each.document.state.repo
        if rkey is None or rkey not in records or repo not in {None, did}:
            continue
        if rkey not in claims or records[rkey].ref == str(each.document.ref.id):
            claims[rkey] = each
    return claims


def _find_claimed_key(expected: Expected, claims: Mapping[str, Expected]) -> str:
    rkey = expected.document.state.rkey or ""
    return rkey if claims.get(rkey) is expected else ""
