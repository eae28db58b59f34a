"""Match the records of a collection with their documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bson import ObjectId

from worker.core.documents import DocumentId, MediaDocument
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

    Returns the matches, and the records without a document. Of the records that name a document,
    its record is the one in its state, or else the oldest.
    """
    named = _named_ids(expected)
    claims = _claims(did, records, expected, named)
    by_ref: dict[str | None, list[StoredRecord]] = defaultdict(list)
    for rkey, record in records.items():
        if rkey not in claims:
            by_ref[record.ref].append(record)
    matches = []
    for each in expected:
        own = records.get(_find_claimed_key(each, claims))
        item = each.document.ref.id
        is_named = by_ref and named[str(item)] == item
        duplicates = by_ref.pop(str(item), []) if is_named else []
        if own is None and duplicates:
            own, *duplicates = duplicates
        matches.append(Match(each, own, duplicates))
    return matches, [record for unclaimed in by_ref.values() for record in unclaimed]


def _named_ids(expected: Sequence[Expected]) -> Mapping[str, DocumentId]:
    """Map each text of an `_id` to the document that it names in the `ref` of a record.

    Of several `_id`s with the same text, it is the one that `DocumentStore.find` returns.
    """
    ids = [each.document.ref.id for each in expected]
    return {
        str(item): item for kind in (int, str, ObjectId) for item in ids if isinstance(item, kind)
    }


def _claims(
    did: str,
    records: StoredRecords,
    expected: Sequence[Expected],
    named: Mapping[str, DocumentId],
) -> dict[str, Expected]:
    """Map the rkey of each record to its document, if the document's state has this rkey.

    The state is not enough: the record must name the document, or none.
    """
    claims: dict[str, Expected] = {}
    for each in expected:
        rkey, repo = each.document.state.rkey, each.document.state.repo
        if rkey is None or rkey not in records or repo not in {None, did}:
            continue
        ref = records[rkey].ref
        if ref is None or named.get(ref) == each.document.ref.id:
            claims.setdefault(rkey, each)
    return claims


def _find_claimed_key(expected: Expected, claims: Mapping[str, Expected]) -> str:
    rkey = expected.document.state.rkey or ""
    return rkey if claims.get(rkey) is expected else ""
