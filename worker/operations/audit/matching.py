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
    """A document, its plan, and the CIDs that its record may have to be current.

    There are no CIDs if no record is expected or none can be built.
    """

    document: MediaDocument
    plan: Plan
    current_cids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """A document with its record and the duplicates of it."""

    expected: Expected
    own: StoredRecord | None
    duplicates: Sequence[StoredRecord] = ()


def match_records(
    did: str, records: StoredRecords, expected: Sequence[Expected]
) -> tuple[list[Match], list[StoredRecord]]:
    """Match the records of `did` with documents; also return unclaimed records.

    A document's record is the one that its state names, else the oldest one that names it.
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
    """Return the documents whose states name these records, by rkey.

    If two legacy states name one record, the document that the record names has it.
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
