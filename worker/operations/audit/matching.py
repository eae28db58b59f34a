"""Match the records of a collection with the documents that they belong to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.core.documents import MediaDocument
from worker.pds.repo_snapshot import StoredRecord
from worker.sync.plan import Plan


@dataclass(frozen=True, slots=True)
class Expected:
    """A document, the plan for it, and the CIDs that its record may have to be current.

    There are no CIDs if there should be no record, or none can be built.
    """

    document: MediaDocument
    plan: Plan
    current_cids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """A document with its record and those that are too many."""

    expected: Expected
    own: StoredRecord | None
    duplicates: Sequence[StoredRecord] = ()


def match_records(
    did: str, records: Mapping[str, StoredRecord], expected: Sequence[Expected]
) -> tuple[list[Match], list[StoredRecord]]:
    """Give the records of `did` to the documents; return the cases, and the records left over.

    A document's record is the one that its state names, else the oldest one that names it.
    """
    claims = _claims(did, records, expected)
    if len(claims) == len(records):
        # All there is to a repo that is as it should be.
        return [Match(each, records.get(_find_claimed_key(each, claims))) for each in expected], []
    by_ref: dict[str, list[StoredRecord]] = defaultdict(list)
    unclaimed = []
    for rkey, record in records.items():
        if rkey not in claims and record.ref is not None:
            by_ref[record.ref].append(record)
        elif rkey not in claims:
            unclaimed.append(record)
    cases = []
    for each in expected:
        own = records.get(_find_claimed_key(each, claims))
        duplicates = by_ref.pop(str(each.document.ref.id), [])
        if own is None and duplicates:
            own, *duplicates = duplicates
        cases.append(Match(each, own, duplicates))
    return cases, [*unclaimed, *(record for left in by_ref.values() for record in left)]


def _claims(
    did: str, records: Mapping[str, StoredRecord], expected: Sequence[Expected]
) -> dict[str, Expected]:
    """Return which document's state names which record.

    Where two name one, as legacy states can, it is the one's that the record names.
    """
    claims: dict[str, Expected] = {}
    for each in expected:
        state = each.document.state
        rkey = state.rkey
        if rkey not in records or rkey is None or (state.repo != did and state.repo is not None):
            continue
        if rkey not in claims or records[rkey].ref == str(each.document.ref.id):
            claims[rkey] = each
    return claims


def _find_claimed_key(expected: Expected, claims: Mapping[str, Expected]) -> str:
    rkey = expected.document.state.rkey or ""
    return rkey if claims.get(rkey) is expected else ""
