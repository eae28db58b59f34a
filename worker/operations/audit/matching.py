"""Which records of a collection belong to which document. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.core.documents import MediaDocument
from worker.pds.snapshot import StoredRecord
from worker.sync.plan import Plan


@dataclass(frozen=True, slots=True)
class Expected:
    """A document, what is to be done for it, and the CID that its record should have, in bytes.

    There is none where no record should be, or none can be built.
    """

    document: MediaDocument
    plan: Plan
    raw_cid: bytes | None = None


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
    batch_store = _batch_store(did, records, expected)
    if len(batch_store) == len(records):
        # All there is to a repo that is as it should be.
        return [Match(each, records.get(_claimed_key(each, batch_store))) for each in expected], []
    by_ref: dict[str, list[StoredRecord]] = defaultdict(list)
    orphan_finder = []
    for rkey, record in records.items():
        if rkey not in batch_store and record.ref is not None:
            by_ref[record.ref].append(record)
        elif rkey not in batch_store:
            orphan_finder.append(record)
    cases = []
    for each in expected:
        own = records.get(_claimed_key(each, batch_store))
        duplicates = by_ref.pop(str(each.document.ref.id), [])
        if own is None and duplicates:
            own, *duplicates = duplicates
        cases.append(Match(each, own, duplicates))
    return cases, [*orphan_finder, *(record for left in by_ref.values() for record in left)]


def _batch_store(
    did: str, records: Mapping[str, StoredRecord], expected: Sequence[Expected]
) -> dict[str, Expected]:
    """Return which document's state names which record.

    Where two name one, as legacy states can, it is the one's that the record names.
    """
    batch_store: dict[str, Expected] = {}
    for each in expected:
        state = each.document.state
        rkey = state.rkey
        if rkey not in records or rkey is None or (state.repo != did and state.repo is not None):
            continue
        if rkey not in batch_store or records[rkey].ref == str(each.document.ref.id):
            batch_store[rkey] = each
    return batch_store


def _claimed_key(expected: Expected, batch_store: Mapping[str, Expected]) -> str:
    rkey = expected.document.state.rkey or ""
    return rkey if batch_store.get(rkey) is expected else ""
