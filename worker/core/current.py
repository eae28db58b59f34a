"""Decide whether a published record is current.

The single path and the batch path do not write a current record again. The audit and the status
page report records that are not current.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from worker.core.cid import cid_of_record
from worker.core.documents import MediaDocument

Record = Mapping[str, object]


def optional_additions(additions: Sequence[str], document: MediaDocument) -> list[str]:
    """Return the fields `additions` that a document's current record may lack.

    Only a record of an older program may lack them, until the document is edited. A blob in the
    state's `blobs` is uploaded, or is missing for an error: the record needs it.
    """
    state = document.state
    is_own = state.cid is not None and not state.adopted
    if is_own or document.is_edited:
        return []
    return [name for name in additions if name not in state.blobs]


def is_current(published: str | None, cid: str, record: Record, additions: Sequence[str]) -> bool:
    """Return whether a published record is the expected one.

    `published` is its CID, or None. `record` is the expected record in JSON form, and `cid` its
    CID. Records of older programs may lack any of the fields `additions` (see
    `optional_additions`), and may have `mongoId` in place of `ref`.
    """
    if published is None or published == cid:
        return published is not None
    return any(cid_of_record(variant) == published for variant in _variants(record, additions))


def _variants(record: Record, additions: Sequence[str]) -> Iterator[Record]:
    """Yield the other records that are current, those without any addition first."""
    present = [name for name in additions if name in record]
    for count in range(len(present), -1, -1):
        for removed in combinations(present, count):
            variant = {name: value for name, value in record.items() if name not in removed}
            if removed:
                yield variant
            if "ref" in variant:
                yield {"mongoId" if name == "ref" else name: variant[name] for name in variant}
